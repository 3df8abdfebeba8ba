// glibc's checked longjmp takes a jump between two stacks for an error.
#undef _FORTIFY_SOURCE
#include "emu/faults.h"

#include <cstdio>
#include <cstring>
#include <vector>

#include "emu/threads.h"

namespace ek::emu {
namespace {

std::string text_of_fault;
bool failed = false;
alignas(16) char signal_stack[64 * 1024];

std::string index(dim3 const& i) {
    char text[64];
    std::snprintf(text, sizeof text, "(%u,%u,%u)", i.x, i.y, i.z);
    return text;
}

std::string last_seen(Thread const& thread) { return thread.primitive == nullptr ? "" : ", after " + at(thread); }

std::string place_of(Thread const& thread, void const* address) {
    if (state.stacks.overflowed(thread.number, address))
        return "stack overflow: a thread has " + std::to_string(Stacks::bytes() / 1024) + " KiB here";
    for (int i = 0; i < state.count; ++i) {
        Guarded const& shared = state.threads[i].block->shared;
        if (shared.covers(address)) return "out of bounds: " + shared.place(address, "shared memory");
    }
    std::string const device = device_place(address);
    if (!device.empty()) return "out of bounds: " + device;
    char text[64];
    std::snprintf(text, sizeof text, "bad address %p", address);
    return text;
}

std::string access(void* context) {
#if defined(__x86_64__)
    bool const store = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & 2;
    return store ? "store, " : "load, ";
#else
    (void)context;
    return "";
#endif
}

void on_bad_address(int signal, siginfo_t* info, void* context) {
    Thread* const thread = state.current;
    if (thread == nullptr) {
        // The host's own: it happens again, and is not caught.
        std::signal(signal, SIG_DFL);
        return;
    }
    state.current = nullptr;
    set_fault(name(*thread) + ": " + access(context) + place_of(*thread, info->si_addr) + last_seen(*thread));
    siglongjmp(state.host_jump, 1);
}

}  // namespace

EK_UNTRACED char const* fault() { return failed ? text_of_fault.c_str() : nullptr; }

EK_UNTRACED void clear_fault() { failed = false; }

EK_UNTRACED void set_fault(std::string const& text) {
    if (failed) return;
    failed = true;
    text_of_fault = text;
}

EK_UNTRACED void fail(std::string const& text) {
    set_fault(text);
    Thread* const thread = state.current;
    state.current = nullptr;
    switch_fiber(thread->fiber, state.host);
    __builtin_unreachable();
}

void fail_here(std::string const& text, std::source_location where) {
    fail(name(*state.current) + ": " + text + " at " + line(where));
}

void fail_ended(Thread const& ended, Thread const& waits) {
    fail(name(ended) + " ended while others wait: " + name(waits) + " in " + at(waits));
}

std::string name(Thread const& thread) {
    return "block " + index(thread.block->index) + " thread " + index(thread.index);
}

std::string line(std::source_location where) {
    char const* const slash = std::strrchr(where.file_name(), '/');
    return std::string(slash == nullptr ? where.file_name() : slash + 1) + ":" + std::to_string(where.line());
}

std::string at(Thread const& thread) { return std::string(thread.primitive) + " at " + line(thread.where); }

// Threads that wait at the same line are told once.
EK_UNTRACED std::string deadlock() {
    struct Group {
        std::string place;
        std::string first;
        int more;
    };
    std::vector<Group> groups;
    for (int i = 0; i < state.count; ++i) {
        Thread const& thread = state.threads[i];
        if (thread.wait == Wait::ended || thread.wait == Wait::none) continue;
        std::string place = at(thread);
        if (thread.wait == Wait::counter)
            place += " for " + std::to_string(thread.value) + ", found " + std::to_string(*thread.counter);
        bool known = false;
        for (Group& group : groups) {
            if (group.place != place) continue;
            ++group.more;
            known = true;
        }
        if (!known) groups.push_back({place, name(thread), 0});
    }
    std::string text = "deadlock";
    for (size_t i = 0; i < groups.size() && i < 8; ++i) {
        text += (i == 0 ? ": " : "; ") + groups[i].first;
        if (groups[i].more != 0) text += " and " + std::to_string(groups[i].more) + " more";
        text += " in " + groups[i].place;
    }
    return text;
}

CatchAddresses::CatchAddresses() {
    if (kFindsRaces || kFindsAddresses) return;
    stack_t stack = {};
    stack.ss_sp = signal_stack;
    stack.ss_size = sizeof signal_stack;
    sigaltstack(&stack, &old_stack_);
    struct sigaction action = {};
    action.sa_sigaction = on_bad_address;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &old_segv_);
    sigaction(SIGBUS, &action, &old_bus_);
}

CatchAddresses::~CatchAddresses() {
    if (kFindsRaces || kFindsAddresses) return;
    sigaction(SIGSEGV, &old_segv_, nullptr);
    sigaction(SIGBUS, &old_bus_, nullptr);
    sigaltstack(&old_stack_, nullptr);
}

}  // namespace ek::emu
