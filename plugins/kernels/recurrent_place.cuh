// Where a thread of a recurrent kernel stands, and what it reads and writes there.
#pragma once
#include "edgekit_kernels.h"
#include "kernels/recurrent_weights.cuh"

namespace ek::recurrent {

// What LSTM, GRU and RNN have in common; G gates. The fields are those of ek_lstm.
struct Problem {
    int steps, batch, hidden, direction;
    float clip;
    float const* xproj;    // [T,N,D,GH]
    void const* r;         // [D,GH,H]
    float const* r_scale;  // [D,GH]
    int const* lengths;    // [N]
    float const* h0;       // [D,N,H]
    float* y;              // [T,D,N,H]
    float* h_n;            // [D,N,H]

    EK_DEVICE int directions() const { return direction == EK_BIDIRECTIONAL ? 2 : 1; }
};

// One unit, two rows of the batch, one direction.
struct Place {
    int direction, unit, row;  // and row + 1
    bool reverse;
    int length[2];  // 0 for a row that is not there

    EK_DEVICE Place(Problem const& p, int group, int row_groups, int first_unit) {
        int const lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
        direction = group / row_groups;
        reverse = p.direction == EK_REVERSE || direction == 1;
        unit = first_unit + warp * kUnits + lane / 4;
        row = group % row_groups * kRows + lane % 4 * 2;
        for (int j = 0; j < 2; ++j) {
            int const given = p.lengths && row + j < p.batch ? p.lengths[row + j] : p.steps;
            length[j] = row + j >= p.batch || given < 0 ? 0 : given < p.steps ? given : p.steps;
        }
    }
    EK_DEVICE bool there(Problem const& p, int j) const { return unit < p.hidden && row + j < p.batch; }
    // When a row takes its `step`; behind its end the place that y has to be 0 at.
    EK_DEVICE int time(int step, int j) const { return reverse && step < length[j] ? length[j] - 1 - step : step; }
    // Into [D,N,H].
    EK_DEVICE size_t state_at(Problem const& p, int j) const {
        return (size_t(direction) * p.batch + row + j) * p.hidden + unit;
    }
    // A state, FP32 [D,N,H], or 0 where there is none.
    EK_DEVICE float state(Problem const& p, float const* states, int j) const {
        return states && there(p, j) ? states[state_at(p, j)] : 0.f;
    }
    EK_DEVICE void write_state(Problem const& p, float* states, int j, float value) const {
        if (states && there(p, j)) states[state_at(p, j)] = value;
    }
    // y of one step: h, and 0 behind a row's end.
    EK_DEVICE void write_step(Problem const& p, int step, float const (&h)[2]) const {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float* const states = p.y + size_t(time(step, j)) * p.directions() * p.batch * p.hidden;
            write_state(p, states, j, step < length[j] ? h[j] : 0.f);
        }
    }
};

// Of R, [D * GH, H]: the row of this thread's unit in one gate.
template <int kGates>
EK_DEVICE size_t gate_row(Problem const& p, Place const& at, int gate) {
    return (size_t(at.direction) * kGates + gate) * p.hidden + at.unit;
}

// xproj of one step, into `x`; 0 where there is nothing to compute.
template <int kGates>
EK_DEVICE void load_inputs(Problem const& p, Place const& at, int step, Gates<kGates>& x) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        bool const live = at.unit < p.hidden && step < at.length[j];
        size_t const place = (size_t(at.time(step, j)) * p.batch + at.row + j) * p.directions() + at.direction;
        float const* from = p.xproj + place * kGates * p.hidden + at.unit;
#pragma unroll
        for (int gate = 0; gate < kGates; ++gate) x[gate][j] = live ? from[size_t(gate) * p.hidden] : 0.f;
    }
}

// Inputs 4q .. 4q+3 of a tile in the row of R of one gate; zeros where there are none.
template <typename Weights, int kGates>
EK_DEVICE typename Weights::Piece load_piece(Problem const& p, Place const& at, int gate, int tile) {
    using Element = typename Weights::Element;
    using Piece = typename Weights::Piece;
    int const first = tile * kTile + threadIdx.x % 4 * kInputs;
    if (at.unit >= p.hidden || first >= p.hidden) return Piece{};
    auto const* from = static_cast<Element const*>(p.r) + gate_row<kGates>(p, at, gate) * p.hidden + first;
    if (p.hidden % kInputs == 0) return *reinterpret_cast<Piece const*>(from);
    Element w[kInputs] = {};
#pragma unroll
    for (int k = 0; k < kInputs; ++k)
        if (first + k < p.hidden) w[k] = from[k];
    return Weights::piece(w);
}

// The scales of a unit's gate rows.
template <typename Weights, int kGates>
struct Scales {
    float scale[kGates];

    EK_DEVICE Scales(Problem const& p, Place const& at) {
        for (int gate = 0; gate < kGates; ++gate)
            scale[gate] = Weights::kScaled && at.unit < p.hidden ? p.r_scale[gate_row<kGates>(p, at, gate)] : 1.f;
    }
    // The product of some gates, from `first` on, into `sums`.
    template <int kSome>
    EK_DEVICE void finish(typename Weights::template Product<kSome> const& product, int first,
                          float (&sums)[kSome][2]) const {
        product.finish(sums);
        if constexpr (Weights::kScaled)
            for (int gate = 0; gate < kSome; ++gate)
                for (int j = 0; j < 2; ++j) sums[gate][j] *= scale[first + gate];
    }
};

// A thread's part of h, or of what stands for it, where a product will read it: to [kRows, stride].
template <typename State>
EK_DEVICE void publish(float const (&h)[2], Place const& at, State* to, int stride) {
    int const row = threadIdx.x % 4 * 2;
    for (int j = 0; j < 2; ++j) to[(row + j) * stride + at.unit] = as_state<State>(h[j]);
}

EK_DEVICE float sigmoid(float x) { return 1.f / (1.f + ek::exp(-x)); }
EK_DEVICE float clipped(float x, float clip) { return clip > 0.f ? fminf(fmaxf(x, -clip), clip) : x; }

}  // namespace ek::recurrent
