// What the toys share: device memory that the emulator guards, and one line on standard output about the result.
#pragma once
#include <cstdio>
#include <cstdlib>

#include "ek/launch.h"
#include "emu/control.h"

template <typename T>
T* device_array(int count) {
    return static_cast<T*>(ek_emu_alloc(sizeof(T) * size_t(count)));
}

// The schedule: argument 1 its kind, argument 2 its seed.
inline void choose_schedule(int count, char** values) {
    int const kind = count > 1 ? std::atoi(values[1]) : 0;
    ek_emu_schedule(kind, count > 2 ? unsigned(std::atoi(values[2])) : 1u);
}

inline int tell(char const* fault, float const* result, int count) {
    if (fault != nullptr) {
        std::printf("fault: %s\n", fault);
        return 1;
    }
    std::printf("result:");
    for (int i = 0; i < count; ++i) std::printf(" %g", double(result[i]));
    std::printf("\n");
    return 0;
}
