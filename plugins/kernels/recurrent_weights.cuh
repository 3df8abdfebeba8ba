// The recurrent weights R as one thread holds them, and the product R h of a warp, for three kinds of numbers.
//
// A warp computes all gates of 8 units for 8 rows of the batch. Lane 4u + q belongs to unit u. Of every tile of 16
// inputs it holds inputs 4q .. 4q+3 of that unit's rows in R: one piece a gate. It ends up with the gates of unit u for
// batch rows 2q and 2q+1, so that no thread needs another one's gates or state.
#pragma once
#include "ek/device.cuh"

namespace ek::recurrent {

constexpr int kUnits = 8;   // of one warp
constexpr int kRows = 8;    // of the batch, in one group
constexpr int kTile = 16;   // inputs
constexpr int kInputs = 4;  // of one piece

// [gate][j]: of unit u and batch row 2q + j
template <int kGates>
using Gates = float[kGates][2];

// Four inputs of one gate row, loaded and stored as one.
template <typename Element, typename Word>
struct alignas(kInputs * sizeof(Element)) PieceOf {
    Word word[kInputs * sizeof(Element) / 4];
};

// FP16 weights. h is FP16 too, sums are FP32.
struct Halves {
    using Element = half_t;
    using State = half_t;
    using Piece = PieceOf<half_t, u32>;
    static constexpr bool kScaled = false;

    EK_DEVICE static Piece piece(half_t const (&w)[kInputs]) { return {pack(w[0], w[1]), pack(w[2], w[3])}; }

    template <int kGates>
    struct Product {
        float sums[(kGates + 1) / 2][4] = {};  // mma's D: two gates each

        // h [kRows, stride] at this tile. An mma adds up 16 inputs in whatever order, as long as A and B agree on it.
        // Its own is 2q, 2q+1, 2q+8, 2q+9; here these four are inputs 4q .. 4q+3, which lie together in memory.
        EK_DEVICE void add(Piece const (&w)[kGates], half_t const* h, int stride) {
            int const lane = threadIdx.x % kLanes;
            auto const inputs = *reinterpret_cast<Piece const*>(h + lane / 4 * stride + lane % 4 * kInputs);
#pragma unroll
            for (int gate = 0; gate < kGates; gate += 2) {
                Piece const upper = w[gate], lower = gate + 1 < kGates ? w[(gate + 1) % kGates] : Piece{};
                u32 const a[4] = {upper.word[0], lower.word[0], upper.word[1], lower.word[1]};
                mma_16x8x16(sums[gate / 2], a, inputs.word);
            }
        }
        EK_DEVICE void finish(Gates<kGates>& gates) const {
#pragma unroll
            for (int gate = 0; gate < kGates; ++gate)
                for (int j = 0; j < 2; ++j) gates[gate][j] = sums[gate / 2][gate % 2 * 2 + j];
        }
    };
};

// INT8 weights, one scale a gate row. They stay INT8 where they are kept: only the pieces that are being multiplied are
// FP16, which holds them exactly.
struct Bytes {
    using Element = i8;
    using State = half_t;
    using Piece = PieceOf<i8, u32>;
    static constexpr bool kScaled = true;

    EK_DEVICE static Piece piece(i8 const (&w)[kInputs]) {
        return {u32(u8(w[0])) | u32(u8(w[1])) << 8 | u32(u8(w[2])) << 16 | u32(u8(w[3])) << 24};
    }

    template <int kGates>
    struct Product {
        Halves::Product<kGates> of_halves;

        EK_DEVICE void add(Piece const (&w)[kGates], half_t const* h, int stride) {
            Halves::Piece halves[kGates];
#pragma unroll
            for (int gate = 0; gate < kGates; ++gate) halves_of_bytes(w[gate].word[0], halves[gate].word);
            of_halves.add(halves, h, stride);
        }
        EK_DEVICE void finish(Gates<kGates>& gates) const { of_halves.finish(gates); }
    };
};

// FP32 weights, which no tensor core multiplies: each lane adds up its own inputs for all rows of the batch, then the
// four lanes of a unit share out the sums.
struct Floats {
    using Element = float;
    using State = float;
    using Piece = PieceOf<float, float>;
    static constexpr bool kScaled = false;

    EK_DEVICE static Piece piece(float const (&w)[kInputs]) { return {w[0], w[1], w[2], w[3]}; }

    template <int kGates>
    struct Product {
        float sums[kGates][kRows] = {};

        EK_DEVICE void add(Piece const (&w)[kGates], float const* h, int stride) {
            int const q = threadIdx.x % 4;
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                auto const inputs = *reinterpret_cast<Piece const*>(h + row * stride + q * kInputs);
#pragma unroll
                for (int k = 0; k < kInputs; ++k)
                    for (int gate = 0; gate < kGates; ++gate) sums[gate][row] += w[gate].word[k] * inputs.word[k];
            }
        }
        // Each exchange halves the rows that a lane is left with: 8, 4, 2.
        EK_DEVICE void finish(Gates<kGates>& gates) const {
            int const q = threadIdx.x % 4;
#pragma unroll
            for (int gate = 0; gate < kGates; ++gate) {
                float const* const of = sums[gate];
                float four[4];
                for (int row = 0; row < 4; ++row) four[row] = shared_out(q & 2, of[row], of[row + 4], 2);
                for (int j = 0; j < 2; ++j) gates[gate][j] = shared_out(q & 1, four[j], four[j + 2], 1);
            }
        }
        // The lane whose bit is set keeps the second of two sums and gives the first to its partner, who does the
        // opposite.
        EK_DEVICE static float shared_out(bool second, float first_sum, float second_sum, int mask) {
            float const given = second ? first_sum : second_sum;
            return (second ? second_sum : first_sum) + shuffle_xor(given, mask);
        }
    };
};

// How far the rows of h stand apart. Reading a piece of FP16 at (row, 4q) by all lanes then meets each bank once.
template <typename State>
EK_DEVICE constexpr int row_stride(int tiles) {
    return tiles * kTile + (sizeof(State) == 2 && tiles % 2 == 0 ? 16 : 0);
}

template <typename State>
EK_DEVICE State as_state(float h) {
    if constexpr (sizeof(State) == 2)
        return to_half(h);
    else
        return h;
}

}  // namespace ek::recurrent
