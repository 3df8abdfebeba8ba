// Everything that ek/device.cuh lists, on a CPU: real.cuh's functions with the same signatures, and CUDA's own words.
// A collective takes its caller's line beside, so that a fault can name it.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <source_location>

#if defined(__clang__) || __GNUC__ >= 13
#pragma GCC diagnostic ignored "-Wunknown-pragmas"  // #pragma unroll; older compilers need -Wno-unknown-pragmas
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define EK_DEVICE inline
#define EK_SHARED(name) unsigned char* const name = ::ek::emu::shared_memory()

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#include "emu/half.h"
#include "emu/scheduler.h"

#define threadIdx (::ek::emu::thread_index())
#define blockIdx (::ek::emu::block_index())
#define blockDim (::ek::emu::block_size())
#define gridDim (::ek::emu::grid_size())

inline void __syncthreads(std::source_location where = std::source_location::current()) { ek::emu::sync_block(where); }

namespace ek {

EK_DEVICE void sync_warp(emu::Where where = emu::Where::current()) { emu::exchange("sync_warp", nullptr, 0, where); }

template <typename T>
EK_DEVICE T shuffle(T value, int lane, emu::Where where = emu::Where::current()) {
    u32 const given = __builtin_bit_cast(u32, value);
    return __builtin_bit_cast(T, emu::shuffle("shuffle", given, lane, false, where));
}

template <typename T>
EK_DEVICE T shuffle_xor(T value, int mask, emu::Where where = emu::Where::current()) {
    u32 const given = __builtin_bit_cast(u32, value);
    return __builtin_bit_cast(T, emu::shuffle("shuffle_xor", given, mask, true, where));
}

EK_DEVICE void mma_16x8x8(float (&d)[4], u32 const (&a)[2], u32 b, emu::Where where = emu::Where::current()) {
    emu::multiply(d, a, &b, 8, where);
}

EK_DEVICE void mma_16x8x16(float (&d)[4], u32 const (&a)[4], u32 const (&b)[2],
                           emu::Where where = emu::Where::current()) {
    if (emu::emulated_sm() >= 80) return emu::multiply(d, a, b, 16, where);
    mma_16x8x8(d, {a[0], a[1]}, b[0], where);
    mma_16x8x8(d, {a[2], a[3]}, b[1], where);
}

EK_DEVICE void mma_16x8x16_bfloat(float (&d)[4], u32 const (&a)[4], u32 const (&b)[2],
                                  emu::Where where = emu::Where::current()) {
    emu::multiply_bfloat(d, a, b, where);
}

EK_DEVICE void ldmatrix_x2(u32 (&r)[2], void const* row, emu::Where where = emu::Where::current()) {
    emu::load_matrices(r, row, 2, false, where);
}

EK_DEVICE void ldmatrix_x4(u32 (&r)[4], void const* row, emu::Where where = emu::Where::current()) {
    emu::load_matrices(r, row, 4, false, where);
}

EK_DEVICE void ldmatrix_x2_trans(u32 (&r)[2], void const* row, emu::Where where = emu::Where::current()) {
    emu::load_matrices(r, row, 2, true, where);
}

EK_DEVICE void ldmatrix_x4_trans(u32 (&r)[4], void const* row, emu::Where where = emu::Where::current()) {
    emu::load_matrices(r, row, 4, true, where);
}

template <int Bytes>
EK_DEVICE void copy_async(void* shared, void const* global, bool valid, emu::Where where = emu::Where::current()) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
    emu::copy_async(shared, global, Bytes, valid, where);
}

EK_DEVICE void commit_copies() { emu::commit_copies(); }

template <int Pending>
EK_DEVICE void wait_for_copies(emu::Where where = emu::Where::current()) {
    emu::wait_for_copies(Pending, where);
}

template <typename T>
EK_DEVICE T load_from_l2(T const* pointer) {
    return *pointer;
}

EK_DEVICE void add_release(u32* counter, emu::Where where = emu::Where::current()) { emu::add_release(counter, where); }

EK_DEVICE void wait_until(u32 const* counter, u32 value, emu::Where where = emu::Where::current()) {
    emu::wait_until(counter, value, where);
}

EK_DEVICE float infinity() { return HUGE_VALF; }
EK_DEVICE float exp(float x) { return std::exp(x); }
EK_DEVICE float exp2(float x) { return std::exp2(x); }
EK_DEVICE float tanh(float x) { return std::tanh(x); }

}  // namespace ek
