// Runs attention on the emulator in all its forms, so that a sanitizer can watch it: `edgekit plugins test [--races]`.
// What it computes is judged elsewhere.
#include <cstdio>
#include <random>
#include <vector>

#ifndef EK_ATTENTION_SOURCE
#define EK_ATTENTION_SOURCE "kernels/attention.cu"
#endif
#ifndef EK_ATTENTION_PLAIN_SOURCE
#define EK_ATTENTION_PLAIN_SOURCE "kernels/attention_plain.cu"
#endif
#ifndef EK_ATTENTION_TYPES
#define EK_ATTENTION_TYPES EK_FLOAT32, EK_FLOAT16, EK_BFLOAT16
#endif
#include EK_ATTENTION_SOURCE
#include EK_ATTENTION_PLAIN_SOURCE
#include "emu/control.h"
#include "kernels/attention_cache.cu"
#include "logic/attention_abi.cpp"
#include "logic/attention_plan.cpp"
#include "logic/limits.cpp"

namespace {

std::mt19937 seeded(1);

// All memory stays with the process, which ends soon.
void* numbers(int type, size_t count) {
    void* const array = ek_emu_alloc(count * (type == EK_FLOAT32 ? 4 : 2));
    for (size_t i = 0; i < count; ++i) {
        float const x = std::uniform_real_distribution<float>(-1, 1)(seeded);
        if (type == EK_FLOAT32)
            static_cast<float*>(array)[i] = x;
        else
            static_cast<unsigned short*>(array)[i] = type == EK_FLOAT16 ? ek::to_half(x).bits : ek::to_bfloat(x).bits;
    }
    return array;
}

int* integers(std::vector<int> const& values) {
    auto* const array = static_cast<int*>(ek_emu_alloc(values.size() * sizeof(int)));
    for (size_t i = 0; i < values.size(); ++i) array[i] = values[i];
    return array;
}

struct Sizes {
    int head, value, queries, keys, past, capacity;
};

// Two batches, four heads over two of k and v, every way to mask.
ek_attention problem(int type, Sizes const& sizes) {
    ek_attention p{};
    p.batch = 2, p.heads = 4, p.kv_heads = 2, p.queries = sizes.queries, p.keys = sizes.keys;
    p.past = sizes.capacity > 0 ? 0 : sizes.past, p.capacity = sizes.capacity;
    p.head_size = sizes.head, p.value_size = sizes.value, p.type = type;
    p.causal = 1, p.window_left = 90, p.window_right = -1, p.scale = 0.3f, p.softcap = 2;
    int const all = sizes.past + sizes.keys, rows = sizes.capacity > 0 ? sizes.capacity : all;
    p.bias = numbers(EK_FLOAT32, size_t(all)), p.bias_type = EK_FLOAT32, p.bias_strides[3] = 1;
    p.q = numbers(type, size_t(8) * sizes.queries * sizes.head);
    p.k = numbers(type, size_t(4) * sizes.keys * sizes.head), p.v = numbers(type, size_t(4) * sizes.keys * sizes.value);
    p.key_lengths = integers({all, all - 1});
    p.past_length = integers({sizes.past});
    if (p.past > 0) {
        p.past_k = numbers(type, size_t(4) * p.past * sizes.head);
        p.past_v = numbers(type, size_t(4) * p.past * sizes.value);
    }
    if (sizes.past > 0) {
        p.present_k = numbers(type, size_t(4) * rows * sizes.head);
        p.present_v = numbers(type, size_t(4) * rows * sizes.value);
    }
    p.o = ek_emu_alloc(size_t(8) * sizes.queries * sizes.value * (type == EK_FLOAT32 ? 4 : 2));
    return p;
}

// Whether all of o has been written with numbers: what has not is NaN.
bool complete(ek_attention const& p) {
    float sum = 0;
    for (size_t i = 0; i < size_t(8) * p.queries * p.value_size; ++i) {
        auto const bits = static_cast<unsigned short const*>(p.o)[p.type == EK_FLOAT32 ? 0 : i];
        sum += p.type == EK_FLOAT32   ? static_cast<float const*>(p.o)[i]
               : p.type == EK_FLOAT16 ? ek::to_float(ek::half_t{bits})
                                      : ek::to_float(ek::bfloat_t{bits});
    }
    return sum == sum;
}

int run(ek_attention const& p, int sm, int schedule) {
    ek_device device = *ek::logic::limits_of(sm);
    device.multiprocessors = 16;
    ek_emu_sm(sm);
    ek_emu_schedule(schedule, 5);
    size_t const bytes = ek_attention_workspace(&p, &device);
    int const status = ek_attention_launch(&p, &device, bytes ? ek_emu_alloc(bytes) : nullptr, nullptr);
    std::printf("attention of %d queries, heads of %d, type %d, SM %d, schedule %d: %s\n", p.queries, p.head_size,
                p.type, sm, schedule,
                status != EK_OK ? ek::logic::last_error.c_str()
                : complete(p)   ? "done"
                                : "not all of o was written");
    return status != EK_OK || !complete(p);
}

}  // namespace

int main() {
    int failed = 0;
    for (int type : {EK_ATTENTION_TYPES})
        for (int schedule : {0, 1, 2}) {
            if (schedule != 2 && type == EK_BFLOAT16) continue;                     // FP16 with another conversion
            failed += run(problem(type, {32, 24, 35, 70, 0, 0}), 87, schedule);     // four warps, two tiles of keys
            failed += run(problem(type, {64, 64, 1, 1, 270, 0}), 87, schedule);     // splits, copies
            failed += run(problem(type, {136, 16, 3, 3, 100, 110}), 87, schedule);  // in place
            if (schedule == 0) failed += run(problem(type, {16, 16, 35, 70, 10, 0}), 75, schedule);
        }
    return failed != 0;
}
