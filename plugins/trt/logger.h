// Where errors go: to TensorRT's logger, never across its calls as exceptions.
#pragma once
#include <exception>

#include "logic/plugin_operator.h"
#include "trt/version.h"

namespace ek::trt {

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// One line to the logger of the engine whose call this thread is in; to stderr where TensorRT has given none.
void log_error(char const* where, char const* what, char const* why) noexcept;

// Runs `body`, which returns an Outcome: 0 when it went well, else its status after its reason has been logged.
template <typename Body>
int32_t guarded(char const* where, char const* what, Body body) noexcept {
    try {
        logic::Outcome const outcome = body();
        if (outcome.status != EK_OK) log_error(where, what, outcome.why.c_str());
        return outcome.status;
    } catch (std::exception const& error) {
        log_error(where, what, error.what());
        return EK_FAILED;
    }
}

}  // namespace ek::trt
