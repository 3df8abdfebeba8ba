// Which form of a recurrent kernel runs a problem on a device, and in how many launches. No CUDA: tests ask it for any
// device.
#pragma once
#include <string>

#include "edgekit_kernels.h"

namespace ek::logic {

enum Form { kOneBlock = 0, kManyBlocks = 1 };

// What a plan depends on.
struct Recurrent {
    int steps, batch, hidden, direction, weights;
    float clip;
    int gates;
};

inline int gates_of(ek_lstm const&) { return 4; }
inline int gates_of(ek_gru const&) { return 3; }
inline int gates_of(ek_rnn const&) { return 1; }

template <typename P>
Recurrent recurrent(P const& p) {
    return {p.steps, p.batch, p.hidden, p.direction, p.weights, p.clip, gates_of(p)};
}

// EK_OK; or EK_INVALID for a field that no layer has, EK_UNSUPPORTED for one that does not fit, with `why` in one line.
int plan_recurrent(Recurrent const& p, ek_device const& device, ek_plan& plan, std::string& why);

// Groups of eight rows in one direction.
int row_groups(Recurrent const& p);
// The bytes of h of one group, as the kernels have it: [eight rows, row_stride].
int state_size(Recurrent const& p);

}  // namespace ek::logic
