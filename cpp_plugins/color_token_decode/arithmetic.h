//! The arithmetic of ColorTokenDecode, for the GPU and for the CPU: what each lane of a warp does with its tokens.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <math.h>

namespace edgecolor {

constexpr float kTiny = 1e-30f;  // probabilities below it count as this, so that their logarithm is finite
constexpr float kColdest = 1e-6f;  // lower temperatures give the mode up to float32's noise in the probabilities
constexpr float kLog2E = 1.4426950408889634f;

// The hardware's approximations are within 2^-22, relative for exp2, absolute for log2 near 1.
__host__ __device__ __forceinline__ float fastExp2(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

__host__ __device__ __forceinline__ float fastLog2(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return log2f(x);
#endif
}

__host__ __device__ __forceinline__ float toFloat(float x) { return x; }
__host__ __device__ __forceinline__ float toFloat(__half x) { return __half2float(x); }

template <typename T>
__host__ __device__ T fromFloat(float x);
template <>
__host__ __device__ __forceinline__ float fromFloat<float>(float x) {
    return x;
}
template <>
__host__ __device__ __forceinline__ __half fromFloat<__half>(float x) {
    return __float2half_rn(x);
}

//! Where a cell's past lies: up to four cells of the same picture and their weights.
struct Past {
    int left, right, top, bottom;  // columns and rows, all inside the grid
    float fx, fy;                  // weight of right and of bottom, in [0, 1)
};

//! Bilinear taps at (x + dx, y + dy), clamped to the grid; motion that is not a number counts as far to the upper left.
__host__ __device__ __forceinline__ Past locatePast(int x, int y, float dx, float dy, int width, int height) {
    float const px = fminf(fmaxf(float(x) + dx, 0.f), float(width - 1));
    float const py = fminf(fmaxf(float(y) + dy, 0.f), float(height - 1));
    int const left = int(px), top = int(py);
    return {left, left + 1 < width ? left + 1 : left, top, top + 1 < height ? top + 1 : top, px - left, py - top};
}

//! exp(logit - highest). The difference comes first: it is exact where it matters, and cannot overflow upward.
__host__ __device__ __forceinline__ float softmaxTerm(float logit, float highest) {
    return fastExp2((logit - highest) * kLog2E);
}

//! (1 - keep) softmax + keep past, with share = (1 - keep) / sum of the softmax terms, and past already times keep.
__host__ __device__ __forceinline__ float blend(float term, float share, float keptPast) {
    return fmaf(term, share, keptPast);
}

//! Probabilities to the power of 1 / T, relative to the largest.
struct Anneal {
    float scale;   // 1 / best
    float inverseT;
    float shift;   // what makes the weight of the best exactly 1

    __host__ __device__ __forceinline__ Anneal(float best, float temperature) {
        best = fmaxf(best, kTiny);
        scale = 1.f / best;
        inverseT = 1.f / fmaxf(temperature, kColdest);
        shift = fastLog2(best * scale) * inverseT;
    }

    //! floor is kTiny for a token, and 0 for a slot that holds none: its weight is then 0.
    // The logarithm is taken of the ratio to the best: near 1, where weights count, its error is absolute and small.
    __host__ __device__ __forceinline__ float weight(float prob, float floor) const {
        return fastExp2(fmaf(fastLog2(fmaxf(prob, floor) * scale), inverseT, -shift));
    }
};

}  // namespace edgecolor
