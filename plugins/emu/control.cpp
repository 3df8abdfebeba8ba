#include "emu/control.h"

#include "emu/memory.h"
#include "emu/threads.h"

extern "C" {

void ek_emu_schedule(int kind, unsigned seed) {
    ek::emu::state.schedule = kind;
    ek::emu::state.seed = seed;
}

void ek_emu_sm(int sm) { ek::emu::state.sm = sm; }

void* ek_emu_alloc(size_t bytes) { return ek::emu::allocate_device(bytes); }

void ek_emu_free(void* pointer) { ek::emu::free_device(pointer); }

void ek_emu_stats(unsigned long long* switches) { *switches = ek::emu::state.switches; }
}
