#include "logic/limits.h"

namespace ek::logic {
namespace {

constexpr int KiB = 1024;

// NVIDIA, CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"; 11.0 is Jetson Thor. A
// block may have what a multiprocessor has, less 1 KiB for the system (7.5: none).
constexpr ek_device kLimits[] = {
    // sm, multiprocessors, shared memory of a block and of all, threads, blocks
    {75, 0, 64 * KiB, 64 * KiB, 1024, 16},     //
    {80, 0, 163 * KiB, 164 * KiB, 2048, 32},   //
    {86, 0, 99 * KiB, 100 * KiB, 1536, 16},    //
    {87, 0, 163 * KiB, 164 * KiB, 1536, 16},   //
    {89, 0, 99 * KiB, 100 * KiB, 1536, 24},    //
    {90, 0, 227 * KiB, 228 * KiB, 2048, 32},   //
    {100, 0, 227 * KiB, 228 * KiB, 2048, 32},  //
    {110, 0, 227 * KiB, 228 * KiB, 1536, 24},  //
    {120, 0, 99 * KiB, 100 * KiB, 1536, 24},   //
    {121, 0, 99 * KiB, 100 * KiB, 1536, 24},   //
};

}  // namespace

ek_device const* limits_of(int sm) {
    for (auto const& limits : kLimits)
        if (limits.sm == sm) return &limits;
    return nullptr;
}

}  // namespace ek::logic
