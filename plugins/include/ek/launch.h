// How the host starts a kernel, on a device and in the emulator.
#pragma once
#include "ek/device.cuh"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

namespace ek {

struct Launch {
    dim3 grid;
    dim3 block;
    int shared_bytes = 0;
    bool cooperative = false;  // all blocks are there at once: they may wait for one another
    void* stream = nullptr;
};

// The text of what failed, for ek_last_error; nullptr when it went well.
#ifdef __CUDACC__
template <typename Arguments>
char const* launch(void (*kernel)(Arguments), Launch const& how, Arguments arguments) {
    auto const function = reinterpret_cast<void const*>(kernel);
    cudaError_t error = cudaSuccess;
    if (how.shared_bytes > 48 * 1024)
        error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, how.shared_bytes);
    void* values[] = {&arguments};
    auto const stream = static_cast<cudaStream_t>(how.stream);
    auto const bytes = size_t(how.shared_bytes);
    if (error == cudaSuccess)
        error = how.cooperative ? cudaLaunchCooperativeKernel(function, how.grid, how.block, values, bytes, stream)
                                : cudaLaunchKernel(function, how.grid, how.block, values, bytes, stream);
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

inline char const* clear(void* pointer, size_t bytes, void* stream) {
    cudaError_t const error = cudaMemsetAsync(pointer, 0, bytes, static_cast<cudaStream_t>(stream));
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
#else
template <typename Arguments>
char const* launch(void (*kernel)(Arguments), Launch const& how, Arguments arguments) {
    return emu::launch(how.grid, how.block, how.shared_bytes, how.cooperative, [=] { kernel(arguments); });
}

inline char const* clear(void* pointer, size_t bytes, void*) {
    std::memset(pointer, 0, bytes);
    return nullptr;
}
#endif

}  // namespace ek
