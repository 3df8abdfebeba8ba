// The functions of edgekit_kernels.h for attention: check, plan, launch.
#include <cstdio>
#include <string>

#include "kernels/launches.h"
#include "logic/attention_plan.h"
#include "logic/errors.h"

namespace {

using ek::logic::failed;

// The name of a pointer that this attention does not work without; nullptr when all are there.
char const* missing_name(ek_attention const& p, ek_tiling const& tiling, void const* workspace) {
    struct {
        char const* name;
        void const* pointer;
        bool needed;
    } const pointers[] = {
        {"q", p.q, true},
        {"k", p.k, true},
        {"v", p.v, true},
        {"o", p.o, true},
        {"key_lengths, which position 1 needs", p.key_lengths, p.position == EK_AT_END},
        {"present_k, which a past and a cache in place need", p.present_k, p.past > 0 || p.capacity > 0},
        {"present_v", p.present_v, p.present_k != nullptr},
        {"past_k", p.past_k, p.past > 0},
        {"past_v", p.past_v, p.past > 0},
        {"past_length, which a cache in place needs", p.past_length, p.capacity > 0},
        {"the workspace", workspace, tiling.workspace > 0},
    };
    for (auto const& [name, pointer, needed] : pointers)
        if (needed && !pointer) return name;
    return nullptr;
}

int planned(ek_attention const* attention, ek_device const* device, ek_tiling& tiling) {
    if (!attention || !device) return failed(EK_INVALID, "expected a problem and a device, found NULL");
    std::string why;
    int const status = ek::logic::plan_attention(*attention, *device, tiling, why);
    return status == EK_OK ? EK_OK : failed(status, why);
}

}  // namespace

extern "C" {

int ek_attention_plan(ek_attention const* attention, ek_device const* device, ek_tiling* tiling) {
    return tiling ? planned(attention, device, *tiling) : failed(EK_INVALID, "expected a tiling to fill, found NULL");
}

int ek_attention_supported(ek_attention const* attention, ek_device const* device, char* reason, size_t reason_size) {
    ek_tiling tiling;
    int const status = planned(attention, device, tiling);
    if (reason && reason_size > 0)
        std::snprintf(reason, reason_size, "%s", status == EK_OK ? "" : ek::logic::last_error.c_str());
    return status;
}

size_t ek_attention_workspace(ek_attention const* attention, ek_device const* device) {
    ek_tiling tiling;
    return planned(attention, device, tiling) == EK_OK ? tiling.workspace : 0;
}

int ek_attention_launch(ek_attention const* attention, ek_device const* device, void* workspace, void* stream) {
    ek_tiling tiling;
    if (int const status = planned(attention, device, tiling)) return status;
    if (char const* name = missing_name(*attention, tiling, workspace))
        return failed(EK_INVALID, ek::logic::missing_pointer(name));
    char const* text = ek::attention::launch_attention(*attention, tiling, workspace, stream);
    return text ? failed(EK_FAILED, text) : EK_OK;
}

}  // extern "C"
