#include "emu/device.h"

namespace emu {

dim3 thread;

char const* launch(dim3, dim3 block, int, bool, std::function<void()> run) {
    for (thread.x = 0; thread.x < block.x; ++thread.x) run();
    return nullptr;
}

}  // namespace emu
