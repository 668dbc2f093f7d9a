/* A CUDA driver without a GPU, for tests: memory is the host's, streams do everything at once. Enough of libcuda.so.1
 * for edgecolor/gpu.py and for cuda-bindings as edgecolor/backends/cuda_device.py uses it. Every call is logged to the
 * file named by FAKE_CUDA_LOG. FAKE_CUDA_GPUS: how many there are. FAKE_CUDA_ROOM: bytes that cuMemAlloc gives at most.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
static int ready, depth, capturing;
static size_t used;

static long setting(char const* name, long otherwise) {
    char const* text = getenv(name);
    return text ? atol(text) : otherwise;
}

static void say(char const* format, ...) {
    char const* path = getenv("FAKE_CUDA_LOG");
    FILE* file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fputc('\n', file);
    fclose(file);
}

#define ACTIVE(name) do { say(name); if (!depth) return INVALID_CONTEXT; } while (0)

CUresult cuInit(unsigned flags) { (void)flags; ready = 1; return setting("FAKE_CUDA_GPUS", 1) ? SUCCESS : NO_DEVICE; }
CUresult cuDriverGetVersion(int* version) { *version = 12060; return SUCCESS; }
CUresult cuDeviceGetCount(int* count) { *count = (int)setting("FAKE_CUDA_GPUS", 1); return ready ? SUCCESS : NOT_INITIALIZED; }
CUresult cuDeviceGet(int* device, int ordinal) { *device = ordinal; return ready ? SUCCESS : NOT_INITIALIZED; }
CUresult cuDeviceGetName(char* name, int size, int device) { (void)device; snprintf(name, (size_t)size, "Fake Orin"); return SUCCESS; }
CUresult cuDeviceGetAttribute(int* value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 13: *value = 1300500; return SUCCESS;
    case 16: *value = 16; return SUCCESS;
    case 18: *value = 1; return SUCCESS;
    case 75: *value = 8; return SUCCESS;
    case 76: *value = 7; return SUCCESS;
    default: return INVALID_VALUE;
    }
}
CUresult cuDevicePrimaryCtxRetain(void** context, int device) { (void)device; *context = &ready; return SUCCESS; }
CUresult cuCtxPushCurrent(void* context) { if (context != &ready) return INVALID_CONTEXT; ++depth; return SUCCESS; }
CUresult cuCtxPopCurrent(void** context) { if (context) *context = &ready; return depth-- > 0 ? SUCCESS : INVALID_CONTEXT; }
CUresult cuMemAlloc(uint64_t* pointer, size_t size) {
    ACTIVE("alloc");
    used += size;
    if (used > (size_t)setting("FAKE_CUDA_ROOM", 1L << 30)) return OUT_OF_MEMORY;
    *pointer = (uint64_t)(uintptr_t)memset(malloc(size), 0xFF, size);
    return SUCCESS;
}
CUresult cuMemFree(uint64_t pointer) { ACTIVE("free"); free((void*)(uintptr_t)pointer); return SUCCESS; }
CUresult cuMemHostAlloc(void** host, size_t size, unsigned flags) {
    say("host %u", flags);
    *host = memset(malloc(size), 0xFF, size);
    return depth ? SUCCESS : INVALID_CONTEXT;
}
CUresult cuMemFreeHost(void* host) { ACTIVE("free host"); free(host); return SUCCESS; }
CUresult cuMemHostGetDevicePointer(uint64_t* pointer, void* host, unsigned flags) {
    ACTIVE("mapped");
    *pointer = (uint64_t)(uintptr_t)host;
    return flags ? INVALID_VALUE : SUCCESS;
}
CUresult cuMemsetD8Async(uint64_t pointer, unsigned char value, size_t size, void* stream) {
    ACTIVE("clear");
    memset((void*)(uintptr_t)pointer, value, size);
    return stream ? SUCCESS : INVALID_VALUE;
}
CUresult cuMemcpyHtoDAsync(uint64_t to, void const* from, size_t size, void* stream) {
    ACTIVE("upload");
    memcpy((void*)(uintptr_t)to, from, size);
    return stream ? SUCCESS : INVALID_VALUE;
}
CUresult cuMemcpyDtoHAsync(void* to, uint64_t from, size_t size, void* stream) {
    ACTIVE("download");
    memcpy(to, (void*)(uintptr_t)from, size);
    return stream ? SUCCESS : INVALID_VALUE;
}
CUresult cuStreamCreate(void** stream, unsigned flags) { ACTIVE("stream"); *stream = malloc(8); return flags == 1 ? SUCCESS : INVALID_VALUE; }
CUresult cuStreamDestroy(void* stream) { ACTIVE("stream destroyed"); free(stream); return SUCCESS; }
CUresult cuStreamSynchronize(void* stream) { ACTIVE("synchronize stream"); return stream ? SUCCESS : INVALID_VALUE; }
CUresult cuStreamWaitEvent(void* stream, void* event, unsigned flags) { ACTIVE("wait"); return stream && event && !flags ? SUCCESS : INVALID_VALUE; }
CUresult cuEventCreate(void** event, unsigned flags) { ACTIVE("event"); *event = malloc(8); return flags ? INVALID_VALUE : SUCCESS; }
CUresult cuEventDestroy(void* event) { say("event destroyed"); free(event); return SUCCESS; }
CUresult cuEventRecord(void* event, void* stream) { ACTIVE("record"); return event && stream ? SUCCESS : INVALID_VALUE; }
CUresult cuEventSynchronize(void* event) { ACTIVE("synchronize"); return event ? SUCCESS : INVALID_VALUE; }
CUresult cuEventElapsedTime(float* milliseconds, void* before, void* after) { *milliseconds = 1.5f; return before && after ? SUCCESS : INVALID_VALUE; }
CUresult cuStreamBeginCapture(void* stream, int mode) { ACTIVE("begin capture"); capturing = 1; return stream && mode == 1 ? SUCCESS : INVALID_VALUE; }
CUresult cuStreamEndCapture(void* stream, void** graph) { ACTIVE("end capture"); *graph = malloc(8); return stream && capturing-- ? SUCCESS : INVALID_VALUE; }
CUresult cuGraphInstantiate(void** exec, void* graph, unsigned long long flags) { ACTIVE("instantiate"); *exec = malloc(8); return graph && !flags ? SUCCESS : INVALID_VALUE; }
CUresult cuGraphDestroy(void* graph) { ACTIVE("graph destroyed"); free(graph); return SUCCESS; }
CUresult cuGraphExecDestroy(void* exec) { ACTIVE("exec destroyed"); free(exec); return SUCCESS; }
CUresult cuGraphLaunch(void* exec, void* stream) { ACTIVE("launch"); return exec && stream ? SUCCESS : INVALID_VALUE; }

#define ENTRY(name) { #name, (void*)name }
static struct { char const* name; void* function; } const table[] = {
    ENTRY(cuInit), ENTRY(cuDriverGetVersion), ENTRY(cuDeviceGetCount), ENTRY(cuDeviceGet), ENTRY(cuDeviceGetName),
    ENTRY(cuDeviceGetAttribute), ENTRY(cuDevicePrimaryCtxRetain), ENTRY(cuCtxPushCurrent), ENTRY(cuCtxPopCurrent),
    ENTRY(cuMemAlloc), ENTRY(cuMemFree), ENTRY(cuMemHostAlloc), ENTRY(cuMemFreeHost), ENTRY(cuMemHostGetDevicePointer),
    ENTRY(cuMemsetD8Async), ENTRY(cuMemcpyHtoDAsync), ENTRY(cuMemcpyDtoHAsync), ENTRY(cuStreamCreate),
    ENTRY(cuStreamDestroy), ENTRY(cuStreamSynchronize), ENTRY(cuStreamWaitEvent), ENTRY(cuEventCreate),
    ENTRY(cuEventDestroy), ENTRY(cuEventRecord), ENTRY(cuEventSynchronize), ENTRY(cuEventElapsedTime),
    ENTRY(cuStreamBeginCapture), ENTRY(cuStreamEndCapture), ENTRY(cuGraphInstantiate), ENTRY(cuGraphDestroy),
    ENTRY(cuGraphExecDestroy), ENTRY(cuGraphLaunch), { "cuGraphInstantiateWithFlags", (void*)cuGraphInstantiate },
};

/* How the bindings find all others. */
CUresult cuGetProcAddress_v2(char const* symbol, void** function, int version, uint64_t flags, int* status) {
    (void)version; (void)flags;
    *function = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; ++i)
        if (!strcmp(symbol, table[i].name)) *function = table[i].function;
    if (!strncmp(symbol, "cuGetProcAddress", 16)) *function = (void*)cuGetProcAddress_v2;
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
