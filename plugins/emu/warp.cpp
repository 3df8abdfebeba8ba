// What the lanes of a warp compute together. The layouts of operands: NVIDIA, PTX ISA, "Warp-level matrix
// instructions".
#include "ek/device.cuh"
#include "emu/faults.h"
#include "emu/threads.h"

namespace ek::emu {
namespace {

// Traced, by the lane that names the row.
void load_row(u32 (&words)[4], void const* row) {
    for (int i = 0; i < 4; ++i) words[i] = static_cast<u32 const*>(row)[i];
}

// One of two FP16 or BF16 numbers, as the bits of FP32.
template <typename Number>
EK_UNTRACED u32 number(u32 pair, int which) {
    return __builtin_bit_cast(u32, to_float(Number{u16(pair >> 16 * which)}));
}

EK_UNTRACED float as_float(u32 bits) { return __builtin_bit_cast(float, bits); }

// Element k of a row of eight FP16 numbers.
EK_UNTRACED u32 element(u32 const* row, int k) { return row[k / 2] >> 16 * (k % 2) & 0xffffu; }

template <typename Number>
EK_UNTRACED void multiply_numbers(char const* primitive, float* d, u32 const* a, u32 const* b, int depth, Where where) {
    // Each lane gives its numbers in FP32: first those of a, then those of b.
    int const of_a = depth / 2;
    u32 words[kWords] = {};
    for (int i = 0; i < of_a; ++i) words[i] = number<Number>(a[i / 2], i % 2);
    for (int i = 0; i < of_a / 2; ++i) words[of_a + i] = number<Number>(b[i / 2], i % 2);
    Words const* const all = exchange(primitive, words, of_a + of_a / 2, where);
    int const lane = state.current->lane;
    // Row and row + 8 of a, column and column + 1 of b.
    Words const* const row = all + lane / 4 * 4;
    Words const* const column = all + lane % 4 * 8;
    for (int k = 0; k < depth; ++k) {
        // A lane holds two neighbours in k, for rows 0-7, rows 8-15, then the same from k = 8 on.
        int const pair = k % 8 / 2;
        int const in_a = k / 8 * 4 + k % 2;
        int const in_b = of_a + k / 8 * 2 + k % 2;
        float const upper = as_float(row[pair][in_a]);
        float const lower = as_float(row[pair][in_a + 2]);
        float const left = as_float(column[pair][in_b]);
        float const right = as_float(column[pair + 4][in_b]);
        d[0] += upper * left;
        d[1] += upper * right;
        d[2] += lower * left;
        d[3] += lower * right;
    }
}

}  // namespace

EK_UNTRACED u32 shuffle(char const* primitive, u32 value, int lane, bool exclusive_or, Where where) {
    int const own = state.current->lane;
    Words const* const all = exchange(primitive, &value, 1, where);
    return all[(exclusive_or ? own ^ lane : lane) % kLanes][0];
}

EK_UNTRACED void multiply(float* d, u32 const* a, u32 const* b, int depth, Where where) {
    multiply_numbers<half_t>(depth == 16 ? "mma_16x8x16" : "mma_16x8x8", d, a, b, depth, where);
}

EK_UNTRACED void multiply_bfloat(float* d, u32 const* a, u32 const* b, Where where) {
    if (emulated_sm() < 80) fail_here("mma_16x8x16_bfloat: expected SM 8.0 or newer", where);
    multiply_numbers<bfloat_t>("mma_16x8x16_bfloat", d, a, b, 16, where);
}

EK_UNTRACED void load_matrices(u32* out, void const* row, int matrices, bool transposed, Where where) {
    EK_FRAME_OF_CALLER;
    char const* const primitive = transposed ? (matrices == 2 ? "ldmatrix_x2_trans" : "ldmatrix_x4_trans")
                                             : (matrices == 2 ? "ldmatrix_x2" : "ldmatrix_x4");
    int const lane = state.current->lane;
    u32 words[4] = {};
    if (lane < matrices * 8) {
        check_shared(primitive, row, 16, where);
        load_row(words, row);
    }
    Words const* const all = exchange(primitive, words, 4, where);
    int const group = lane / 4;
    int const pair = lane % 4;
    for (int i = 0; i < matrices; ++i) {
        Words const* const rows = all + i * 8;
        out[i] =
            transposed ? element(rows[pair * 2], group) | element(rows[pair * 2 + 1], group) << 16 : rows[group][pair];
    }
}

}  // namespace ek::emu
