// Runs the LSTM on the emulator in all its forms, so that a sanitizer can watch it: `edgekit plugins test [--races]`.
// What it computes is judged elsewhere.
#include <cstdio>
#include <random>

#ifndef EK_LSTM_SOURCE
#define EK_LSTM_SOURCE "kernels/lstm.cu"
#endif
#include EK_LSTM_SOURCE
#include "emu/control.h"
#include "kernels/device.cu"
#include "logic/abi.cpp"
#include "logic/limits.cpp"
#include "logic/lstm_plan.cpp"

namespace {

std::mt19937 seeded(1);

float number() { return std::uniform_real_distribution<float>(-0.5f, 0.5f)(seeded); }

template <typename T, typename Make>
T* filled(size_t count, Make make) {
    auto* array = static_cast<T*>(ek_emu_alloc(count * sizeof(T)));
    for (size_t i = 0; i < count; ++i) array[i] = T(make(i));
    return array;
}

// Recurrent weights of any bits that are small finite numbers.
void const* weights(int type, size_t count) {
    if (type == EK_FLOAT32) return filled<float>(count, [](size_t) { return number(); });
    if (type == EK_INT8) return filled<signed char>(count, [](size_t i) { return int(i * 37 % 255) - 127; });
    return filled<unsigned short>(count, [](size_t i) { return 0x2800 + i * 37 % 0x400; });  // FP16, 0.03 to 0.06
}

// All memory stays with the process, which ends soon.
ek_lstm problem(int type, int hidden, int batch, int steps) {
    ek_lstm p{};
    p.weights = type, p.hidden = hidden, p.batch = batch, p.steps = steps, p.direction = EK_BIDIRECTIONAL;
    size_t const states = size_t(2) * batch * hidden, gates = size_t(8) * hidden;
    auto const any = [](size_t) { return number(); };
    p.xproj = filled<float>(steps * batch * gates, any);
    p.r = weights(type, gates * hidden);
    p.r_scale = filled<float>(gates, [](size_t) { return 0.002f; });
    p.lengths = filled<int>(batch, [=](size_t row) { return steps - int(row) % (steps + 1); });
    p.h0 = filled<float>(states, any), p.c0 = filled<float>(states, any);
    p.y = static_cast<float*>(ek_emu_alloc(states * steps * sizeof(float)));
    p.h_n = static_cast<float*>(ek_emu_alloc(states * sizeof(float)));
    p.c_n = static_cast<float*>(ek_emu_alloc(states * sizeof(float)));
    return p;
}

// Whether all of y, h_n and c_n has been written with numbers: what has not is NaN.
bool complete(ek_lstm const& p) {
    size_t const states = size_t(2) * p.batch * p.hidden;
    double sum = 0;
    for (size_t i = 0; i < states * p.steps; ++i) sum += p.y[i];
    for (size_t i = 0; i < states; ++i) sum += p.h_n[i] + p.c_n[i];
    return sum == sum;
}

int run(ek_lstm const& p, int sm, int multiprocessors, int schedule) {
    ek_device device;
    ek_emu_sm(sm);
    ek_emu_schedule(schedule, 5);
    ek_device_limits(sm, multiprocessors, &device);
    size_t const bytes = ek_lstm_workspace(&p, &device);
    int const status = ek_lstm_launch(&p, &device, bytes ? ek_emu_alloc(bytes) : nullptr, nullptr);
    std::printf("LSTM of %d units, weights %d, SM %d, schedule %d: %s\n", p.hidden, p.weights, sm, schedule,
                status != EK_OK ? ek_last_error()
                : complete(p)   ? "done"
                                : "not all of y, h_n and c_n was written");
    return status != EK_OK || !complete(p);
}

}  // namespace

int main() {
    int failed = 0;
    for (int type : {EK_FLOAT32, EK_FLOAT16, EK_INT8})
        for (int schedule : {0, 1, 2}) {
            failed += run(problem(type, 20, 9, 3), 87, 16, schedule);
            failed += run(problem(type, 132, 2, 3), 87, 16, schedule);
            if (schedule == 0) failed += run(problem(type, 132, 2, 2), 75, 40, schedule);
        }
    return failed != 0;
}
