// All that TensorRT's headers take from CUDA's: the names of two handles. The harness has no device.
#pragma once

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
