// The C ABI by overload: the same call for each operator's problem.
#pragma once
#include "edgekit_kernels.h"
#include "logic/plugin_operator.h"

namespace ek::logic {

#define EK_OVERLOADS(op, plan)                                                                                     \
    inline int plan_of(ek_##op const& p, ek_device const& d, plan& made) { return ek_##op##_plan(&p, &d, &made); } \
    inline int enqueue(ek_##op const& p, ek_device const& d, Call const& call) {                                   \
        return ek_##op##_launch(&p, &d, call.workspace, call.stream);                                              \
    }

EK_OVERLOADS(lstm, ek_plan)
EK_OVERLOADS(gru, ek_plan)
EK_OVERLOADS(rnn, ek_plan)
EK_OVERLOADS(attention, ek_tiling)
#undef EK_OVERLOADS

// What a function of the ABI returned, with its reason.
inline Outcome told(int status) { return {status, status == EK_OK ? "" : ek_last_error()}; }

}  // namespace ek::logic
