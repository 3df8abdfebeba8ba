// The functions of edgekit_kernels.h for devices and recurrent layers: check, plan, launch.
#include <cstdio>
#include <string>

#include "kernels/launches.h"
#include "logic/errors.h"
#include "logic/limits.h"
#include "logic/recurrent_plan.h"

namespace {

using ek::logic::failed;
using ek::logic::last_error;

// The pointers that no layer works without.
template <typename P>
std::string missing_pointer(P const& p, ek_plan const& plan, void const* workspace) {
    auto const missing = ek::logic::missing_pointer;
    if (!p.xproj) return missing("xproj");
    if (!p.r) return missing("r");
    if (!p.y) return missing("y");
    if (p.weights == EK_INT8 && !p.r_scale) return missing("r_scale, which INT8 weights need");
    if (plan.workspace > 0 && !workspace) return missing("the workspace");
    return {};
}

template <typename P>
int planned(P const* p, ek_device const* device, ek_plan* plan) {
    if (!p || !device || !plan)
        return failed(EK_INVALID, "expected a problem, a device and a plan to fill, found NULL");
    std::string why;
    int const status = ek::logic::plan_recurrent(ek::logic::recurrent(*p), *device, *plan, why);
    return status == EK_OK ? EK_OK : failed(status, why);
}

template <typename P>
int supported(P const* p, ek_device const* device, char* reason, size_t reason_size) {
    ek_plan plan;
    int const status = planned(p, device, &plan);
    if (reason && reason_size > 0) std::snprintf(reason, reason_size, "%s", status == EK_OK ? "" : last_error.c_str());
    return status;
}

template <typename P>
size_t workspace_of(P const* p, ek_device const* device) {
    ek_plan plan;
    return planned(p, device, &plan) == EK_OK ? plan.workspace : 0;
}

template <typename P>
using LaunchOf = char const* (*)(P const&, ek_plan const&, void*, void*);

template <typename P>
int launched(LaunchOf<P> launch, P const* p, ek_device const* device, void* workspace, void* stream) {
    ek_plan plan;
    if (int const status = planned(p, device, &plan)) return status;
    std::string const missing = missing_pointer(*p, plan, workspace);
    if (!missing.empty()) return failed(EK_INVALID, missing);
    char const* text = launch(*p, plan, workspace, stream);
    return text ? failed(EK_FAILED, text) : EK_OK;
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

#define EK_RECURRENT(op)                                                                                              \
    int ek_##op##_supported(ek_##op const* p, ek_device const* device, char* reason, size_t reason_size) {            \
        return supported(p, device, reason, reason_size);                                                             \
    }                                                                                                                 \
    int ek_##op##_plan(ek_##op const* p, ek_device const* device, ek_plan* plan) { return planned(p, device, plan); } \
    size_t ek_##op##_workspace(ek_##op const* p, ek_device const* device) { return workspace_of(p, device); }         \
    int ek_##op##_launch(ek_##op const* p, ek_device const* device, void* workspace, void* stream) {                  \
        return launched(ek::recurrent::launch_##op, p, device, workspace, stream);                                    \
    }

EK_RECURRENT(lstm)
EK_RECURRENT(gru)
EK_RECURRENT(rnn)

}  // extern "C"
