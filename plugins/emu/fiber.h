// One fiber is one CUDA thread: its own stack, switched by Boost.Context where EK_HAVE_BOOST_CONTEXT is defined, by
// ucontext otherwise. Below each stack lies a guard.
#pragma once
#include <cstddef>

#ifdef EK_HAVE_BOOST_CONTEXT
#include <boost/context/detail/fcontext.hpp>
#else
#include <ucontext.h>
#endif

namespace ek::emu {

struct Fiber {
#ifdef EK_HAVE_BOOST_CONTEXT
    boost::context::detail::fcontext_t context = nullptr;
#else
    ucontext_t context;
#endif
    void const* stack = nullptr;  // its lowest byte
    size_t stack_bytes = 0;
    void* race_detector = nullptr;  // ThreadSanitizer's fiber
    void* fake_stack = nullptr;     // AddressSanitizer's, while another fiber runs
};

// The stacks of all fibers of a launch, kept for the next one.
class Stacks {
  public:
    Stacks() = default;
    Stacks(Stacks const&) = delete;
    Stacks& operator=(Stacks const&) = delete;
    ~Stacks();

    // False when the system gives no more memory or mappings.
    bool reserve(int count);
    char* at(int index) const;
    // The guard below the stack holds the address.
    bool overflowed(int index, void const* address) const;
    static size_t bytes();

  private:
    void release();

    char* memory_ = nullptr;
    int count_ = 0;
};

// The fiber of the caller, who goes on when the others are done.
void adopt_caller(Fiber& fiber);
// `body` starts at the first switch to the fiber; it must never return.
void make_fiber(Fiber& fiber, char* stack, void (*body)());
// `ended`: it ran to its end, and was not abandoned.
void destroy_fiber(Fiber& fiber, bool ended);
// At the start of a launch: what the race detector knows of the fibers of the one before may be used again.
void reuse_fibers();
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace ek::emu
