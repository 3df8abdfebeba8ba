// Every block adds what all blocks wrote in the step before: a barrier between blocks in each step.
#include "toy.h"

struct Steps {
    float* numbers;  // [2, kBlocks]
    ek::u32* counter;
    float* out;  // [kBlocks]
};

constexpr int kBlocks = 5;
constexpr int kSteps = 4;

__global__ void __launch_bounds__(ek::kLanes) add_up(Steps of) {
    unsigned const block = blockIdx.x;
    float number = float(block + 1);
#if defined(BUG_PLAIN_COUNTER)
    if (block == 0 && threadIdx.x == 1) *of.counter = 0;  // line: reset
#endif
    for (int step = 0; step < kSteps; ++step) {
#ifdef BUG_ONE_BUFFER
        float* const row = of.numbers;
#else
        float* const row = of.numbers + step % 2 * kBlocks;
#endif
        if (threadIdx.x == 0) row[block] = number;  // line: store
        __syncthreads();
#if !defined(BUG_NO_BARRIER) && !defined(BUG_ONE_AFTER_THE_OTHER)
        if (threadIdx.x == 0) {
            ek::add_release(of.counter);                                 // line: add
            ek::wait_until(of.counter, unsigned(kBlocks * (step + 1)));  // line: wait
        }
        __syncthreads();  // line: join
#endif
        number = 0.0f;
        for (int i = 0; i < kBlocks; ++i)
            number += ek::load_from_l2(row + i) * float(i == int(block) ? 2 : 1);  // line: load
    }
    if (threadIdx.x == 0) of.out[block] = number;
}

int main(int count, char** values) {
    choose_schedule(count, values);
    Steps const of{device_array<float>(2 * kBlocks), device_array<ek::u32>(1), device_array<float>(kBlocks)};
    ek::clear(of.counter, sizeof(ek::u32), nullptr);
#if defined(BUG_DEADLOCK) || defined(BUG_ONE_AFTER_THE_OTHER)
    bool const cooperative = false;
#else
    bool const cooperative = true;
#endif
    ek::Launch const how{.grid = kBlocks, .block = ek::kLanes, .cooperative = cooperative};
    return tell(ek::launch(add_up, how, of), of.out, kBlocks);
}
