// One warp multiplies [16,16] by [16,8] in FP16, with its operands loaded from shared memory by ldmatrix.
#include "toy.h"

struct Tiles {
    ek::half_t const* a;  // [16,16]
    ek::half_t const* b;  // [16,8]
    float* d;             // [16,8]
};

__global__ void __launch_bounds__(ek::kLanes) multiply_tiles(Tiles of) {
    EK_SHARED(raw);
    ek::half_t* const a = reinterpret_cast<ek::half_t*>(raw);
    ek::half_t* const b = a + 16 * 16;
    int const lane = int(threadIdx.x);
    for (int i = lane; i < 16 * 16; i += ek::kLanes) a[i] = of.a[i];  // line: store
    for (int i = lane; i < 16 * 8; i += ek::kLanes) b[i] = of.b[i];
#ifndef BUG_NO_BARRIER
    ek::sync_warp();
#endif
    ek::u32 left[4], right[2];
#if defined(BUG_MISALIGNED)
    ek::ldmatrix_x4(left, a + lane % 16 * 16 + lane / 16 * 8 + 1);  // line: misaligned
#else
    ek::ldmatrix_x4(left, a + lane % 16 * 16 + lane / 16 * 8);  // line: left
#endif
#if defined(BUG_OUTSIDE)
    ek::ldmatrix_x2_trans(right, b + (lane % 16 + 1) * 8);  // line: outside
#else
    ek::ldmatrix_x2_trans(right, b + lane % 16 * 8);  // line: right
#endif
    float sums[4] = {};
    ek::mma_16x8x16(sums, left, right);
    for (int i = 0; i < 4; ++i) of.d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

int main(int count, char** values) {
    choose_schedule(count, values);
    if (count > 3) ek_emu_sm(std::atoi(values[3]));
    ek::half_t* const a = device_array<ek::half_t>(16 * 16);
    ek::half_t* const b = device_array<ek::half_t>(16 * 8);
    for (int i = 0; i < 16 * 16; ++i) a[i] = ek::to_half(float(i % 5 - 2));
    for (int i = 0; i < 16 * 8; ++i) b[i] = ek::to_half(float(i % 3 - 1));
    Tiles const of{a, b, device_array<float>(16 * 8)};
    char const* const fault =
        ek::launch(multiply_tiles, {.grid = 1, .block = ek::kLanes, .shared_bytes = (16 * 16 + 16 * 8) * 2}, of);
    return tell(fault, of.d, 16 * 8);
}
