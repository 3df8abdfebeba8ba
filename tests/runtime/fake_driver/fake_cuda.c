/* libcuda.so.1 over host memory, for tests: devices, contexts, memory and errors. Streams are in fake_streams.c.

   No kernel runs, and time is played: it is what a test says that each operation takes. What is true: who may call what
   from where, what is alive, and that nothing that is enqueued happens before someone waits for it. */
#define _GNU_SOURCE
#include "fake_cuda.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

fake_numbers fake = {.capability = 87, .total_mib = 1024, .lateness = 1};
pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct memory {
    char *host, *device; /* the same bytes under two addresses where mapped; one of them NULL otherwise */
    size_t bytes;
    struct memory* next;
} memory;

static memory* memories;
static int initialised;
static struct CUctx_st {
    int unused;
} primary;
static __thread CUcontext stack[64];
static __thread int depth;

long fake_get(char const* name) {
#define GET(known) \
    if (!strcmp(name, #known)) return fake.known;
    FAKE_NUMBERS(GET)
    if (!strcmp(name, "depth")) return depth; /* of this thread's stack of contexts */
    return -1;
}

int fake_set(char const* name, long value) {
#define SET(known) \
    if (!strcmp(name, #known)) return fake.known = value, 0;
    FAKE_NUMBERS(SET)
    return -1;
}

/* Begin anew after a test that left something on purpose: what is left stays where it is, and is nobody's. */
void fake_reset(void) {
    pthread_mutex_lock(&fake_lock);
    fake_forget_streams();
    memories = NULL;
    depth = 0;
    memset(&fake, 0, sizeof fake);
    pthread_mutex_unlock(&fake_lock);
}

__attribute__((constructor)) static void read_environment(void) {
    char const* given = getenv("FAKE_CUDA");
    char* text = strdup(given ? given : "");
    for (char* item = strtok(text, ","); item; item = strtok(NULL, ",")) {
        char* equals = strchr(item, '=');
        if (!equals) continue;
        *equals = 0;
        if (fake_set(item, atol(equals + 1))) fprintf(stderr, "FAKE_CUDA: no number is called %s\n", item);
    }
    free(text);
}

CUresult fake_enter(void) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
    pthread_mutex_lock(&fake_lock);
    if (!fake.contexts) return fake_leave(CUDA_ERROR_CONTEXT_IS_DESTROYED);
    if (fake.broken) return fake_leave(CUDA_ERROR_ILLEGAL_ADDRESS);
    return CUDA_SUCCESS;
}

CUresult fake_leave(CUresult result) {
    pthread_mutex_unlock(&fake_lock);
    return result;
}

int fake_refused(long* countdown) { return *countdown > 0 && --*countdown == 0; }

#define ENTER()                       \
    do {                              \
        CUresult entered = fake_enter(); \
        if (entered) return entered;  \
    } while (0)

/* ---- memory */

int fake_is_device(CUdeviceptr address, size_t bytes) {
    char* start = (char*)address;
    for (memory* one = memories; one; one = one->next)
        if (one->device && start >= one->device && start + bytes <= one->device + one->bytes) return 1;
    return 0;
}

int fake_is_pinned(void const* address, size_t bytes) {
    char const* start = address;
    for (memory* one = memories; one; one = one->next)
        if (one->host && start >= one->host && start + bytes <= one->host + one->bytes) return 1;
    return 0;
}

/* The same for a test's kernel, which runs while nobody holds the lock. */
int fake_holds(CUdeviceptr address, size_t bytes) {
    pthread_mutex_lock(&fake_lock);
    int holds = fake_is_device(address, bytes);
    pthread_mutex_unlock(&fake_lock);
    return holds;
}

static CUresult keep(char* host, char* device, size_t bytes) {
    char* any = host ? host : device;
    if (!any) return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    memset(any, 0xA5, bytes); /* what was there before is nobody's zeros */
    memory* one = malloc(sizeof *one);
    *one = (memory){host, device, bytes, memories};
    memories = one;
    *(host ? &fake.host_bytes : &fake.bytes) += (long)bytes;
    fake.allocations++;
    fake.made++;
    return fake_leave(CUDA_SUCCESS);
}

/* Freed memory is poisoned and never used again, so that what still reads it is seen. */
static void forget(memory** where) {
    memory* one = *where;
    memset(one->host ? one->host : one->device, 0xDD, one->bytes);
    *(one->host ? &fake.host_bytes : &fake.bytes) -= (long)one->bytes;
    fake.allocations--;
    *where = one->next;
    free(one);
}

static CUresult release(char* host, char* device) {
    ENTER();
    for (memory** where = &memories; *where; where = &(*where)->next)
        if ((host && (*where)->host == host) || (device && !(*where)->host && (*where)->device == device)) {
            if (fake.hang && fake_has_work()) fake.would_block++;
            forget(where);
            return fake_leave(CUDA_SUCCESS);
        }
    fake.misuse++;
    return fake_leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult room(size_t bytes) {
    ENTER();
    if (!bytes) return fake_leave(CUDA_ERROR_INVALID_VALUE);
    if (fake_spoils_capture()) return fake_leave(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    int refused = fake.fail_allocation == 1;
    if (fake.fail_allocation > 1) fake.fail_allocation--;
    if (refused || fake.bytes + (long)bytes > fake.total_mib << 20)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    return CUDA_SUCCESS; /* the lock is held */
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
    CUresult refused = room(bytes);
    if (refused) return refused;
    char* device = aligned_alloc(256, (bytes + 255) / 256 * 256);
    *address = (CUdeviceptr)device;
    return keep(NULL, device, bytes);
}

CUresult cuMemFree_v2(CUdeviceptr address) { return release(NULL, (char*)address); }

/* Mapped memory has another address on the device than on the host, so that one is not taken for the other. */
CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
    CUresult refused = room(bytes);
    if (refused) return refused;
    char *host = NULL, *device = NULL;
    if (flags & CU_MEMHOSTALLOC_DEVICEMAP) {
        int file = memfd_create("mapped", 0);
        if (ftruncate(file, (off_t)bytes)) return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
        host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        device = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    } else {
        host = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    }
    *address = host;
    return keep(host, device, bytes);
}

CUresult cuMemFreeHost(void* address) { return release(address, NULL); }

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* device, void* host, unsigned flags) {
    (void)flags;
    ENTER();
    for (memory* one = memories; one; one = one->next)
        if (one->host == host && one->device) return *device = (CUdeviceptr)one->device, fake_leave(CUDA_SUCCESS);
    return fake_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    ENTER();
    *total = (size_t)fake.total_mib << 20;
    *available = *total - (size_t)fake.bytes;
    return fake_leave(CUDA_SUCCESS);
}

/* ---- devices and contexts */

CUresult cuInit(unsigned flags) {
    (void)flags;
    if (fake.no_device) return CUDA_ERROR_NO_DEVICE;
    initialised = 1;
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int* version) { return *version = CUDA_VERSION, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    return *device = ordinal, ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    (void)device;
    return snprintf(name, (size_t)length, "edgekit fake device"), CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
    (void)device;
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_INTEGRATED: return *value = (int)fake.integrated, CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return *value = (int)fake.capability / 10, CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return *value = (int)fake.capability % 10, CUDA_SUCCESS;
        default: return *value = 0, CUDA_ERROR_NOT_SUPPORTED;
    }
}
CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
    (void)device;
    return *major = (int)fake.capability / 10, *minor = (int)fake.capability % 10, CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    if (device) return CUDA_ERROR_INVALID_DEVICE;
    pthread_mutex_lock(&fake_lock);
    *context = &primary;
    fake.contexts++;
    return fake_leave(CUDA_SUCCESS);
}

/* The last one takes along what is left: a real driver does so too, and that it was left is counted. */
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    (void)device;
    pthread_mutex_lock(&fake_lock);
    if (!fake.contexts) return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
    if (fake.hang && fake_has_work()) fake.would_block++;
    if (--fake.contexts == 0) {
        fake.left_to_driver += fake_forget_streams();
        for (; memories; fake.left_to_driver++) forget(&memories);
    }
    return fake_leave(CUDA_SUCCESS);
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    if (context != &primary || depth == 64) return CUDA_ERROR_INVALID_VALUE;
    return stack[depth++] = context, CUDA_SUCCESS;
}
CUresult cuCtxPopCurrent_v2(CUcontext* context) {
    if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
    CUcontext popped = stack[--depth];
    if (context) *context = popped;
    return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* context) { return *context = depth ? stack[depth - 1] : NULL, CUDA_SUCCESS; }
CUresult cuCtxGetDevice(CUdevice* device) { return *device = 0, depth ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }

/* ---- errors and names */

static struct {
    CUresult code;
    char const *name, *words;
} const errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "a real driver would never return from this call"},
    {CUDA_ERROR_CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

static CUresult described(CUresult code, char const** text, int words) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *text = words ? errors[i].words : errors[i].name, CUDA_SUCCESS;
    return *text = NULL, CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, char const** text) { return described(code, text, 1); }
CUresult cuGetErrorName(CUresult code, char const** text) { return described(code, text, 0); }

/* The form of each function that is defined here; what cuda.h has besides is a stub that is not supported. */
static char const* const defined[] = {
    "cuMemAlloc_v2", "cuMemFree_v2", "cuMemHostGetDevicePointer_v2", "cuMemGetInfo_v2", "cuDevicePrimaryCtxRelease_v2",
    "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuStreamDestroy_v2", "cuEventDestroy_v2", "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuStreamBeginCapture_v2", "cuEventElapsedTime_v2",
    "cuGraphInstantiateWithFlags", "cuGetProcAddress_v2",
};

CUresult cuGetProcAddress_v2(char const* symbol, void** function, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult* status) {
    (void)version, (void)flags;
    Dl_info self;
    dladdr((void*)&cuGetProcAddress_v2, &self);
    void* library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    char const* name = symbol;
    size_t length = strlen(symbol);
    for (size_t i = 0; i < sizeof defined / sizeof *defined; i++) {
        char const* rest = defined[i] + length;
        if (!strncmp(defined[i], symbol, length) && (!strcmp(rest, "_v2") || !strcmp(rest, "WithFlags")))
            name = defined[i];
    }
    *function = dlsym(library, name);
    dlclose(library);
    if (status) *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
