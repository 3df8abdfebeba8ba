// In two blocks that never meet: each thread takes its right neighbour's number, through shared memory, and adds what
// its warp has.
#include "toy.h"

struct Neighbours {
    float* out;     // [kBlocks, kThreads]
    float* passed;  // [kBlocks, kThreads]
};

constexpr int kBlocks = 2;
constexpr int kThreads = 64;

#ifdef BUG_STACK
__device__ int descend(int depth) {
    int volatile frame[256] = {depth};
    return depth == 0 ? 0 : descend(depth - 1) + frame[0];
}
#endif

__global__ void __launch_bounds__(kThreads) neighbours(Neighbours of) {
    EK_SHARED(raw);
    float* const row = reinterpret_cast<float*>(raw);
    int const i = int(threadIdx.x);
    float* const passed = of.passed + blockIdx.x * kThreads;
    float* const out = of.out + blockIdx.x * kThreads;
#if defined(BUG_SHARED_END)
    row[i + 1] = float(i);
#elif defined(BUG_SHARED_FAR)
    row[i + 128] = float(i);
#elif defined(BUG_SHARED_PADDING)
    row[i] = float(i);
    row[i + 2] = float(i);  // line: padding
#else
    row[i] = float(i);  // line: store
#endif
#if defined(BUG_DIVERGENT)
    if (i < 32) {
        __syncthreads();  // line: left barrier
    } else {
        __syncthreads();  // line: right barrier
    }
#elif defined(BUG_ENDED)
    if (i == 5) return;
#endif
#ifndef BUG_NO_BARRIER
    __syncthreads();  // line: barrier
#endif
    float sum = row[(i + 1) % kThreads];  // line: load
#if defined(BUG_MIXED)
    if (i % 2 == 0) {
        ek::sync_warp();  // line: even
    } else {
        sum += ek::shuffle(sum, 0);  // line: odd
    }
#endif
#if defined(BUG_LANE_GONE)
    if (i == 7) return;
#endif
    for (int mask = 16; mask > 0; mask /= 2) sum += ek::shuffle_xor(sum, mask);  // line: collective
#if defined(BUG_GLOBAL_END)
    passed[i + 1] = sum;  // line: pass end
#else
    passed[i] = sum;  // line: pass
#endif
#ifndef BUG_NO_GLOBAL_BARRIER
    __syncthreads();
#endif
    out[i] = passed[kThreads - 1 - i] + float(i);  // line: take
#if defined(BUG_STACK)
    out[i] += float(descend(1000));
#endif
}

int main(int count, char** values) {
    choose_schedule(count, values);
    Neighbours const of{device_array<float>(kBlocks * kThreads), device_array<float>(kBlocks * kThreads)};
#ifdef BUG_SHORT_WARP
    unsigned const threads = kThreads - 16;
#else
    unsigned const threads = kThreads;
#endif
#ifdef BUG_SHARED_PADDING
    int const bytes = (kThreads + 1) * 4;  // the end is not a multiple of 128
#else
    int const bytes = kThreads * 4;
#endif
    char const* const fault = ek::launch(neighbours, {.grid = kBlocks, .block = threads, .shared_bytes = bytes}, of);
    return tell(fault, of.out, kBlocks * kThreads);
}
