// How abi.cpp reaches CUDA: each function gives the text of what failed, or nullptr.
#pragma once
#include "edgekit_kernels.h"

namespace ek {
// The device that launches of this thread go to.
char const* current_device(ek_device& device);
}  // namespace ek

namespace ek::recurrent {
// Enqueue on a stream what the plan says.
char const* launch_lstm(ek_lstm const& lstm, ek_plan const& plan, void* workspace, void* stream);
char const* launch_gru(ek_gru const& gru, ek_plan const& plan, void* workspace, void* stream);
char const* launch_rnn(ek_rnn const& rnn, ek_plan const& plan, void* workspace, void* stream);
}  // namespace ek::recurrent

namespace ek::attention {
char const* launch_attention(ek_attention const& attention, ek_tiling const& tiling, void* workspace, void* stream);
}  // namespace ek::attention
