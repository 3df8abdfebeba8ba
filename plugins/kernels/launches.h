// How abi.cpp reaches CUDA: each function gives the text of what failed, or nullptr.
#pragma once
#include "edgekit_kernels.h"

namespace ek {
// The device that launches of this thread go to.
char const* current_device(ek_device& device);
}  // namespace ek

namespace ek::lstm {
// Enqueue on a stream what the plan says.
char const* launch_lstm(ek_lstm const& lstm, ek_plan const& plan, void* workspace, void* stream);
}  // namespace ek::lstm
