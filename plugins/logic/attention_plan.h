// How an attention is cut into blocks on a device, and in how many launches. No CUDA: tests ask it for any device.
#pragma once
#include <string>

#include "edgekit_kernels.h"

namespace ek::logic {

enum AttentionForm { kPlain = 0, kTensor = 1 };

// EK_OK; or EK_INVALID for a field that no attention has, EK_UNSUPPORTED for one that no kernel computes, with `why` in
// one line. Whether there is a cache is read from `present_k` and `capacity`.
int plan_attention(ek_attention const& attention, ek_device const& device, ek_tiling& tiling, std::string& why);

}  // namespace ek::logic
