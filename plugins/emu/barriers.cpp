// Where threads wait for one another: __syncthreads, the collectives of a warp, counters in global memory.
#include "ek/device.cuh"
#include "emu/faults.h"
#include "emu/threads.h"

namespace ek::emu {
namespace {

// strcmp would be traced.
EK_UNTRACED bool same_text(char const* a, char const* b) {
    while (a != b && *a != 0 && *a == *b) ++a, ++b;
    return a == b || *a == *b;
}

EK_UNTRACED bool same_line(Where a, Where b) { return a.line() == b.line() && same_text(a.file_name(), b.file_name()); }

// Waits until another thread makes this one ready.
EK_UNTRACED void park(Wait wait) {
    state.current->wait = wait;
    pass_on();
    state.current->wait = Wait::none;
}

// A completed barrier lets these go on; the one that completed it may have to wait for its turn.
EK_UNTRACED void release(Thread* threads, int count) {
    bool const goes_on = state.ready.goes_on();
    for (int i = 0; i < count; ++i)
        if (&threads[i] != state.current || !goes_on) state.ready.add(threads[i].number);
    if (!goes_on) park(Wait::none);
}

EK_UNTRACED void check_warp(Thread& me, Warp& warp) {
    if (warp.lanes != kLanes)
        fail(name(me) + ": its warp has only " + std::to_string(warp.lanes) + " lanes, expected 32 in " + at(me));
    if (warp.ended != nullptr)
        fail(name(me) + ": lane " + std::to_string(warp.ended->lane) + " of its warp has ended, expected 32 lanes in " +
             at(me));
    if (warp.arrived == 0) {
        warp.first = &me;
        return;
    }
    Thread& first = *warp.first;
    if (!same_text(first.primitive, me.primitive) || !same_line(first.where, me.where))
        fail("lanes of one warp are in different collectives: " + name(first) + " in " + at(first) + ", " + name(me) +
             " in " + at(me));
}

// These two are traced: for the race detector they are the kernel's own atomics.
void count_up(u32* counter) { __atomic_fetch_add(counter, 1u, __ATOMIC_RELEASE); }
void acquire(u32 const* counter) { (void)__atomic_load_n(counter, __ATOMIC_ACQUIRE); }

EK_UNTRACED u32 peek(u32 const* counter) { return *static_cast<u32 const volatile*>(counter); }

// What the thread sees is what was released when its value was reached, not when it runs again.
EK_UNTRACED void acquire_for([[maybe_unused]] Thread& thread, [[maybe_unused]] u32 const* counter) {
#if defined(__SANITIZE_THREAD__)
    void* const me = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(thread.fiber.race_detector, __tsan_switch_to_fiber_no_sync);
    acquire(counter);
    __tsan_switch_to_fiber(me, __tsan_switch_to_fiber_no_sync);
#endif
}

// Wakes who waits for this counter, or for any of them.
EK_UNTRACED void wake(u32 const* counter) {
    for (int i = 0; i < state.waiting_count;) {
        Thread& thread = *state.waiting[i];
        bool const reached = (counter == nullptr || thread.counter == counter) && peek(thread.counter) >= thread.value;
        if (!reached) {
            ++i;
            continue;
        }
        acquire_for(thread, thread.counter);
        state.ready.add(thread.number);
        state.waiting[i] = state.waiting[--state.waiting_count];
    }
}

}  // namespace

EK_UNTRACED void arrive_at(char const* primitive, Where where) {
    state.current->primitive = primitive;
    state.current->where = where;
}

EK_UNTRACED void pass_on() {
    Thread* const me = state.current;
    int next = state.ready.take();
    if (next < 0 && state.waiting_count != 0) {
        // A plain store may have changed a counter.
        wake(nullptr);
        next = state.ready.take();
    }
    ++state.switches;
    state.current = next < 0 ? nullptr : &state.threads[next];
    if (state.current == me) return;
    switch_fiber(me->fiber, next < 0 ? state.host : state.current->fiber);
}

EK_UNTRACED void sync_block(Where where) {
    Thread& me = *state.current;
    Block& block = *me.block;
    arrive_at("__syncthreads", where);
    if (block.ended != nullptr) fail_ended(*block.ended, me);
    if (block.arrived == 0) block.first = &me;
    if (!same_line(block.first->where, where))
        fail("threads of one block wait at different barriers: " + name(*block.first) + " in " + at(*block.first) +
             ", " + name(me) + " in " + at(me));
    void* const token = &block.token[block.generation % 2];
    happens_before(token);
    if (++block.arrived < block.live) {
        park(Wait::block);
    } else {
        block.arrived = 0;
        ++block.generation;
        release(block.warps[0].threads, block.live);
    }
    happens_after(token);
}

EK_UNTRACED Words const* exchange(char const* primitive, u32 const* words, int count, Where where) {
    Thread& me = *state.current;
    Warp& warp = *me.warp;
    arrive_at(primitive, where);
    check_warp(me, warp);
    unsigned const half = warp.generation % 2;
    for (int i = 0; i < count; ++i) warp.values[half][me.lane][i] = words[i];
    happens_before(&warp.token[half]);
    if (++warp.arrived < kLanes) {
        park(Wait::warp);
    } else {
        warp.arrived = 0;
        ++warp.generation;
        release(warp.threads, kLanes);
    }
    happens_after(&warp.token[half]);
    return warp.values[half];
}

EK_UNTRACED void add_release(u32* counter, Where where) {
    EK_FRAME_OF_CALLER;
    arrive_at("add_release", where);
    count_up(counter);
    wake(counter);
}

EK_UNTRACED void wait_until(u32 const* counter, u32 value, Where where) {
    EK_FRAME_OF_CALLER;
    Thread& me = *state.current;
    arrive_at("wait_until", where);
    if (peek(counter) >= value) return acquire(counter);
    me.counter = counter;
    me.value = value;
    state.waiting[state.waiting_count++] = &me;
    park(Wait::counter);
}

}  // namespace ek::emu
