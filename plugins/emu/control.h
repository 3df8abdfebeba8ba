/* How a test steers the emulator; exported by libedgekit_emu.so beside edgekit_kernels.h. */
#ifndef EDGEKIT_EMU_CONTROL_H
#define EDGEKIT_EMU_CONTROL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The order of threads, and of blocks that need not live at once: 0 forward, 1 reverse, 2 random by the seed. */
void ek_emu_schedule(int kind, unsigned seed);

/* The SM whose instructions are emulated, 87 at first. Below 80 copies are made at once and mma has a depth of 8. */
void ek_emu_sm(int sm);

/* Device memory: NaN until written, the end at a guard page, another one before it. NULL when there is none left. */
void* ek_emu_alloc(size_t bytes);
void ek_emu_free(void* pointer);

/* How often one thread has followed another, since the library was loaded. */
void ek_emu_stats(unsigned long long* switches);

#ifdef __cplusplus
}
#endif
#endif
