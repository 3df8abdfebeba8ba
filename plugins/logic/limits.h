// What each SM has room for.
#pragma once
#include "edgekit_kernels.h"

namespace ek::logic {

// The limits of an SM, with `multiprocessors` still 0; nullptr for one that edgekit has no kernels for.
ek_device const* limits_of(int sm);

}  // namespace ek::logic
