// TensorRT's headers. One source compiles for 10.3 to 11.x: what the wrappers use has the same names and signatures in
// all of them, though it lies in other files.
#pragma once
#include <NvInferRuntime.h>

#include <cstdint>

// IPluginV3OneBuildV2, by which a cache is appended to in place, is there from 10.3 on.
#if NV_TENSORRT_MAJOR < 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR < 3)
#error "expected the headers of TensorRT 10.3 or newer, found older ones; next: cmake -D TENSORRT_ROOT=..."
#endif
