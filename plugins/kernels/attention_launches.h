// How attention.cu reaches the kernels of the other files: each function gives the text of what failed, or nullptr.
#pragma once
#include "ek/launch.h"
#include "kernels/attention.cuh"

namespace ek::attention {
char const* launch_append(Arguments const& arguments, void* stream);
char const* launch_plain(Arguments const& arguments, Launch const& how);
char const* launch_merge(Arguments const& arguments, void* stream);
}  // namespace ek::attention
