// RNN: one gate, h = tanh(x + R h) or relu. The kernels around the cell are those of recurrent.cuh.
#include "kernels/recurrent.cuh"

namespace ek::recurrent {

// h of one unit for two rows of the batch, in FP32 for the whole sequence.
struct RnnCell {
    static constexpr int kGates = 1;
    static constexpr bool kResetsFirst = false;
    struct Own {
        bool relu;
    };
    float h[2];
    bool relu;

    EK_DEVICE RnnCell(Problem const& p, Own const& own, Place const& at) : relu(own.relu) {
        for (int j = 0; j < 2; ++j) h[j] = at.state(p, p.h0, j);
    }
    EK_DEVICE void step(Gates<1> const& x, Gates<1> const& sums, Place const& at, int step, float clip) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float const gate = clipped(x[0][j] + sums[0][j], clip);
            if (step < at.length[j]) h[j] = relu ? fmaxf(gate, 0.f) : ek::tanh(gate);
        }
    }
    EK_DEVICE void write_end(Problem const& p, Own const&, Place const& at) const {
        for (int j = 0; j < 2; ++j) at.write_state(p, p.h_n, j, h[j]);
    }
};

EK_RECURRENT_KERNELS(RnnCell);

}  // namespace ek::recurrent

#ifndef __CUDACC_RTC__
#include "kernels/recurrent_launch.h"

namespace ek::recurrent {

char const* launch_rnn(ek_rnn const& p, ek_plan const& plan, void* workspace, void* stream) {
    return launch_all<RnnCell>(p, {p.activation == EK_RELU}, plan, workspace, stream);
}

}  // namespace ek::recurrent
#endif
