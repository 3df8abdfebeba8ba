/* Streams, events and graphs of the fake driver. A stream is a queue; its work is done when someone waits or asks, not
   before, and by whoever does: so a wait that is missing, or an order that is wrong, gives wrong numbers. */
#include "fake_cuda.h"

#include <stdlib.h>
#include <string.h>

typedef enum { IN, OUT, WITHIN, FILL, CALL, MARK } kind;

typedef struct work {
    kind what;
    CUdeviceptr device, from;
    void* host;
    size_t bytes;
    unsigned char value;
    CUhostFn call;
    void* argument;
    CUevent event;
    struct work* next;
} work;

typedef struct {
    work *first, **end;
} queue;

struct CUstream_st {
    queue waiting, captured;
    int capturing, spoiled;
    pthread_t capturer;
    CUstreamCaptureMode mode;
    CUstream next;
};
struct CUevent_st {
    CUstream stream;
    unsigned flags;
    int recorded, pending, asked; /* how many records are still in a queue: the last one counts */
    long us;
    CUevent next;
};
struct CUgraph_st {
    queue steps;
    CUgraph next;
};

static CUstream streams;
static CUevent events;
static CUgraph graphs; /* executable graphs are of the same kind, and counted with them */

#define ENTER()                       \
    do {                              \
        CUresult entered = fake_enter(); \
        if (entered) return entered;  \
    } while (0)
#define LEAVE(result) return fake_leave(result)
/* Unlink `one` from a list, or be told that it is not in it. */
#define TAKE(list, one)                                            \
    do {                                                           \
        __typeof__(list)* where = &(list);                         \
        while (*where && *where != (one)) where = &(*where)->next; \
        if (!*where) LEAVE(CUDA_ERROR_INVALID_HANDLE);             \
        *where = (one)->next;                                      \
    } while (0)

static void add(queue* to, work const* one) {
    work* copy = malloc(sizeof *copy);
    *copy = *one;
    copy->next = NULL;
    if (!to->end) to->end = &to->first;
    *to->end = copy;
    to->end = &copy->next;
}

static long drop(queue* all) {
    long count = 0;
    for (work* one = all->first; one; count++) {
        work* next = one->next;
        free(one);
        one = next;
    }
    *all = (queue){0};
    return count;
}

static int known(CUstream stream) {
    for (CUstream one = streams; one; one = one->next)
        if (one == stream) return 1;
    return 0;
}

int fake_has_work(void) {
    for (CUstream one = streams; one; one = one->next)
        if (one->waiting.first) return 1;
    return 0;
}

int fake_spoils_capture(void) {
    for (CUstream one = streams; one; one = one->next)
        if (one->capturing && (one->mode == CU_STREAM_CAPTURE_MODE_GLOBAL || pthread_equal(one->capturer, pthread_self())))
            return one->spoiled = 1;
    return 0;
}

long fake_forget_streams(void) {
    long count = fake.streams + fake.events + fake.graphs;
    for (CUstream one = streams; one; one = one->next) drop(&one->waiting);
    streams = NULL, events = NULL, graphs = NULL;
    fake.streams = fake.events = fake.graphs = 0;
    return count;
}

/* ---- doing the work */

static CUresult broke(void) {
    fake.broken = 1;
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

/* One piece of work; the lock is held, but not while a call is made, which may need what another thread holds. */
static CUresult perform(work* one) {
    if (fake_refused(&fake.break_in)) return broke();
    size_t bytes = one->bytes;
    int touches = one->what < CALL;
    if (touches && (!fake_is_device(one->device, bytes) || (one->what == WITHIN && !fake_is_device(one->from, bytes)))) {
        fake.misuse++;
        return broke();
    }
    switch (one->what) {
        case IN:
            memcpy((void*)one->device, one->host, bytes);
            fake.to_device++, fake.to_device_bytes += (long)bytes, fake.clock_us += fake.in_us;
            break;
        case OUT:
            memcpy(one->host, (void*)one->device, bytes);
            fake.to_host++, fake.to_host_bytes += (long)bytes, fake.clock_us += fake.out_us;
            break;
        case WITHIN:
            memmove((void*)one->device, (void*)one->from, bytes);
            fake.within_device++;
            break;
        case FILL:
            memset((void*)one->device, one->value, bytes);
            break;
        case CALL:
            fake.calls++, fake.clock_us += fake.call_us;
            pthread_mutex_unlock(&fake_lock);
            one->call(one->argument);
            pthread_mutex_lock(&fake_lock);
            break;
        case MARK:
            one->event->us = fake.clock_us;
            one->event->pending--;
    }
    return fake.broken ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

/* Do what a stream has to do, up to an event or all of it. */
static CUresult until(CUstream stream, CUevent event) {
    while (stream->waiting.first && (!event || event->pending)) {
        work* one = stream->waiting.first;
        stream->waiting.first = one->next;
        if (!one->next) stream->waiting.end = &stream->waiting.first;
        CUresult result = perform(one);
        free(one);
        if (result) return result;
    }
    return CUDA_SUCCESS;
}

static CUresult waited(CUstream stream, CUevent event) {
    if (stream->capturing) {
        stream->spoiled = 1;
        LEAVE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    if (fake.hang && stream->waiting.first) {
        fake.would_block++;
        LEAVE(CUDA_ERROR_LAUNCH_TIMEOUT);
    }
    LEAVE(until(stream, event));
}

static CUresult enqueue(CUstream stream, work const* one) {
    ENTER();
    if (!known(stream)) LEAVE(CUDA_ERROR_INVALID_HANDLE); /* the default stream, too: nobody of ours may use it */
    int copies = one->what == IN || one->what == OUT;
    if (copies && !fake_is_pinned(one->host, one->bytes)) fake.pageable++;
    add(stream->capturing ? &stream->captured : &stream->waiting, one);
    LEAVE(CUDA_SUCCESS);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, void const* from, size_t bytes, CUstream stream) {
    return enqueue(stream, &(work){.what = IN, .device = to, .host = (void*)from, .bytes = bytes});
}
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return enqueue(stream, &(work){.what = OUT, .device = from, .host = to, .bytes = bytes});
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return enqueue(stream, &(work){.what = WITHIN, .device = to, .from = from, .bytes = bytes});
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
    return enqueue(stream, &(work){.what = FILL, .device = to, .value = value, .bytes = bytes});
}
/* What stands for a kernel: it runs in its turn, and is captured like one. */
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn call, void* argument) {
    return enqueue(stream, &(work){.what = CALL, .call = call, .argument = argument});
}

/* ---- streams and events */

CUresult cuStreamCreate(CUstream* made, unsigned flags) {
    (void)flags;
    ENTER();
    if (fake_refused(&fake.fail_call)) LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
    CUstream stream = *made = calloc(1, sizeof *stream);
    stream->next = streams;
    streams = stream;
    fake.streams++;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuStreamDestroy_v2(CUstream stream) {
    ENTER();
    TAKE(streams, stream);
    if (fake.hang && stream->waiting.first) fake.would_block++;
    if (drop(&stream->waiting)) fake.misuse++;
    free(stream);
    fake.streams--;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuStreamSynchronize(CUstream stream) {
    ENTER();
    if (!known(stream)) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    return waited(stream, NULL);
}

CUresult cuEventCreate(CUevent* made, unsigned flags) {
    ENTER();
    if (fake_refused(&fake.fail_call)) LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
    CUevent event = *made = calloc(1, sizeof *event);
    event->flags = flags;
    event->next = events;
    events = event;
    fake.events++;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuEventDestroy_v2(CUevent event) {
    ENTER();
    TAKE(events, event);
    if (event->pending) fake.misuse++; /* and not freed: its mark is still in a queue */
    else free(event);
    fake.events--;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuEventRecord(CUevent event, CUstream stream) {
    ENTER();
    if (!known(stream)) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    event->stream = stream, event->recorded = 1, event->pending++, event->asked = 0;
    add(stream->capturing ? &stream->captured : &stream->waiting, &(work){.what = MARK, .event = event});
    LEAVE(CUDA_SUCCESS);
}
CUresult cuEventQuery(CUevent event) {
    ENTER();
    if (!event->pending) LEAVE(CUDA_SUCCESS);
    if (fake.hang || event->asked++ < fake.lateness) LEAVE(CUDA_ERROR_NOT_READY);
    return waited(event->stream, event);
}
CUresult cuEventSynchronize(CUevent event) {
    ENTER();
    if (!event->pending) LEAVE(CUDA_SUCCESS);
    return waited(event->stream, event);
}
CUresult cuEventElapsedTime_v2(float* ms, CUevent from, CUevent to) {
    ENTER();
    if ((from->flags | to->flags) & CU_EVENT_DISABLE_TIMING) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (!from->recorded || !to->recorded) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    if (from->pending || to->pending) LEAVE(CUDA_ERROR_NOT_READY);
    *ms = (float)(to->us - from->us) / 1000;
    LEAVE(CUDA_SUCCESS);
}
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float* ms, CUevent from, CUevent to) { return cuEventElapsedTime_v2(ms, from, to); }

/* ---- graphs */

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    ENTER();
    if (fake.refuse_capture == 1 || stream->capturing) LEAVE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    stream->capturing = 1, stream->spoiled = 0, stream->capturer = pthread_self(), stream->mode = mode;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph* made) {
    ENTER();
    *made = NULL;
    if (!stream->capturing) LEAVE(CUDA_ERROR_INVALID_VALUE);
    stream->capturing = 0;
    if (stream->spoiled || fake.refuse_capture == 2) {
        drop(&stream->captured);
        LEAVE(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    CUgraph graph = *made = calloc(1, sizeof *graph);
    graph->steps = stream->captured;
    stream->captured = (queue){0};
    graph->next = graphs;
    graphs = graph;
    fake.graphs++;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* made, CUgraph graph, unsigned long long flags) {
    (void)flags;
    ENTER();
    if (fake.refuse_capture == 3 || fake_refused(&fake.fail_call)) LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
    CUgraph copy = calloc(1, sizeof *copy);
    for (work* one = graph->steps.first; one; one = one->next) add(&copy->steps, one);
    copy->next = graphs;
    graphs = copy;
    *made = (CUgraphExec)copy;
    fake.graphs++;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream) {
    ENTER();
    if (fake.refuse_capture == 4) LEAVE(CUDA_ERROR_INVALID_VALUE);
    if (!known(stream)) LEAVE(CUDA_ERROR_INVALID_HANDLE);
    for (work* one = ((CUgraph)graph)->steps.first; one; one = one->next) add(&stream->waiting, one);
    fake.launches++;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuGraphDestroy(CUgraph graph) {
    ENTER();
    TAKE(graphs, graph);
    drop(&graph->steps);
    free(graph);
    fake.graphs--;
    LEAVE(CUDA_SUCCESS);
}
CUresult cuGraphExecDestroy(CUgraphExec graph) { return cuGraphDestroy((CUgraph)graph); }
