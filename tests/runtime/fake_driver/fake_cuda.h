/* What the two halves of the fake driver share: numbers that tests set and read, memory, contexts, streams. */
#pragma once
#include <cuda.h>
#include <pthread.h>
#include <stddef.h>

/* Settings first, then counters; `fake_get` and `fake_set` know them by name, FAKE_CUDA="name=value,..." sets them. */
#define FAKE_NUMBERS(X)                                                                                            \
    X(no_device) X(integrated) X(capability) X(total_mib)                                                          \
    X(fail_allocation)  /* from the how many-th allocation on all are refused; 0: none */                          \
    X(fail_call)        /* the how many-th call that makes a stream, an event or a graph is refused; 0: none */    \
    X(break_in)         /* the how many-th operation from now touches an illegal address; 0: none */               \
    X(broken)           /* a sticky error has happened */                                                          \
    X(hang)             /* nothing that is enqueued ever ends */                                                   \
    X(lateness)         /* how often an event says "not ready" before its work is done */                          \
    X(in_us) X(out_us) X(call_us)  /* what a copy in, a copy out and a kernel take by the played clock */          \
    X(refuse_capture)   /* 1: begin, 2: end, 3: instantiate, 4: launch */                                          \
    X(allocations) X(bytes) X(host_bytes) X(contexts) X(streams) X(events) X(graphs)                               \
    X(made)             /* allocations ever made */                                                                \
    X(left_to_driver)   /* allocations, streams, events and graphs that went only with their context */            \
    X(to_device) X(to_device_bytes) X(to_host) X(to_host_bytes) X(within_device)                                   \
    X(pageable)         /* asynchronous copies from or to memory that is not pinned */                             \
    X(calls) X(launches)                                                                                           \
    X(clock_us)         /* the played clock: it goes on only while something is done that takes time */            \
    X(misuse)           /* freed or foreign memory was touched, or a stream destroyed that had work */             \
    X(would_block)      /* calls that a real driver would never return from */

typedef struct {
#define DECLARE(name) long name;
    FAKE_NUMBERS(DECLARE)
#undef DECLARE
} fake_numbers;

extern fake_numbers fake;
extern pthread_mutex_t fake_lock;

/* Enter a call that needs a context: takes the lock, or returns the driver's error. */
CUresult fake_enter(void);
CUresult fake_leave(CUresult result);
/* Whether all of [address, address + bytes) is live memory of the device, or pinned memory of the host. */
int fake_is_device(CUdeviceptr address, size_t bytes);
int fake_is_pinned(void const* address, size_t bytes);
/* One more of `number`, unless this is the one that a test wants refused. */
int fake_refused(long* countdown);
/* What a dying context takes along; how many streams, events and graphs those were. */
long fake_forget_streams(void);
/* Whether this thread, or in global mode any, captures a stream, which then is spoiled: no allocating meanwhile. */
int fake_spoils_capture(void);
int fake_has_work(void);
