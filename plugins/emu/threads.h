// The emulator's view of a launch: threads, warps and blocks, and who waits for what.
#pragma once
#include <csetjmp>
#include <functional>
#include <source_location>

#include "ek/device.cuh"
#include "emu/fiber.h"
#include "emu/memory.h"
#include "emu/ready.h"
#include "emu/sanitizers.h"

namespace ek::emu {

enum class Wait { none, block, warp, counter, ended };

// A copy that copy_async has announced and that a wait_for_copies will make.
struct Copy {
    void* shared;
    void const* global;  // nullptr: zeros
    int bytes;
    int group;
    std::source_location where;
};

// They live on the fiber's own stack: nothing is shared, nothing has to be freed.
struct Copies {
    static constexpr int kMost = 256;
    Copy of[kMost];
    int count = 0;
    int group = 0;
};

struct Block;
struct Warp;

struct Thread {
    Fiber fiber;
    dim3 index;
    int number = 0;  // among all threads that live at once
    int lane = 0;
    Block* block = nullptr;
    Warp* warp = nullptr;
    Copies* copies = nullptr;
    Wait wait = Wait::none;
    // The last primitive that the thread came to; nullptr before the first.
    char const* primitive = nullptr;
    std::source_location where;
    u32 const* counter = nullptr;
    u32 value = 0;
};

// Two sets of values and tokens: a thread may reach the next barrier before the last one has left this one.
struct Warp {
    u32 values[2][kLanes][kWords];
    unsigned long long token[2] = {};
    Thread* threads = nullptr;
    int lanes = 0;
    int arrived = 0;
    unsigned generation = 0;
    Thread* first = nullptr;  // to arrive
    Thread* ended = nullptr;  // the first thread that left the kernel
};

struct Block {
    dim3 index;
    Guarded shared;
    unsigned char* shared_data = nullptr;
    size_t shared_bytes = 0;
    Warp* warps = nullptr;
    unsigned long long token[2] = {};
    int live = 0;
    int arrived = 0;
    unsigned generation = 0;
    Thread* first = nullptr;
    Thread* ended = nullptr;
};

struct State {
    dim3 grid;
    dim3 block;
    Thread* threads = nullptr;
    int count = 0;  // threads that live at once
    int live = 0;
    Thread* current = nullptr;   // nullptr: the host runs
    Thread** waiting = nullptr;  // for a counter
    int waiting_count = 0;
    Fiber host;
    sigjmp_buf host_jump;
    Stacks stacks;
    Ready ready;
    std::function<void()> const* kernel = nullptr;
    unsigned long long start_token = 0;
    unsigned long long end_token = 0;
    unsigned long long switches = 0;
    int schedule = kForward;
    unsigned seed = 0;
    int sm = 87;
};

extern State state;

// Goes on with the next ready thread, or with the host when there is none. Returns when the caller runs again.
void pass_on();
// Notes that the running thread came to a primitive.
void arrive_at(char const* primitive, std::source_location where);

}  // namespace ek::emu
