#include "trt/logger.h"

#include <atomic>
#include <cstdio>

namespace ek::trt {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> found_by = nullptr;

nvinfer1::ILogger* logger() {
    nvinfer1::ILoggerFinder* const finder = found_by;
    return finder ? finder->findLogger() : nullptr;
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { found_by = finder; }

void log_error(char const* where, char const* what, char const* why) noexcept {
    char line[1024];
    std::snprintf(line, sizeof line, "%s, %s: %s", where, what, why);
    try {
        if (auto* const to = logger()) return to->log(nvinfer1::ILogger::Severity::kERROR, line);
    } catch (...) {  // findLogger may throw: the line is still said below
    }
    std::fprintf(stderr, "%s\n", line);
}

}  // namespace ek::trt
