#include "emu/fiber.h"

#include <sys/mman.h>

#include <cstdlib>
#include <vector>

#include "emu/memory.h"
#include "emu/sanitizers.h"

namespace ek::emu {
namespace {

// Sanitizers widen every frame.
constexpr size_t kStack = kFindsRaces || kFindsAddresses ? 256 * 1024 : 64 * 1024;

#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer takes half a millisecond to make a fiber, and has room for 8128 at once. A fiber of this launch is
// not used again in it: what two blocks do, one after the other, would look ordered.
constexpr size_t kKept = 2048;
std::vector<void*> spare;
std::vector<void*> retired;
#endif

// Set before each switch, so that whoever starts to run knows whom it followed.
Fiber* left = nullptr;
Fiber* running = nullptr;
void (*start)() = nullptr;

EK_UNTRACED void before_switch([[maybe_unused]] Fiber& from, [[maybe_unused]] Fiber& to) {
    left = &from;
    running = &to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(to.race_detector, __tsan_switch_to_fiber_no_sync);
#endif
}

EK_UNTRACED void after_switch() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(running->fake_stack, &left->stack, &left->stack_bytes);
#endif
}

#ifdef EK_HAVE_BOOST_CONTEXT
using boost::context::detail::transfer_t;

EK_UNTRACED void first_step(transfer_t from) {
    left->context = from.fctx;
    after_switch();
    start();
    std::abort();
}
#else
EK_UNTRACED void first_step() {
    after_switch();
    start();
    std::abort();
}
#endif

}  // namespace

Stacks::~Stacks() { release(); }

void Stacks::release() {
    if (memory_ != nullptr) munmap(memory_, size_t(count_) * (kStack + kGuard));
    memory_ = nullptr;
    count_ = 0;
}

bool Stacks::reserve(int count) {
    // Blocks that run one after the other are not ordered: a stack that a second one uses again would look like a race.
    if (kFindsRaces) release();
    if (count <= count_) return true;
    release();
    size_t const total = size_t(count) * (kStack + kGuard);
    void* const memory =
        mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    memory_ = static_cast<char*>(memory);
    count_ = count;
    for (int i = 0; i < count; ++i) {
        if (mprotect(at(i) - kGuard, kGuard, PROT_NONE) != 0) {
            release();
            return false;
        }
    }
    return true;
}

char* Stacks::at(int index) const { return memory_ + size_t(index) * (kStack + kGuard) + kGuard; }

bool Stacks::overflowed(int index, void const* address) const {
    auto const byte = static_cast<char const*>(address);
    return index < count_ && byte >= at(index) - kGuard && byte < at(index);
}

size_t Stacks::bytes() { return kStack; }

void adopt_caller([[maybe_unused]] Fiber& fiber) {
#if defined(__SANITIZE_THREAD__)
    fiber.race_detector = __tsan_get_current_fiber();
#endif
}

void make_fiber(Fiber& fiber, char* stack, void (*body)()) {
    start = body;
    fiber.stack = stack;
    fiber.stack_bytes = kStack;
    // An abandoned fiber has left the red zones of its frames.
    allow(stack, kStack);
#ifdef EK_HAVE_BOOST_CONTEXT
    fiber.context = boost::context::detail::make_fcontext(stack + kStack, kStack, first_step);
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, first_step, 0);
    // AddressSanitizer would clear the red zones of the whole stack at each switch.
    fiber.context.uc_stack.ss_size = 0;
#endif
#if defined(__SANITIZE_THREAD__)
    fiber.race_detector = spare.empty() ? __tsan_create_fiber(0) : spare.back();
    if (!spare.empty()) spare.pop_back();
#endif
}

void destroy_fiber([[maybe_unused]] Fiber& fiber, [[maybe_unused]] bool ended) {
#if defined(__SANITIZE_THREAD__)
    if (fiber.race_detector == nullptr) return;
    if (ended && retired.size() < kKept)
        retired.push_back(fiber.race_detector);
    else
        __tsan_destroy_fiber(fiber.race_detector);
    fiber.race_detector = nullptr;
#endif
}

void reuse_fibers() {
#if defined(__SANITIZE_THREAD__)
    for (void* const fiber : retired) {
        if (spare.size() < kKept)
            spare.push_back(fiber);
        else
            __tsan_destroy_fiber(fiber);
    }
    retired.clear();
#endif
}

EK_UNTRACED void switch_fiber(Fiber& from, Fiber& to) {
    before_switch(from, to);
#ifdef EK_HAVE_BOOST_CONTEXT
    transfer_t const back = boost::context::detail::jump_fcontext(to.context, nullptr);
    left->context = back.fctx;
#else
    swapcontext(&from.context, &to.context);
#endif
    after_switch();
}

}  // namespace ek::emu
