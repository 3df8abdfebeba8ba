// cp.async. From SM 8.0 on a copy may happen at any time until it is waited for: its target has no value in between,
// and for the race detector it is written both when the copy is announced and when it is made.
#include "ek/device.cuh"
#include "emu/faults.h"
#include "emu/threads.h"

namespace ek::emu {
namespace {

// These two are traced: they are the kernel's own loads and stores. Word by word, since a report would show memcpy.
void store(void* shared, void const* global, int bytes) {
    auto const to = static_cast<u32*>(shared);
    auto const from = static_cast<u32 const*>(global);
    allow(shared, size_t(bytes));
    for (int i = 0; i < bytes / 4; ++i) to[i] = from == nullptr ? 0u : from[i];
}

void announce(void* shared, void const* global, int bytes) {
    allow(shared, size_t(bytes));
    auto const to = static_cast<u32 volatile*>(shared);
    auto const from = static_cast<u32 const volatile*>(global);
    for (int i = 0; i < bytes / 4; ++i) {
        to[i] = kDevicePoison * 0x01010101u;
        if (from != nullptr) (void)from[i];
    }
    // AddressSanitizer can refuse a load before the wait, but not of half a granule of eight bytes.
    if (bytes >= 8) forbid(shared, size_t(bytes));
}

}  // namespace

EK_UNTRACED unsigned char* shared_memory() { return state.current->block->shared_data; }

EK_UNTRACED void check_shared(char const* primitive, void const* address, int bytes, Where where) {
    Block const& block = *state.current->block;
    auto const begin = static_cast<unsigned char const*>(address);
    if (reinterpret_cast<size_t>(address) % size_t(bytes) != 0)
        fail_here(std::string(primitive) + ": the shared address is not a multiple of " + std::to_string(bytes), where);
    if (begin < block.shared_data || begin + bytes > block.shared_data + block.shared_bytes)
        fail_here(std::string(primitive) + ": out of bounds: " + block.shared.place(begin, "shared memory"), where);
}

EK_UNTRACED void copy_async(void* shared, void const* global, int bytes, bool valid, Where where) {
    EK_FRAME_OF_CALLER;
    arrive_at("copy_async", where);
    check_shared("copy_async", shared, bytes, where);
    if (reinterpret_cast<size_t>(global) % size_t(bytes) != 0)
        fail_here("copy_async: the global address is not a multiple of " + std::to_string(bytes), where);
    void const* const from = valid ? global : nullptr;
    if (emulated_sm() < 80) return store(shared, from, bytes);
    Copies& copies = *state.current->copies;
    if (copies.count == Copies::kMost) fail_here("copy_async: more than 256 copies of one thread are pending", where);
    announce(shared, from, bytes);
    copies.of[copies.count++] = {shared, from, bytes, copies.group, where};
}

EK_UNTRACED void commit_copies() { ++state.current->copies->group; }

EK_UNTRACED void wait_for_copies(int pending, Where where) {
    EK_FRAME_OF_CALLER;
    Copies& copies = *state.current->copies;
    int left = 0;
    for (int i = 0; i < copies.count; ++i) {
        Copy const copy = copies.of[i];
        if (copy.group >= copies.group - pending) {
            copies.of[left++] = copy;
            continue;
        }
        arrive_at("copy_async", copy.where);
        store(copy.shared, copy.global, copy.bytes);
    }
    copies.count = left;
    arrive_at("wait_for_copies", where);
}

EK_UNTRACED void check_no_copies() {
    Copies const& copies = *state.current->copies;
    if (copies.count == 0) return;
    fail_here("the kernel ended with " + std::to_string(copies.count) + " copies pending, the first from copy_async",
              copies.of[0].where);
}

}  // namespace ek::emu
