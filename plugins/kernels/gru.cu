// GRU: gates z, r, h in ONNX's order. The kernels around the cells are those of recurrent.cuh.
#include "kernels/recurrent.cuh"

namespace ek::recurrent {

struct GruOwn {
    float const* rb_h;  // [D,H]: what is added to the candidate's row of R h, or nullptr
};

// What both kinds of GRU have: h of one unit for two rows of the batch, in FP32 for the whole sequence.
struct GruState {
    static constexpr int kGates = 3;
    using Own = GruOwn;
    float h[2], bias;

    EK_DEVICE GruState(Problem const& p, Own const& own, Place const& at) {
        for (int j = 0; j < 2; ++j) h[j] = at.state(p, p.h0, j);
        bias = own.rb_h && at.unit < p.hidden ? own.rb_h[size_t(at.direction) * p.hidden + at.unit] : 0.f;
    }
    // h = (1 - z) n + z h; a row that has ended keeps its state.
    EK_DEVICE void mix(int j, float z, float n, Place const& at, int step) {
        if (step < at.length[j]) h[j] = (1.f - z) * n + z * h[j];
    }
    EK_DEVICE void write_end(Problem const& p, Own const&, Place const& at) const {
        for (int j = 0; j < 2; ++j) at.write_state(p, p.h_n, j, h[j]);
    }
};

// linear_before_reset = 1, as torch and cuDNN have it: n = tanh(x + r (R h + b)).
struct GruCell : GruState {
    static constexpr bool kResetsFirst = false;
    using GruState::GruState;

    EK_DEVICE void step(Gates<3> const& x, Gates<3> const& sums, Place const& at, int step, float clip) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float const z = sigmoid(clipped(x[0][j] + sums[0][j], clip));
            float const r = sigmoid(clipped(x[1][j] + sums[1][j], clip));
            mix(j, z, ek::tanh(clipped(x[2][j] + r * (sums[2][j] + bias), clip)), at, step);
        }
    }
};

// linear_before_reset = 0: n = tanh(x + R (r h) + b), so that R is multiplied by something that is known only after z
// and r are.
struct GruResetFirstCell : GruState {
    static constexpr bool kResetsFirst = true;
    using GruState::GruState;
    float z[2], reset_h[2];

    EK_DEVICE void reset(Gates<3> const& x, Gates<2> const& sums, float clip) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            z[j] = sigmoid(clipped(x[0][j] + sums[0][j], clip));
            reset_h[j] = sigmoid(clipped(x[1][j] + sums[1][j], clip)) * h[j];
        }
    }
    EK_DEVICE void step(Gates<3> const& x, Gates<1> const& sums, Place const& at, int step, float clip) {
#pragma unroll
        for (int j = 0; j < 2; ++j) mix(j, z[j], ek::tanh(clipped(x[2][j] + sums[0][j] + bias, clip)), at, step);
    }
};

EK_RECURRENT_KERNELS(GruCell);
EK_RECURRENT_KERNELS(GruResetFirstCell);

}  // namespace ek::recurrent

#ifndef __CUDACC_RTC__
#include "kernels/recurrent_launch.h"

namespace ek::recurrent {

char const* launch_gru(ek_gru const& p, ek_plan const& plan, void* workspace, void* stream) {
    GruOwn const own{p.rb_h};
    return p.linear_before_reset ? launch_all<GruCell>(p, own, plan, workspace, stream)
                                 : launch_all<GruResetFirstCell>(p, own, plan, workspace, stream);
}

}  // namespace ek::recurrent
#endif
