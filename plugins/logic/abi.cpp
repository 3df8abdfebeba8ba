// The functions of edgekit_kernels.h: check, plan, launch.
#include <algorithm>
#include <cstdio>
#include <string>

#include "kernels/launches.h"
#include "logic/limits.h"
#include "logic/lstm_plan.h"

namespace {

thread_local std::string last_error;

int failed(int status, std::string why) {
    last_error = std::move(why);
    return status;
}

// The pointers that no LSTM works without.
std::string missing_pointer(ek_lstm const& p, ek_plan const& plan, void const* workspace) {
    auto const missing = [](char const* name) {
        return std::string("expected a pointer for ") + name + ", found NULL";
    };
    if (!p.xproj) return missing("xproj");
    if (!p.r) return missing("r");
    if (!p.y) return missing("y");
    if (p.weights == EK_INT8 && !p.r_scale) return missing("r_scale, which INT8 weights need");
    if (plan.workspace > 0 && !workspace) return missing("the workspace");
    return {};
}

int planned(ek_lstm const* lstm, ek_device const* device, ek_plan& plan) {
    if (!lstm || !device) return failed(EK_INVALID, "expected a problem and a device, found NULL");
    std::string why;
    int const status = ek::logic::plan_lstm(*lstm, *device, plan, why);
    return status == EK_OK ? EK_OK : failed(status, why);
}

}  // namespace

extern "C" {

int ek_version(void) { return EK_VERSION; }

char const* ek_last_error(void) { return last_error.c_str(); }

int ek_device_limits(int sm, int multiprocessors, ek_device* device) {
    auto const* limits = ek::logic::limits_of(sm);
    if (!limits || multiprocessors < 1 || !device)
        return failed(EK_INVALID, "expected an SM such as 87 and at least 1 multiprocessor, found SM " +
                                      std::to_string(sm) + " and " + std::to_string(multiprocessors));
    *device = *limits;
    device->multiprocessors = multiprocessors;
    return EK_OK;
}

int ek_device_current(ek_device* device) {
    if (!device) return failed(EK_INVALID, "expected a device to fill, found NULL");
    char const* text = ek::current_device(*device);
    return text ? failed(EK_FAILED, text) : EK_OK;
}

int ek_lstm_plan(ek_lstm const* lstm, ek_device const* device, ek_plan* plan) {
    return plan ? planned(lstm, device, *plan) : failed(EK_INVALID, "expected a plan to fill, found NULL");
}

int ek_lstm_supported(ek_lstm const* lstm, ek_device const* device, char* reason, size_t reason_size) {
    ek_plan plan;
    int const status = planned(lstm, device, plan);
    if (reason && reason_size > 0) std::snprintf(reason, reason_size, "%s", status == EK_OK ? "" : last_error.c_str());
    return status;
}

size_t ek_lstm_workspace(ek_lstm const* lstm, ek_device const* device) {
    ek_plan plan;
    return planned(lstm, device, plan) == EK_OK ? plan.workspace : 0;
}

int ek_lstm_launch(ek_lstm const* lstm, ek_device const* device, void* workspace, void* stream) {
    ek_plan plan;
    if (int const status = planned(lstm, device, plan)) return status;
    std::string const missing = missing_pointer(*lstm, plan, workspace);
    if (!missing.empty()) return failed(EK_INVALID, missing);
    char const* text = ek::lstm::launch_lstm(*lstm, plan, workspace, stream);
    return text ? failed(EK_FAILED, text) : EK_OK;
}

}  // extern "C"
