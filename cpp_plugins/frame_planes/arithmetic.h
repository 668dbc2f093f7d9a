//! What one thread does for one sample of the frame's planes, for the GPU and for the CPU.
#pragma once

#include <cuda_runtime.h>
#include <math.h>

#include "kernel.h"

namespace edgecolor {

// The shape of edgecolor/color/chroma_table.py's table.
constexpr int kLevels = 256, kNodes = 45;
constexpr float kReach = 110.f, kStep = 5.f;

struct Cell {
    int y, x;
};

//! Where a sample of an upright picture lies in the coded one, whose size is given.
__host__ __device__ __forceinline__ Cell toCoded(Cell upright, int rotation, int codedHeight, int codedWidth) {
    switch (rotation) {
    case 90: return {codedHeight - 1 - upright.x, upright.y};
    case 180: return {codedHeight - 1 - upright.y, codedWidth - 1 - upright.x};
    case 270: return {upright.x, codedWidth - 1 - upright.y};
    default: return upright;
    }
}

//! The inverse: where a sample of the coded picture lies in the upright one.
__host__ __device__ __forceinline__ Cell toUpright(Cell coded, int rotation, int codedHeight, int codedWidth) {
    switch (rotation) {
    case 90: return {coded.x, codedHeight - 1 - coded.y};
    case 180: return {codedHeight - 1 - coded.y, codedWidth - 1 - coded.x};
    case 270: return {codedWidth - 1 - coded.x, coded.y};
    default: return coded;
    }
}

__host__ __device__ __forceinline__ int clampIndex(int i, int count) { return i < 0 ? 0 : i < count ? i : count - 1; }

//! Two neighbours and the weight of the second.
struct Between {
    int low, high;
    float part;
};

__host__ __device__ __forceinline__ Between between(float place, int count) {
    place = fminf(fmaxf(place, 0.f), float(count - 1));
    int const low = int(place);
    return {low, low + 1 < count ? low + 1 : low, place - float(low)};
}

__host__ __device__ __forceinline__ float mix(float low, float high, float part) { return low + (high - low) * part; }

template <typename Sample>
__host__ __device__ __forceinline__ float lumaAt(EdgecolorLuma const& luma, int y, int x) {
    auto const* const row = static_cast<unsigned char const*>(luma.plane) + int64_t(y) * luma.pitch;
    return float(reinterpret_cast<Sample const*>(row)[x]);
}

//! How a plane is shrunk: means of boxes of 2^halvings, then linear interpolation by the factor that is left.
struct Shrink {
    int halvings, rows, columns;  // after halving; an odd last row or column is left out
    float scaleY, scaleX;         // the factor that is left
};

inline Shrink planShrink(int fromRows, int fromColumns, int rows, int columns) {
    double y = double(fromRows) / rows, x = double(fromColumns) / columns;
    int halvings = 0;
    while (x * y >= 4 && min(fromRows, fromColumns) >> halvings >= 2) {
        ++halvings;
        y /= 2;
        x /= 2;
    }
    return {halvings, fromRows >> halvings, fromColumns >> halvings, float(y), float(x)};
}

template <typename Sample>
__host__ __device__ __forceinline__ float boxMean(EdgecolorLuma const& luma, int halvings, int y, int x) {
    int const side = 1 << halvings;
    float sum = 0.f;  // what it rounds off is far below a code
    for (int i = 0; i < side; ++i) {
        for (int j = 0; j < side; ++j) sum += lumaAt<Sample>(luma, y * side + i, x * side + j);
    }
    return sum / float(side * side);
}

//! Luma of the coded picture at sample (y, x) of a smaller one, in codes, not rounded.
template <typename Sample>
__host__ __device__ __forceinline__ float shrunkLuma(EdgecolorLuma const& luma, Shrink const& plan, int y, int x) {
    Between const v = between((float(y) + 0.5f) * plan.scaleY - 0.5f, plan.rows);
    Between const h = between((float(x) + 0.5f) * plan.scaleX - 0.5f, plan.columns);
    auto const line = [&](int row) {
        float const left = boxMean<Sample>(luma, plan.halvings, row, h.low);
        return h.part == 0.f ? left : mix(left, boxMean<Sample>(luma, plan.halvings, row, h.high), h.part);
    };
    float const upper = line(v.low);
    return v.part == 0.f ? upper : mix(upper, line(v.high), v.part);
}

//! L* of a code that need not be whole.
__host__ __device__ __forceinline__ float lightnessOf(float const* lightnessOfCode, int bitDepth, float code) {
    Between const at = between(code, 1 << bitDepth);
    return mix(lightnessOfCode[at.low], lightnessOfCode[at.high], at.part);
}

//! Gain of a and of b over the guide: covariance by variance in 3 x 3 cells, weighted 1 2 1; less of it in texture.
__host__ __device__ __forceinline__ float2 gainOf(
    float const* guide, EdgecolorChroma const& job, int rows, int columns, Cell at) {
    float g = 0.f, gg = 0.f, a = 0.f, b = 0.f, ga = 0.f, gb = 0.f;
    for (int i = -1; i <= 1; ++i) {
        for (int j = -1; j <= 1; ++j) {
            Cell const cell{clampIndex(at.y + i, rows), clampIndex(at.x + j, columns)};
            Cell const up = toUpright(cell, job.luma.rotation, rows, columns);
            int const index = up.y * job.grid_width + up.x;
            float const weight = (i ? 0.25f : 0.5f) * (j ? 0.25f : 0.5f);
            float const cellG = guide[cell.y * columns + cell.x];
            float const cellA = job.ab[index], cellB = job.ab[job.grid_height * job.grid_width + index];
            g += weight * cellG;
            gg += weight * cellG * cellG;
            a += weight * cellA;
            b += weight * cellB;
            ga += weight * cellG * cellA;
            gb += weight * cellG * cellB;
        }
    }
    float const variance = fmaxf(gg - g * g, 0.f);
    float const texture = job.edge_contrast * job.edge_contrast;
    float const gain = variance / (variance * variance + texture * texture);
    return make_float2((ga - a * g) * gain, (gb - b * g) * gain);
}

//! Gain and offset of a, then of b, at one cell; gains count per luma code.
__host__ __device__ __forceinline__ float4 fitCell(
    float const* guide, EdgecolorChroma const& job, int rows, int columns, Cell at) {
    float2 const gain = gainOf(guide, job, rows, columns, at);
    Cell const up = toUpright(at, job.luma.rotation, rows, columns);
    int const index = up.y * job.grid_width + up.x;
    float const here = guide[at.y * columns + at.x];
    float const perCode = 1.f / job.black_to_white;
    return make_float4(gain.x * perCode, job.ab[index] - gain.x * here, gain.y * perCode,
                       job.ab[job.grid_height * job.grid_width + index] - gain.y * here);
}

//! Three luma samples and their weights under one chroma sample, along one axis.
struct Sited {
    int first;
    float weights[3];
    float position;  // of the chroma sample, in luma samples
};

//! Sited on the even sample (weights 1 2 1; the first of all: 1 1), or between two (1 1); itself at full resolution.
__host__ __device__ __forceinline__ Sited siteAxis(int i, int log2, bool centered) {
    if (!log2) return {i, {1.f, 0.f, 0.f}, float(i)};
    if (centered) return {2 * i, {0.5f, 0.5f, 0.f}, float(2 * i) + 0.5f};
    if (i == 0) return {0, {0.5f, 0.5f, 0.f}, 0.f};
    return {2 * i - 1, {0.25f, 0.5f, 0.25f}, float(2 * i)};
}

template <typename Sample>
__host__ __device__ __forceinline__ float sitedLuma(EdgecolorLuma const& luma, Sited const& v, Sited const& h) {
    float sum = 0.f;
    for (int i = 0; i < 3; ++i) {
        if (v.weights[i] == 0.f) continue;
        int const y = clampIndex(v.first + i, luma.height);
        for (int j = 0; j < 3; ++j) {
            if (h.weights[j] == 0.f) continue;
            sum += v.weights[i] * h.weights[j] * lumaAt<Sample>(luma, y, clampIndex(h.first + j, luma.width));
        }
    }
    return sum;
}

//! Cb and Cr, as codes, not rounded, that show this ab at this luma.
__host__ __device__ __forceinline__ float2 chromaOf(EdgecolorChroma const& job, float luma, float a, float b) {
    a *= job.saturation;
    b *= job.saturation;
    float const shrink = kReach / fmaxf(fmaxf(fabsf(a), fabsf(b)), kReach);
    Between const column = between(a * shrink / kStep + float(kNodes / 2), kNodes);
    Between const row = between(b * shrink / kStep + float(kNodes / 2), kNodes);
    int const level = clampIndex(int(rintf(luma / job.codes_per_level)), kLevels);
    float const* const low = job.table + (level * kNodes + row.low) * kNodes;
    float const* const high = job.table + (level * kNodes + row.high) * kNodes;
    float code[2];
    for (int plane = 0; plane < 2; ++plane) {
        int const skip = plane * kLevels * kNodes * kNodes;
        float const lower = mix(low[skip + column.low], low[skip + column.high], column.part);
        float const upper = mix(high[skip + column.low], high[skip + column.high], column.part);
        code[plane] = mix(lower, upper, row.part);
    }
    return make_float2(code[0], code[1]);
}

//! Cb and Cr of chroma sample (y, x), from the cells' models.
template <typename Sample>
__host__ __device__ __forceinline__ float2 chromaAt(
    EdgecolorChroma const& job, float4 const* models, int rows, int columns, Cell at) {
    Sited const v = siteAxis(at.y, job.log2_y, job.siting != EDGECOLOR_SITED_TOPLEFT);
    Sited const h = siteAxis(at.x, job.log2_x, job.siting == EDGECOLOR_SITED_CENTER);
    float const luma = sitedLuma<Sample>(job.luma, v, h);
    Between const r = between((v.position + 0.5f) * float(rows) / float(job.luma.height) - 0.5f, rows);
    Between const c = between((h.position + 0.5f) * float(columns) / float(job.luma.width) - 0.5f, columns);
    float4 const& topLeft = models[r.low * columns + c.low];
    float4 const& topRight = models[r.low * columns + c.high];
    float4 const& bottomLeft = models[r.high * columns + c.low];
    float4 const& bottomRight = models[r.high * columns + c.high];
    auto const sample = [&](float tl, float tr, float bl, float br) {
        return mix(mix(tl, tr, c.part), mix(bl, br, c.part), r.part);
    };
    float const a = sample(topLeft.x, topRight.x, bottomLeft.x, bottomRight.x) * luma +
                    sample(topLeft.y, topRight.y, bottomLeft.y, bottomRight.y);
    float const b = sample(topLeft.z, topRight.z, bottomLeft.z, bottomRight.z) * luma +
                    sample(topLeft.w, topRight.w, bottomLeft.w, bottomRight.w);
    return chromaOf(job, luma, a, b);
}

}  // namespace edgecolor
