// What goes before attention and after it: the cache is written, the parts of blocks that shared keys are added up.
// See attention.cuh for the whole.
#include "kernels/attention.cuh"

namespace ek::attention {

// Threads of a block that copies, and how often each does before another block is worth it.
constexpr int kCopiers = 128, kCopies = 8;

// What is copied at once, a row of the cache being some of them.
struct alignas(16) Words {
    u32 word[4];
};

// k or v of one launch: rows of a head before, new ones, and the cache.
struct Rows {
    void const* past;
    void const* added;
    void* present;
    int size;  // of a row, in elements

    EK_DEVICE Rows(ek_attention const& p, bool values)
        : past(values ? p.past_v : p.past_k),
          added(values ? p.v : p.k),
          present(values ? p.present_v : p.present_k),
          size(values ? p.value_size : p.head_size) {}
};

// Rows from .. from + count - 1 of every head of the cache; a row is `units` of Unit. In place the past is there.
template <typename Unit>
EK_DEVICE void append(Arguments const& a, Rows const& rows, int units) {
    ek_attention const& p = a.problem;
    int const past = past_keys(a), first = p.capacity > 0 ? past : 0, count = past + p.keys - first;
    auto* const present = static_cast<Unit*>(rows.present);
    size_t const all = size_t(p.batch) * p.kv_heads * count * units, step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += step) {
        int const unit = int(i % units), row = first + int(i / units % count);
        size_t const head = i / units / count;
        auto const* const from = static_cast<Unit const*>(row < past ? rows.past : rows.added);
        size_t const place = row < past ? head * p.past + row : head * p.keys + row - past;
        present[(head * a.room + row) * units + unit] = from[place * units + unit];
    }
}

// Block y is 0 for k, 1 for v.
__global__ void __launch_bounds__(kCopiers) attention_append(Arguments a) {
    Rows const rows(a.problem, blockIdx.y == 1);
    int const bytes = rows.size * (a.problem.type == EK_FLOAT32 ? 4 : 2);
    if (bytes % 16 == 0)
        append<Words>(a, rows, bytes / 16);
    else
        append<u32>(a, rows, bytes / 4);
}

// A warp for each row of the output, lanes over its values.
template <typename T>
__global__ void __launch_bounds__(128) attention_merge(Arguments a) {
    ek_attention const& p = a.problem;
    size_t const all = size_t(p.batch) * p.heads * p.queries;
    size_t const row = size_t(blockIdx.x) * (blockDim.x / kLanes) + threadIdx.x / kLanes;
    if (row >= all) return;
    int const size = p.value_size;
    float const* const parts = a.partial + row * (size + 2);
    size_t const step = all * (size + 2);

    Softmax whole;
    for (int split = 0; split < a.splits; ++split) whole.raise(parts[split * step + size]);
    for (int split = 0; split < a.splits; ++split)
        whole.sum += whole.weight(parts[split * step + size]) * parts[split * step + size + 1];
    for (int d = threadIdx.x % kLanes; d < size; d += kLanes) {
        float sum = 0.f;
        for (int split = 0; split < a.splits; ++split)
            sum += whole.weight(parts[split * step + size]) * parts[split * step + d];
        static_cast<T*>(p.o)[row * size + d] = narrow<T>(sum * whole.inverse());
    }
}

template __global__ void attention_merge<float>(Arguments);
template __global__ void attention_merge<half_t>(Arguments);
template __global__ void attention_merge<bfloat_t>(Arguments);

}  // namespace ek::attention

#ifndef __CUDACC_RTC__
#include "ek/launch.h"
#include "kernels/attention_launches.h"

namespace ek::attention {

char const* launch_append(Arguments const& arguments, void* stream) {
    ek_attention const& p = arguments.problem;
    size_t const rows = size_t(p.batch) * p.kv_heads * (p.past + p.keys);
    size_t const bytes = rows * size_t(p.head_size > p.value_size ? p.head_size : p.value_size) * 4;
    size_t const blocks = bytes / (kCopiers * kCopies * sizeof(Words)) + 1;
    Launch how;
    how.grid = dim3(unsigned(blocks < 2048 ? blocks : 2048), 2);
    how.block = dim3(kCopiers);
    how.stream = stream;
    return launch(attention_append, how, arguments);
}

char const* launch_merge(Arguments const& arguments, void* stream) {
    ek_attention const& p = arguments.problem;
    size_t const rows = size_t(p.batch) * p.heads * p.queries;
    Launch how;
    how.grid = dim3(unsigned((rows + 3) / 4));
    how.block = dim3(128);
    how.stream = stream;
    if (p.type == EK_FLOAT32) return launch(attention_merge<float>, how, arguments);
    return launch(p.type == EK_FLOAT16 ? attention_merge<half_t> : attention_merge<bfloat_t>, how, arguments);
}

}  // namespace ek::attention
#endif
