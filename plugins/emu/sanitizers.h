// What the emulator tells ThreadSanitizer and AddressSanitizer; nothing in a normal build.
//
// The scheduler works for all CUDA threads at once, so its own loads and stores are not traced (EK_UNTRACED), and a
// switch of fibers orders nothing. Only happens_before and happens_after do, and the kernel's own atomics. An untraced
// function must not call templates of the standard library: they would be traced.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define EK_UNTRACED __attribute__((no_sanitize("thread")))
extern "C" void __tsan_func_entry(void* caller);
extern "C" void __tsan_func_exit();
#else
#define EK_UNTRACED
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace ek::emu {

#if defined(__SANITIZE_THREAD__)
constexpr bool kFindsRaces = true;
EK_UNTRACED inline void happens_before(void* token) { __tsan_release(token); }
EK_UNTRACED inline void happens_after(void* token) { __tsan_acquire(token); }

// Puts the caller's line into the reports of what an untraced function lets traced ones do.
class Frame {
  public:
    EK_UNTRACED explicit Frame(void* caller) { __tsan_func_entry(caller); }
    EK_UNTRACED ~Frame() { __tsan_func_exit(); }
};
#else
struct Frame {
    explicit Frame(void*) {}
    ~Frame() {}
};
constexpr bool kFindsRaces = false;
inline void happens_before(void*) {}
inline void happens_after(void*) {}
#endif

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kFindsAddresses = true;
inline void forbid(void const* begin, size_t bytes) { __asan_poison_memory_region(begin, bytes); }
inline void allow(void const* begin, size_t bytes) { __asan_unpoison_memory_region(begin, bytes); }
#else
constexpr bool kFindsAddresses = false;
inline void forbid(void const*, size_t) {}
inline void allow(void const*, size_t) {}
#endif

}  // namespace ek::emu

#define EK_FRAME_OF_CALLER ::ek::emu::Frame const frame_of_caller(__builtin_return_address(0))
