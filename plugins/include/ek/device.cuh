// Every feature of the device that a kernel may use, once.
//
// The same kernel source is compiled by nvcc and NVRTC, where these are instructions (real.cuh), and by g++, where they
// are emulated exactly as documented (emu/device.h). Beside CUDA's own words __global__, __device__, __launch_bounds__,
// threadIdx, blockIdx, blockDim, gridDim and __syncthreads(), a kernel uses only what is declared here. A warp always
// works together: every collective is one of all 32 lanes.
//
//   half_t, to_half, to_float      FP16 as two bytes; arithmetic is FP32
//   bfloat_t, to_bfloat, to_float  BF16 in the same way
//   pack(low, high)                two FP16 or BF16 numbers in one register, the low one first in memory
//   halves_of_bytes(four, out)     four signed bytes to four FP16 numbers, exact
//   EK_SHARED(name)                unsigned char* name: the block's dynamic shared memory, aligned to 128 bytes
//   sync_warp()                    a barrier of one warp
//   shuffle(v, lane), shuffle_xor(v, mask)
//   mma_16x8x16(d, a, b)           d [16,8] += a [16,16] b [16,8] of one warp, FP16 in, FP32 sums; below SM 8.0 two of
//   mma_16x8x8(d, a, b)            these, a [16,8] b [8,8]
//   mma_16x8x16_bfloat(d, a, b)    the same in BF16; from SM 8.0 on, and a fault below
//   ldmatrix_x2, ldmatrix_x4, ldmatrix_x2_trans, ldmatrix_x4_trans
//   copy_async<Bytes>(s, g, valid) 4, 8 or 16 bytes from global to shared memory, zeros unless valid; done after
//   commit_copies(), wait_for_copies<Pending>()
//   load_from_l2(pointer)          what another block has written
//   add_release(counter), wait_until(counter, value)   the two halves of a barrier between blocks
//   infinity(), exp, exp2, tanh
#pragma once

namespace ek {
using i8 = signed char;
using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;

// A number of 16 bits as memory has it; no arithmetic.
struct half_t {
    u16 bits;
};
// FP32 without its lower 16 bits.
struct bfloat_t {
    u16 bits;
};
constexpr int kLanes = 32;
}  // namespace ek

#ifdef __CUDACC__
#include "ek/real.cuh"
#else
#include "emu/device.h"
#endif
