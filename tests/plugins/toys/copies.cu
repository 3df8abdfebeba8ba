// Rows of numbers are copied to shared memory while the row before is summed: two buffers.
#include "toy.h"

struct Rows {
    float const* rows;  // [kRows, kThreads * 4]
    float* out;         // [threads]
};

constexpr int kThreads = 64;
constexpr int kRows = 6;
constexpr int kRow = kThreads * 4;

__device__ void fetch(float* buffer, Rows const& of, int row) {
    int const i = int(threadIdx.x) * 4;
#if defined(BUG_MISALIGNED_SHARED)
    ek::copy_async<16>(buffer + i + 1, of.rows + i, row < kRows);  // line: shared
#elif defined(BUG_MISALIGNED_GLOBAL)
    ek::copy_async<16>(buffer + i, of.rows + i + 1, row < kRows);  // line: global
#elif defined(BUG_OUTSIDE)
    ek::copy_async<16>(buffer + i + kRow, of.rows + i, row < kRows);  // line: outside
#elif defined(BUG_FAR_ROW)
    ek::copy_async<16>(buffer + i, of.rows + row * kRow + i, true);  // line: far
#else
    ek::copy_async<16>(buffer + i, of.rows + (row < kRows ? row : 0) * kRow + i, row < kRows);  // line: copy
#endif
    ek::commit_copies();
}

__global__ void __launch_bounds__(kThreads) sum_rows(Rows of) {
    EK_SHARED(raw);
    float* const buffers = reinterpret_cast<float*>(raw);
    float sum = 0.0f;
    fetch(buffers, of, 0);
    for (int row = 0; row < kRows; ++row) {
        float* const next = buffers + (row + 1) % 2 * kRow;
        fetch(next, of, row + 1);
#ifndef BUG_NO_WAIT
        ek::wait_for_copies<1>();  // line: wait
#endif
#ifndef BUG_NO_JOIN
        __syncthreads();
#endif
        float const* const here = buffers + row % 2 * kRow;
        for (int j = 0; j < 4; ++j) sum += here[(int(threadIdx.x) * 4 + 4 + j) % kRow];  // line: load
#ifndef BUG_TOO_EARLY
        __syncthreads();
#endif
    }
#ifndef BUG_PENDING
    ek::wait_for_copies<0>();
#endif
    of.out[threadIdx.x] = sum;
}

int main(int count, char** values) {
    choose_schedule(count, values);
    if (count > 3) ek_emu_sm(std::atoi(values[3]));
    float* const rows = device_array<float>(kRows * kRow);
    for (int i = 0; i < kRows * kRow; ++i) rows[i] = float(i % 7);
    Rows const of{rows, device_array<float>(kThreads)};
    char const* const fault = ek::launch(sum_rows, {.grid = 1, .block = kThreads, .shared_bytes = 2 * kRow * 4}, of);
    return tell(fault, of.out, kThreads);
}
