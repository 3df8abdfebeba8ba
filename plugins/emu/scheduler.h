// Runs the threads of a launch and lets them wait for one another. Included by ek/device.cuh, which has its types.
#pragma once
#include <cstddef>
#include <functional>
#include <source_location>

namespace ek::emu {

using Where = std::source_location;

// The most 4-byte words that a lane gives to its warp at once.
constexpr int kWords = 12;
using Words = u32[kWords];

// Runs the kernel on every thread of the grid; returns the text of its fault, nullptr without one.
char const* launch(dim3 grid, dim3 block, int shared_bytes, bool cooperative, std::function<void()> const& kernel);

// By value: a kernel's load from the scheduler's memory would be traced.
dim3 thread_index();
dim3 block_index();
dim3 block_size();
dim3 grid_size();
unsigned char* shared_memory();
int emulated_sm();

void sync_block(Where where);
// Every lane gives `count` words; returns what all lanes gave, valid until the thread's next collective.
Words const* exchange(char const* primitive, u32 const* words, int count, Where where);
// The value of lane `lane`, or of lane `own ^ lane`.
u32 shuffle(char const* primitive, u32 value, int lane, bool exclusive_or, Where where);
// d += a b of one warp, the registers of a lane as the PTX ISA has them: depth 8 or 16.
void multiply(float* d, u32 const* a, u32 const* b, int depth, Where where);
// Depth 16, in BF16; a fault below SM 8.0.
void multiply_bfloat(float* d, u32 const* a, u32 const* b, Where where);
void load_matrices(u32* out, void const* row, int matrices, bool transposed, Where where);
void add_release(u32* counter, Where where);
void wait_until(u32 const* counter, u32 value, Where where);

// A fault unless the address lies in the block's shared memory and is aligned to `bytes`.
void check_shared(char const* primitive, void const* address, int bytes, Where where);

void copy_async(void* shared, void const* global, int bytes, bool valid, Where where);
void commit_copies();
void wait_for_copies(int pending, Where where);
// Of a thread that leaves the kernel.
void check_no_copies();

}  // namespace ek::emu
