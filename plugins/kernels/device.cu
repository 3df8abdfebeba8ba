// Which device launches go to. There is no kernel here: only a .cu file may ask the CUDA runtime.
#ifndef __CUDACC_RTC__
#include "ek/launch.h"
#include "kernels/launches.h"

namespace ek {

char const* current_device(ek_device& device) {
#ifdef __CUDACC__
    int ordinal = 0, major = 0, minor = 0;
    struct {
        cudaDeviceAttr attribute;
        int* value;
    } const wanted[] = {
        {cudaDevAttrComputeCapabilityMajor, &major},
        {cudaDevAttrComputeCapabilityMinor, &minor},
        {cudaDevAttrMultiProcessorCount, &device.multiprocessors},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, &device.shared_per_block},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, &device.shared_per_multiprocessor},
        {cudaDevAttrMaxThreadsPerMultiProcessor, &device.threads_per_multiprocessor},
        {cudaDevAttrMaxBlocksPerMultiprocessor, &device.blocks_per_multiprocessor},
    };
    cudaError_t error = cudaGetDevice(&ordinal);
    for (auto const& [attribute, value] : wanted)
        if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, ordinal);
    device.sm = 10 * major + minor;
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
#else
    device = {};
    return "expected a GPU, found the emulator, whose device the caller chooses";
#endif
}

}  // namespace ek
#endif
