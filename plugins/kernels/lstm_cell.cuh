// What every form of the LSTM does beside the product R h: where a thread stands, its gates' inputs, its cell.
#pragma once
#include "edgekit_kernels.h"
#include "kernels/lstm_weights.cuh"

namespace ek::lstm {

// The arguments of both kernels.
struct Arguments {
    ek_lstm lstm;
    int first_group;  // of this launch; a group is kRows rows of the batch in one direction
    int row_groups;   // groups of one direction
    int blocks;       // of one group
    void* exchange;   // [2, groups of this launch, kRows, row_stride] State: h, from block to block
    u32* counters;    // [groups of this launch], 0 at the start
};

// A thread's place: one unit, two rows of the batch, one direction.
struct Place {
    int direction, unit, row;  // and row + 1
    bool reverse;
    int length[2];  // 0 for a row that is not there

    EK_DEVICE Place(ek_lstm const& p, int group, int row_groups, int first_unit) {
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
    EK_DEVICE bool there(ek_lstm const& p, int j) const { return unit < p.hidden && row + j < p.batch; }
    // When a row takes its `step`; behind its end the place that y has to be 0 at.
    EK_DEVICE int time(int step, int j) const { return reverse && step < length[j] ? length[j] - 1 - step : step; }
    // Of R, [D * 4H, H].
    EK_DEVICE size_t gate_row(ek_lstm const& p, int gate) const {
        return (size_t(direction) * kGates + gate) * p.hidden + unit;
    }
    // Into [D,N,H].
    EK_DEVICE size_t state_at(ek_lstm const& p, int j) const {
        return (size_t(direction) * p.batch + row + j) * p.hidden + unit;
    }
};

EK_DEVICE int directions(ek_lstm const& p) { return p.direction == EK_BIDIRECTIONAL ? 2 : 1; }

// xproj of one step, into `x`; 0 where there is nothing to compute.
EK_DEVICE void load_inputs(ek_lstm const& p, Place const& at, int step, Gates& x) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        bool const live = at.unit < p.hidden && step < at.length[j];
        size_t const place = (size_t(at.time(step, j)) * p.batch + at.row + j) * directions(p) + at.direction;
        float const* from = p.xproj + place * kGates * p.hidden + at.unit;
#pragma unroll
        for (int gate = 0; gate < kGates; ++gate) x[gate][j] = live ? from[size_t(gate) * p.hidden] : 0.f;
    }
}

EK_DEVICE float sigmoid(float x) { return 1.f / (1.f + ek::exp(-x)); }

EK_DEVICE float clipped(float x, float clip) { return clip > 0.f ? fminf(fmaxf(x, -clip), clip) : x; }

// h and c of one unit for two rows of the batch, in FP32 for the whole sequence.
struct Cell {
    float h[2], c[2];

    EK_DEVICE Cell(ek_lstm const& p, Place const& at) {
        for (int j = 0; j < 2; ++j) {
            h[j] = p.h0 && at.there(p, j) ? p.h0[at.state_at(p, j)] : 0.f;
            c[j] = p.c0 && at.there(p, j) ? p.c0[at.state_at(p, j)] : 0.f;
        }
    }
    // c = f c + i tanh(g), h = o tanh(c); a row that has ended keeps its state.
    EK_DEVICE void step(Gates const& gates, Place const& at, int step, float clip) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float x[kGates];
            for (int gate = 0; gate < kGates; ++gate) x[gate] = clipped(gates[gate][j], clip);
            float const next = sigmoid(x[2]) * c[j] + sigmoid(x[0]) * ek::tanh(x[3]);
            if (step >= at.length[j]) continue;
            c[j] = next;
            h[j] = sigmoid(x[1]) * ek::tanh(clipped(next, clip));
        }
    }
    // y [T,D,N,H]
    EK_DEVICE void write_step(ek_lstm const& p, Place const& at, int step) const {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            size_t const place = size_t(at.time(step, j)) * directions(p) * p.batch * p.hidden;
            if (at.there(p, j)) p.y[place + at.state_at(p, j)] = step < at.length[j] ? h[j] : 0.f;
        }
    }
    EK_DEVICE void write_end(ek_lstm const& p, Place const& at) const {
        for (int j = 0; j < 2; ++j) {
            if (p.h_n && at.there(p, j)) p.h_n[at.state_at(p, j)] = h[j];
            if (p.c_n && at.there(p, j)) p.c_n[at.state_at(p, j)] = c[j];
        }
    }
};

// The scales of a unit's gate rows.
template <typename Weights>
struct Scales {
    float scale[kGates];

    EK_DEVICE Scales(ek_lstm const& p, Place const& at) {
        for (int gate = 0; gate < kGates; ++gate)
            scale[gate] = Weights::kScaled && at.unit < p.hidden ? p.r_scale[at.gate_row(p, gate)] : 1.f;
    }
    // gates += scale * (R h)
    EK_DEVICE void add(Weights const& product, Gates& gates) const {
        Gates sums;
        product.finish(sums);
#pragma unroll
        for (int gate = 0; gate < kGates; ++gate)
            for (int j = 0; j < 2; ++j)
                gates[gate][j] += Weights::kScaled ? scale[gate] * sums[gate][j] : sums[gate][j];
    }
};

// Inputs 4q .. 4q+3 of a tile in the row of R of one gate; zeros where there are none.
template <typename Weights>
EK_DEVICE typename Weights::Piece load_piece(ek_lstm const& p, Place const& at, int gate, int tile) {
    using Element = typename Weights::Element;
    using Piece = typename Weights::Piece;
    int const first = tile * kTile + threadIdx.x % 4 * kInputs;
    if (at.unit >= p.hidden || first >= p.hidden) return Piece{};
    auto const* from = static_cast<Element const*>(p.r) + at.gate_row(p, gate) * p.hidden + first;
    if (p.hidden % kInputs == 0) return *reinterpret_cast<Piece const*>(from);
    Element w[kInputs] = {};
#pragma unroll
    for (int k = 0; k < kInputs; ++k)
        if (first + k < p.hidden) w[k] = from[k];
    return Weights::piece(w);
}

template <typename State>
EK_DEVICE State as_state(float h) {
    if constexpr (sizeof(State) == 2)
        return to_half(h);
    else
        return h;
}

// A thread's part of h, where the next step's product will read it: h [kRows, stride].
template <typename State>
EK_DEVICE void publish(Cell const& cell, Place const& at, State* h, int stride) {
    int const row = threadIdx.x % 4 * 2;
    for (int j = 0; j < 2; ++j) h[(row + j) * stride + at.unit] = as_state<State>(cell.h[j]);
}

}  // namespace ek::lstm
