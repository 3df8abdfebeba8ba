// What a kernel did wrong, in one line; the first one counts.
#pragma once
#include <csignal>
#include <source_location>
#include <string>

namespace ek::emu {

struct Thread;

// The text of the launch's fault; nullptr without one. Kept until the next launch.
char const* fault();
void clear_fault();
void set_fault(std::string const& text);
// Ends the launch from a CUDA thread: its fiber never runs again.
[[noreturn]] void fail(std::string const& text);
// The same; the text names the running thread and, when known, the line.
[[noreturn]] void fail_here(std::string const& text, std::source_location where);
[[noreturn]] void fail_ended(Thread const& ended, Thread const& waits);

// "block (0,0,0) thread (5,0,0)", "lstm.cu:12", "__syncthreads at lstm.cu:12"
std::string name(Thread const& thread);
std::string line(std::source_location where);
std::string at(Thread const& thread);
std::string deadlock();

// While it lives, a bad address of a CUDA thread is a fault of the launch. Sanitizers report on their own.
class CatchAddresses {
  public:
    CatchAddresses();
    ~CatchAddresses();
    CatchAddresses(CatchAddresses const&) = delete;
    CatchAddresses& operator=(CatchAddresses const&) = delete;

  private:
    struct sigaction old_segv_;
    struct sigaction old_bus_;
    stack_t old_stack_;
};

}  // namespace ek::emu
