// The primitives one by one, as a library: arrays of all lanes in, arrays of all lanes out.
#include <cstdlib>

#include "ek/launch.h"
#include "emu/control.h"

using ek::half_t;
using ek::u16;
using ek::u32;

struct Lanes {
    int kind;
    u32 const* a;     // [32, 4]
    u32 const* b;     // [32, 2]
    int const* rows;  // [32]
    u32* out;         // [32, 4]
};

__device__ void put(u32* out, float const (&values)[4]) {
    for (int i = 0; i < 4; ++i) out[i] = __builtin_bit_cast(u32, values[i]);
}

// kind 0: depth 8; 1: depth 16; 2: depth 16 in BF16. `out` holds what is added to, and the sums.
__global__ void multiply(Lanes of) {
    int const lane = int(threadIdx.x);
    float d[4];
    for (int i = 0; i < 4; ++i) d[i] = __builtin_bit_cast(float, of.out[lane * 4 + i]);
    u32 a[4], b[2];
    for (int i = 0; i < 4; ++i) a[i] = of.a[lane * 4 + i];
    for (int i = 0; i < 2; ++i) b[i] = of.b[lane * 2 + i];
    if (of.kind == 0)
        ek::mma_16x8x8(d, {a[0], a[1]}, b[0]);
    else if (of.kind == 2)
        ek::mma_16x8x16_bfloat(d, a, b);
    else
        ek::mma_16x8x16(d, a, b);
    put(of.out + lane * 4, d);
}

// `a` is 512 bytes of shared memory; a lane names row rows[lane] of 16 bytes. kind: 2 or 4 matrices, plus 10
// transposed.
__global__ void load(Lanes of) {
    EK_SHARED(raw);
    int const lane = int(threadIdx.x);
    for (int i = 0; i < 4; ++i) reinterpret_cast<u32*>(raw)[lane * 4 + i] = of.a[lane * 4 + i];
    ek::sync_warp();
    void const* const row = raw + of.rows[lane] * 16;
    u32 two[2] = {}, four[4] = {};
    if (of.kind == 2) ek::ldmatrix_x2(two, row);
    if (of.kind == 12) ek::ldmatrix_x2_trans(two, row);
    if (of.kind == 4) ek::ldmatrix_x4(four, row);
    if (of.kind == 14) ek::ldmatrix_x4_trans(four, row);
    for (int i = 0; i < 4; ++i) of.out[lane * 4 + i] = of.kind % 10 == 4 ? four[i] : i < 2 ? two[i] : 0;
}

// Column 0 by shuffle, column 1 by shuffle_xor.
__global__ void exchange(Lanes of) {
    int const lane = int(threadIdx.x);
    float const value = __builtin_bit_cast(float, of.a[lane * 4]);
    of.out[lane * 4] = __builtin_bit_cast(u32, ek::shuffle(value, of.rows[lane]));
    of.out[lane * 4 + 1] = ek::shuffle_xor(of.a[lane * 4], of.kind);
}

struct Indices {
    int* out;  // [blocks, threads], the number that each thread finds for itself
};

__global__ void count(Indices of) {
    unsigned const threads = blockDim.x * blockDim.y * blockDim.z;
    unsigned const thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned const block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    of.out[block * threads + thread] = int(block * threads + thread);
}

// Where in the block's shared memory, and what is there before anyone writes.
__global__ void look(Lanes of) {
    EK_SHARED(raw);
    of.out[0] = u32(reinterpret_cast<size_t>(raw) % 128);
    of.out[1] = reinterpret_cast<u32 const*>(raw)[of.kind];
    reinterpret_cast<u32*>(raw)[of.kind] = 0;
}

extern "C" {

void probe_to_float(u16 const* halves, float* out, int count) {
    for (int i = 0; i < count; ++i) out[i] = ek::to_float(half_t{halves[i]});
}

void probe_to_half(float const* values, u16* out, int count) {
    for (int i = 0; i < count; ++i) out[i] = ek::to_half(values[i]).bits;
}

void probe_bfloat(float const* values, u16* narrow, float* wide, int count) {
    for (int i = 0; i < count; ++i) {
        narrow[i] = ek::to_bfloat(values[i]).bits;
        wide[i] = ek::to_float(ek::bfloat_t{narrow[i]});
    }
}

void probe_pack(float const* values, u32* out, int count) {
    for (int i = 0; i < count; ++i) out[i] = ek::pack(values[2 * i], values[2 * i + 1]);
}

void probe_halves_of_bytes(u32 const* fours, u32* out, int count) {
    for (int i = 0; i < count; ++i) ek::halves_of_bytes(fours[i], *reinterpret_cast<u32(*)[2]>(out + 2 * i));
}

char const* probe_lanes(int what, int kind, u32 const* a, u32 const* b, int const* rows, u32* out) {
    void (*const kernels[])(Lanes) = {multiply, load, exchange};
    return ek::launch(kernels[what], {.grid = 1, .block = 32, .shared_bytes = 512}, Lanes{kind, a, b, rows, out});
}

char const* probe_indices(int const* grid, int const* block, int cooperative, int* out) {
    ek::Launch how;
    how.grid = dim3(unsigned(grid[0]), unsigned(grid[1]), unsigned(grid[2]));
    how.block = dim3(unsigned(block[0]), unsigned(block[1]), unsigned(block[2]));
    how.cooperative = cooperative != 0;
    return ek::launch(count, how, Indices{out});
}

char const* probe_shared(int bytes, int word, u32* out) {
    return ek::launch(look, {.grid = 2, .block = 1, .shared_bytes = bytes},
                      Lanes{word, nullptr, nullptr, nullptr, out});
}

void probe_store_behind(unsigned char* end, int count) {
    for (int i = 0; i < count; ++i) end[i] = 1;
}
}
