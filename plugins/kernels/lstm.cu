// LSTM: gates i, o, f, c in ONNX's order. The kernels around the cell are those of recurrent.cuh.
#include "kernels/recurrent.cuh"

namespace ek::recurrent {

// h and c of one unit for two rows of the batch, in FP32 for the whole sequence.
struct LstmCell {
    static constexpr int kGates = 4;
    static constexpr bool kResetsFirst = false;
    struct Own {
        float const* c0;  // [D,N,H]
        float* c_n;       // [D,N,H]
    };
    float h[2], c[2];

    EK_DEVICE LstmCell(Problem const& p, Own const& own, Place const& at) {
        for (int j = 0; j < 2; ++j) {
            h[j] = at.state(p, p.h0, j);
            c[j] = at.state(p, own.c0, j);
        }
    }
    // c = f c + i tanh(g), h = o tanh(c); a row that has ended keeps its state.
    EK_DEVICE void step(Gates<4> const& x, Gates<4> const& sums, Place const& at, int step, float clip) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float gate[kGates];
            for (int k = 0; k < kGates; ++k) gate[k] = clipped(x[k][j] + sums[k][j], clip);
            float const next = sigmoid(gate[2]) * c[j] + sigmoid(gate[0]) * ek::tanh(gate[3]);
            if (step >= at.length[j]) continue;
            c[j] = next;
            h[j] = sigmoid(gate[1]) * ek::tanh(clipped(next, clip));
        }
    }
    EK_DEVICE void write_end(Problem const& p, Own const& own, Place const& at) const {
        for (int j = 0; j < 2; ++j) {
            at.write_state(p, p.h_n, j, h[j]);
            at.write_state(p, own.c_n, j, c[j]);
        }
    }
};

EK_RECURRENT_KERNELS(LstmCell);

}  // namespace ek::recurrent

#ifndef __CUDACC_RTC__
#include "kernels/recurrent_launch.h"

namespace ek::recurrent {

char const* launch_lstm(ek_lstm const& p, ek_plan const& plan, void* workspace, void* stream) {
    return launch_all<LstmCell>(p, {p.c0, p.c_n}, plan, workspace, stream);
}

}  // namespace ek::recurrent
#endif
