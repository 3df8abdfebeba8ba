#undef _FORTIFY_SOURCE
#include "ek/device.cuh"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emu/faults.h"
#include "emu/threads.h"

namespace ek::emu {

State state;

namespace {

constexpr unsigned long long kMostThreads = 1024;

unsigned long long volume(dim3 const& size) { return 1ull * size.x * size.y * size.z; }

dim3 index_in(int number, dim3 const& size) {
    unsigned const n = unsigned(number);
    return dim3(n % size.x, n / size.x % size.y, n / size.x / size.y);
}

// The body of every fiber.
EK_UNTRACED void run_thread() {
    happens_after(&state.start_token);
    Copies copies;
    state.current->copies = &copies;
    (*state.kernel)();
    check_no_copies();
    Thread& me = *state.current;
    me.wait = Wait::ended;
    --state.live;
    Block& block = *me.block;
    Warp& warp = *me.warp;
    --block.live;
    if (block.ended == nullptr) block.ended = &me;
    if (warp.ended == nullptr) warp.ended = &me;
    if (block.arrived != 0) fail_ended(me, *block.first);
    happens_before(&state.end_token);
    pass_on();
}

// One block after the other, or all at once.
struct Batch {
    std::unique_ptr<Block[]> blocks;
    std::unique_ptr<Warp[]> warps;
    std::unique_ptr<Thread[]> threads;
    std::unique_ptr<Thread*[]> waiting;
};

void set_up_block(Batch& batch, int slot, int number, int shared_bytes) {
    int const size = int(volume(state.block));
    int const warps = (size + kLanes - 1) / kLanes;
    Block& block = batch.blocks[size_t(slot)];
    block.index = index_in(number, state.grid);
    block.warps = &batch.warps[size_t(slot) * size_t(warps)];
    block.live = size;
    block.shared = Guarded::map(size_t(shared_bytes), 128, kSharedPoison);
    block.shared_data = block.shared.data();
    block.shared_bytes = size_t(shared_bytes);
    if (block.shared_data == nullptr) set_fault("no memory for the shared memory of a block");
    for (int i = 0; i < size; ++i) {
        Thread& thread = batch.threads[size_t(slot) * size_t(size) + size_t(i)];
        thread.number = slot * size + i;
        thread.index = index_in(i, state.block);
        thread.lane = i % kLanes;
        thread.block = &block;
        thread.warp = &block.warps[i / kLanes];
        if (thread.lane == 0) thread.warp->threads = &thread;
        ++thread.warp->lanes;
        make_fiber(thread.fiber, state.stacks.at(thread.number), run_thread);
        state.ready.add(thread.number);
    }
}

// What threads did that will never end comes before what the host does next.
EK_UNTRACED void leave_behind() {
#if defined(__SANITIZE_THREAD__)
    for (int i = 0; i < state.count; ++i) {
        __tsan_switch_to_fiber(state.threads[i].fiber.race_detector, __tsan_switch_to_fiber_no_sync);
        happens_before(&state.end_token);
    }
    __tsan_switch_to_fiber(state.host.race_detector, __tsan_switch_to_fiber_no_sync);
    happens_after(&state.end_token);
#endif
}

EK_UNTRACED void run_until_nobody_can() {
    adopt_caller(state.host);
    happens_before(&state.start_token);
    if (sigsetjmp(state.host_jump, 1) == 0) {
        Thread& first = state.threads[state.ready.take()];
        state.current = &first;
        ++state.switches;
        switch_fiber(state.host, first.fiber);
    }
    state.current = nullptr;
    if (state.live != 0) leave_behind();
}

void run_batch(int const* numbers, int blocks, int shared_bytes) {
    int const size = int(volume(state.block));
    int const count = blocks * size;
    if (!state.stacks.reserve(count))
        return set_fault("no memory for the stacks of " + std::to_string(count) + " threads");
    Batch batch;
    batch.blocks = std::make_unique<Block[]>(size_t(blocks));
    batch.warps = std::make_unique<Warp[]>(size_t(blocks) * size_t((size + kLanes - 1) / kLanes));
    batch.threads = std::make_unique<Thread[]>(size_t(count));
    batch.waiting = std::make_unique<Thread*[]>(size_t(count));
    state.threads = batch.threads.get();
    state.waiting = batch.waiting.get();
    state.waiting_count = 0;
    state.count = state.live = count;
    state.ready.reset(count);
    for (int i = 0; i < blocks; ++i) set_up_block(batch, i, numbers[i], shared_bytes);
    if (fault() == nullptr) run_until_nobody_can();
    if (fault() == nullptr && state.live != 0) set_fault(deadlock());
    for (int i = 0; i < blocks; ++i) {
        std::string const overrun = batch.blocks[size_t(i)].shared.overrun();
        if (!overrun.empty()) set_fault("out of bounds: a store to " + overrun + " of shared memory");
    }
    for (int i = 0; i < count; ++i) destroy_fiber(state.threads[i].fiber, state.threads[i].wait == Wait::ended);
    state.threads = nullptr;
    state.count = 0;
}

}  // namespace

EK_UNTRACED dim3 thread_index() { return state.current->index; }
EK_UNTRACED dim3 block_index() { return state.current->block->index; }
EK_UNTRACED dim3 block_size() { return state.block; }
EK_UNTRACED dim3 grid_size() { return state.grid; }
EK_UNTRACED int emulated_sm() { return state.sm; }

char const* launch(dim3 grid, dim3 block, int shared_bytes, bool cooperative, std::function<void()> const& kernel) {
    static std::mutex one_at_a_time;
    std::lock_guard const lock(one_at_a_time);
    clear_fault();
    reuse_fibers();
    unsigned long long const blocks = volume(grid);
    unsigned long long const threads = volume(block);
    if (blocks == 0 || threads == 0 || shared_bytes < 0 || threads > kMostThreads || blocks > 0x7fffffffull / threads)
        set_fault("expected a grid with blocks of 1 to 1024 threads, found " + std::to_string(blocks) + " blocks of " +
                  std::to_string(threads));
    if (fault() != nullptr) return fault();
    state.grid = grid;
    state.block = block;
    state.kernel = &kernel;
    state.ready.seed(state.schedule, state.seed);
    std::vector<int> order(blocks);
    for (size_t i = 0; i < order.size(); ++i) order[i] = int(i);
    if (!cooperative) state.ready.order_blocks(order.data(), int(blocks));
    {
        CatchAddresses const caught;
        int const at_once = cooperative ? int(blocks) : 1;
        for (size_t i = 0; i < order.size() && fault() == nullptr; i += size_t(at_once))
            run_batch(&order[i], at_once, shared_bytes);
    }
    happens_after(&state.end_token);
    std::string const overrun = device_overrun();
    if (!overrun.empty()) set_fault("out of bounds: a store to " + overrun);
    return fault();
}

}  // namespace ek::emu
