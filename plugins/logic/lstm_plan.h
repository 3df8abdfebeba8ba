// Which form of the LSTM runs a problem on a device, and in how many launches. No CUDA: tests ask it for any device.
#pragma once
#include <string>

#include "edgekit_kernels.h"

namespace ek::logic {

enum Form { kOneBlock = 0, kManyBlocks = 1 };

// EK_OK; or EK_INVALID for a field that no LSTM has, EK_UNSUPPORTED for one that does not fit, with `why` in one line.
int plan_lstm(ek_lstm const& lstm, ek_device const& device, ek_plan& plan, std::string& why);

// Both have the kernels' own layout: h of one group [kRows, stride], and the bytes of one element of R.
int state_stride(ek_lstm const& lstm);
int state_bytes(ek_lstm const& lstm);
int weight_bytes(ek_lstm const& lstm);

int direction_count(ek_lstm const& lstm);
int row_groups(ek_lstm const& lstm);

}  // namespace ek::logic
