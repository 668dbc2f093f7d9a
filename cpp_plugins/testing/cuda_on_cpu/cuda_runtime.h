//! Enough of CUDA to run the kernels' source, unchanged, on a CPU: each thread of a block is a fiber, blocks follow one
//! another. For tests: slow, and strict where a GPU is lucky (poisoned shared memory, copies that come late, threads
//! in shuffled order). It knows nothing of memory spaces: every pointer is a plain one.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <functional>

#define __host__
#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __restrict__

using std::max;
using std::min;

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

typedef void* cudaStream_t;
typedef void* cudaEvent_t;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum { cudaDevAttrMultiProcessorCount = 16 };
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes = 0;
    cudaStream_t stream = nullptr;
    void* attrs = nullptr;
    unsigned numAttrs = 0;
};

inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int device);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream);

//! Run `thread` once per thread of every block.
cudaError_t runOnCpu(cudaLaunchConfig_t const& config, std::function<void()> const& thread);

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(
    cudaLaunchConfig_t const* config, void (*kernel)(Parameters...), Arguments const&... arguments) {
    return runOnCpu(*config, [&] { kernel(arguments...); });
}

void __syncthreads();
//! Give the 4 bytes `mine` to the warp and get those of `lane` (from 0 to 31).
uint32_t exchange(uint32_t mine, int lane);
//! Combine the numbers of all lanes.
uint32_t reduce(uint32_t mine, uint32_t (*combine)(uint32_t, uint32_t));

inline int __float_as_int(float x) {
    int bits;
    memcpy(&bits, &x, 4);
    return bits;
}
inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
inline float __shfl_xor_sync(unsigned, float x, int mask) {
    return __int_as_float(int(exchange(uint32_t(__float_as_int(x)), int(threadIdx.x % 32) ^ mask)));
}
inline int __reduce_max_sync(unsigned, int x) {
    return int(reduce(uint32_t(x), [](uint32_t a, uint32_t b) { return uint32_t(max(int(a), int(b))); }));
}
inline int __reduce_min_sync(unsigned, int x) {
    return int(reduce(uint32_t(x), [](uint32_t a, uint32_t b) { return uint32_t(min(int(a), int(b))); }));
}
inline int __any_sync(unsigned, int x) {
    return int(reduce(x != 0, [](uint32_t a, uint32_t b) { return a | b; }));
}
template <typename T>
T __ldg(T const* p) {
    return *p;
}
