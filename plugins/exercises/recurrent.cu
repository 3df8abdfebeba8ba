// Runs the recurrent kernels on the emulator in all their forms, so that a sanitizer can watch: `edgekit plugins test`.
// What they compute is judged elsewhere.
#include <cstdio>
#include <random>

#include "emu/control.h"
#include "kernels/device.cu"
#include "kernels/gru.cu"
#include "kernels/lstm.cu"
#include "kernels/rnn.cu"
#include "logic/abi.cpp"
#include "logic/limits.cpp"
#include "logic/recurrent_plan.cpp"

// A test of one planted bug needs no more than one type of weights.
#ifndef EK_EXERCISED
#define EK_EXERCISED EK_FLOAT32, EK_FLOAT16, EK_INT8
#endif

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

float* written_later(size_t count) { return static_cast<float*>(ek_emu_alloc(count * sizeof(float))); }

float* numbers(size_t count) {
    return filled<float>(count, [](size_t) { return number(); });
}

size_t states(auto const& p) { return size_t(2) * p.batch * p.hidden; }

// What each operator has for itself.
void fill_own(ek_lstm& p) { p.c0 = numbers(states(p)), p.c_n = written_later(states(p)); }
void fill_own(ek_gru& p) { p.rb_h = numbers(size_t(2) * p.hidden); }
void fill_own(ek_rnn&) {}

// All memory stays with the process, which ends soon.
template <typename P>
P problem(P p, int type, int hidden, int batch, int steps) {
    p.weights = type, p.hidden = hidden, p.batch = batch, p.steps = steps, p.direction = EK_BIDIRECTIONAL;
    size_t const rows = size_t(2) * ek::logic::gates_of(p) * hidden;
    p.xproj = numbers(steps * batch * rows);
    p.r = weights(type, rows * hidden);
    p.r_scale = filled<float>(rows, [](size_t) { return 0.002f; });
    p.lengths = filled<int>(batch, [=](size_t row) { return steps - int(row) % (steps + 1); });
    p.h0 = numbers(states(p));
    p.y = written_later(states(p) * steps), p.h_n = written_later(states(p));
    fill_own(p);
    return p;
}

// Whether all of y and h_n has been written with numbers: what has not is NaN.
bool complete(auto const& p) {
    double sum = 0;
    for (size_t i = 0; i < states(p) * p.steps; ++i) sum += p.y[i];
    for (size_t i = 0; i < states(p); ++i) sum += p.h_n[i];
    return sum == sum;
}

template <typename P>
int run(char const* name, LaunchOf<P> launch, P const& p, int schedule, int sm = 87, int multiprocessors = 16) {
    ek_device device;
    ek_emu_sm(sm);
    ek_emu_schedule(schedule, 5);
    ek_device_limits(sm, multiprocessors, &device);
    size_t const bytes = workspace_of(&p, &device);
    int const status = launched(launch, &p, &device, bytes ? ek_emu_alloc(bytes) : nullptr, nullptr);
    std::printf("%s of %d units, weights %d, SM %d, schedule %d: %s\n", name, p.hidden, p.weights, sm, schedule,
                status != EK_OK ? ek_last_error()
                : complete(p)   ? "done"
                                : "not all of y and h_n was written");
    std::fflush(stdout);
    return status != EK_OK || !complete(p);
}

template <typename P>
int run_all(char const* name, LaunchOf<P> launch, P const& p) {
    int failed = 0;
    for (int type : {EK_EXERCISED}) {
        for (int schedule : {0, 1, 2}) failed += run(name, launch, problem(p, type, 20, 9, 3), schedule);
        for (int schedule : {0, 2}) failed += run(name, launch, problem(p, type, 132, 2, 3), schedule);
        failed += run(name, launch, problem(p, type, 132, 2, 2), 0, 75, 40);
    }
    return failed;
}

}  // namespace

int main() {
    ek_gru reset_first{}, reset_last{};
    reset_last.linear_before_reset = 1;
    int failed = run_all("LSTM", ek::recurrent::launch_lstm, ek_lstm{});
    failed += run_all("GRU", ek::recurrent::launch_gru, reset_last);
    failed += run_all("GRU, reset first", ek::recurrent::launch_gru, reset_first);
    failed += run_all("RNN", ek::recurrent::launch_rnn, ek_rnn{});
    return failed != 0;
}
