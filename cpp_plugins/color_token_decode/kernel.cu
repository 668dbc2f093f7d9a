//! One pass over logits and state. A block takes eight cells at a time, a warp one of them, a lane every 32nd token.
//!
//! A row of 313 halves starts on no 16-byte border, but eight rows together always do. So blocks move whole groups of
//! eight rows, 16 bytes per access: in through a ring of asynchronous copies to shared memory, one or two groups ahead
//! of the arithmetic, and out from the place where the logits were. In between a row's tokens live in registers.
//! The past is read once, with the group, where nothing moved; tap by tap where something did; not at all where it
//! counts for nothing.
#include "kernel.h"

#include <cuda_pipeline.h>

#include "arithmetic.h"

namespace edgecolor {

extern __shared__ __align__(16) unsigned char shared[];

namespace {

constexpr int kLanes = 32;
constexpr int kCells = 8;
constexpr int kThreads = kCells * kLanes;
constexpr unsigned kAll = 0xffffffffu;
constexpr int kMaxTokens = 1024;

//! How a kernel is made for a number of tokens.
//! slots: tokens per lane. stages: groups in shared memory, this one and those on their way. tight: the token count is
//! in the last 32 that the slots can hold, so that only the last slot can be empty; then the centers stay in registers
//! and the past is staged too.
template <typename T, int slots_, int stages_, bool tight_, int blocksPerSm_>
struct Plan {
    using Type = T;
    static constexpr int slots = slots_, stages = stages_, blocksPerSm = blocksPerSm_;
    static constexpr bool tight = tight_;
    static constexpr int arrays = tight ? 2 : 1;  // logits, past

    static __host__ __device__ __forceinline__ int groupBytes(int tokens) { return kCells * tokens * int(sizeof(T)); }
    static int sharedBytes(int tokens) { return stages * arrays * groupBytes(tokens) + int(2 * kCells * sizeof(float)); }
};

__device__ __forceinline__ float warpMax(float x) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    // Flipping the lower bits of negative floats makes integers of the same order.
    int bits = __float_as_int(x);
    bits = __reduce_max_sync(kAll, bits ^ ((bits >> 31) & 0x7fffffff));
    return __int_as_float(bits ^ ((bits >> 31) & 0x7fffffff));
#else
    for (int step = kLanes / 2; step; step /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, step));
    return x;
#endif
}

__device__ __forceinline__ int warpMin(int x) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    return __reduce_min_sync(kAll, x);
#else
    for (int step = kLanes / 2; step; step /= 2) x = min(x, __shfl_xor_sync(kAll, x, step));
    return x;
#endif
}

__device__ __forceinline__ float warpSum(float x) {
#pragma unroll
    for (int step = kLanes / 2; step; step /= 2) x += __shfl_xor_sync(kAll, x, step);
    return x;
}

//! Three sums for six shuffles instead of fifteen: halves of the warp go on with different ones.
//! Lanes 0 to 7 return the sum of a, lanes 16 to 23 that of b, the others that of c.
__device__ __forceinline__ float warpSums(float a, float b, float c, int lane) {
    bool const upper = lane & 16, odd = lane & 8;
    float sum = (upper ? b : a) + __shfl_xor_sync(kAll, upper ? a : b, 16);
    c += __shfl_xor_sync(kAll, c, 16);
    sum = (odd ? c : sum) + __shfl_xor_sync(kAll, odd ? sum : c, 8);
    for (int step = 4; step; step /= 2) sum += __shfl_xor_sync(kAll, sum, step);
    return sum;
}

//! Start copying `bytes` bytes to shared memory; `from` and `to` are 16-byte aligned.
template <typename T>
__device__ __forceinline__ void startCopy(unsigned char* to, void const* from, int bytes) {
    auto const* source = static_cast<unsigned char const*>(from);
    for (int at = threadIdx.x * 16; at + 16 <= bytes; at += kThreads * 16) {
        __pipeline_memcpy_async(to + at, source + at, 16);
    }
    // Only the last group of all can end inside a 16-byte word.
    int const rest = (bytes & ~15) + threadIdx.x * int(sizeof(T));
    if (rest < bytes) *reinterpret_cast<T*>(to + rest) = *reinterpret_cast<T const*>(source + rest);
}

template <typename T>
__device__ __forceinline__ void copyOut(void* to, unsigned char const* from, int bytes) {
    auto* target = static_cast<unsigned char*>(to);
    for (int at = threadIdx.x * 16; at + 16 <= bytes; at += kThreads * 16) {
        *reinterpret_cast<int4*>(target + at) = *reinterpret_cast<int4 const*>(from + at);
    }
    int const rest = (bytes & ~15) + threadIdx.x * int(sizeof(T));
    if (rest < bytes) *reinterpret_cast<T*>(target + rest) = *reinterpret_cast<T const*>(from + rest);
}

struct Blend {
    float keep, dx, dy;
    __device__ __forceinline__ bool still() const { return dx == 0.f && dy == 0.f; }
    __device__ __forceinline__ bool readsStage() const { return keep != 0.f && still(); }
};

__device__ __forceinline__ Blend loadBlend(EdgecolorDecode const& job, int cell, int cells) {
    if (cell >= cells) return {0.f, 0.f, 0.f};
    float2 const move = __ldg(reinterpret_cast<float2 const*>(job.motion) + cell);
    return {__ldg(job.keep + cell), move.x, move.y};
}

template <class Plan>
__device__ __forceinline__ bool holds(int slot, int lane, int tokens) {
    return (Plan::tight && slot < Plan::slots - 1) || lane + kLanes * slot < tokens;
}

//! to[slot] += weight x the token probabilities of one cell.
template <class Plan>
__device__ __forceinline__ void addTap(
    float (&to)[Plan::slots], typename Plan::Type const* row, float weight, int lane, int tokens) {
#pragma unroll
    for (int slot = 0; slot < Plan::slots; ++slot) {
        if (holds<Plan>(slot, lane, tokens)) {
            to[slot] = fmaf(weight, toFloat(__ldg(row + lane + kLanes * slot)), to[slot]);
        }
    }
}

//! to[slot] += keep x the past of one cell, from up to four others; taps of weight zero are not read.
template <class Plan>
__device__ __forceinline__ void addPast(
    float (&to)[Plan::slots], EdgecolorDecode const& job, int cell, Blend const& blend, int lane) {
    int const area = job.height * job.width;
    int const inPicture = cell % area;
    int const y = inPicture / job.width, x = inPicture - y * job.width;
    Past const at = locatePast(x, y, blend.dx, blend.dy, job.width, job.height);
    auto const* picture = static_cast<typename Plan::Type const*>(job.prev_probs) +
                          int64_t(cell - inPicture) * job.tokens;
    auto const row = [&](int line, int column) { return picture + int64_t(line * job.width + column) * job.tokens; };
    float const upper = blend.keep * (1.f - at.fy), lower = blend.keep * at.fy;
    addTap<Plan>(to, row(at.top, at.left), upper * (1.f - at.fx), lane, job.tokens);
    if (at.fx != 0.f) addTap<Plan>(to, row(at.top, at.right), upper * at.fx, lane, job.tokens);
    if (at.fy == 0.f) return;
    addTap<Plan>(to, row(at.bottom, at.left), lower * (1.f - at.fx), lane, job.tokens);
    if (at.fx != 0.f) addTap<Plan>(to, row(at.bottom, at.right), lower * at.fx, lane, job.tokens);
}

template <class Plan>
__global__ void __launch_bounds__(kThreads, Plan::blocksPerSm) decodeKernel(EdgecolorDecode job) {
    using T = typename Plan::Type;
    constexpr int kSlots = Plan::slots;
    int const lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
    int const tokens = job.tokens;
    int const area = job.height * job.width;
    int const cells = job.batch * area;
    int const groups = (cells + kCells - 1) / kCells;
    int const groupBytes = Plan::groupBytes(tokens);
    float* const abOfGroup = reinterpret_cast<float*>(shared + Plan::stages * Plan::arrays * groupBytes);  // [2][kCells]
    auto const* centers = reinterpret_cast<float2 const*>(job.centers);

    float2 center[Plan::tight ? kSlots : 1];
    if (Plan::tight) {
#pragma unroll
        for (int slot = 0; slot < (Plan::tight ? kSlots : 1); ++slot) {
            center[slot] = holds<Plan>(slot, lane, tokens) ? __ldg(centers + lane + kLanes * slot) : float2{0.f, 0.f};
        }
    }

    auto const bytesOf = [&](int group) { return min(kCells, cells - group * kCells) * tokens * int(sizeof(T)); };
    // `ahead` is the blend of cell `lane` of the group, in lanes 0 to 7 of every warp.
    auto const fetch = [&](int stage, int group, Blend const& ahead) {
        if (group < groups) {
            int64_t const from = int64_t(group) * groupBytes;
            int const bytes = bytesOf(group);
            unsigned char* const to = shared + stage * Plan::arrays * groupBytes;
            startCopy<T>(to, static_cast<unsigned char const*>(job.logits) + from, bytes);
            if (Plan::tight && __any_sync(kAll, lane < kCells && ahead.readsStage())) {
                startCopy<T>(to + groupBytes, static_cast<unsigned char const*>(job.prev_probs) + from, bytes);
            }
        }
        __pipeline_commit();  // an empty one too: the count of those under way has to be right
    };
    auto const look = [&](int group) {
        return loadBlend(job, group < groups && lane < kCells ? group * kCells + lane : cells, cells);
    };

    int const stride = gridDim.x;
    constexpr int kAhead = Plan::stages - 1;  // groups under way while one is worked on
    for (int stage = 0; stage < kAhead; ++stage) {
        int const group = blockIdx.x + stage * stride;
        fetch(stage, group, look(group));
    }
    Blend ahead{};
    if (Plan::tight) ahead = look(blockIdx.x + kAhead * stride);

    int current = 0, next = kAhead;  // stages
    for (int group = blockIdx.x; group < groups; group += stride) {
        int const cell = group * kCells + warp;
        Blend const now = loadBlend(job, cell, cells);
        if constexpr (kAhead > 0) __pipeline_wait_prior(kAhead - 1);
        // Every thread's share of this group is there, and nobody still reads the stage that is filled next.
        __syncthreads();
        fetch(next, group + kAhead * stride, ahead);
        if constexpr (kAhead == 0) {
            __pipeline_wait_prior(0);
            __syncthreads();
        }

        unsigned char* const stage = shared + current * Plan::arrays * groupBytes;
        T* const row = reinterpret_cast<T*>(stage) + warp * tokens;
        if (cell < cells) {
            float past[Plan::tight ? kSlots : 1];
            if constexpr (Plan::tight) {
                T const* const staged = reinterpret_cast<T const*>(stage + groupBytes) + warp * tokens;
                bool const isStaged = now.readsStage();
#pragma unroll
                for (int slot = 0; slot < kSlots; ++slot) {
                    past[slot] = 0.f;
                    if (isStaged && holds<Plan>(slot, lane, tokens)) {
                        past[slot] = now.keep * toFloat(staged[lane + kLanes * slot]);
                    }
                }
                if (now.keep != 0.f && !isStaged) addPast<Plan>(past, job, cell, now, lane);
            }

            float value[kSlots];  // logits, then softmax terms, then probabilities
            float highest = -INFINITY;
#pragma unroll
            for (int slot = 0; slot < kSlots; ++slot) {
                value[slot] = holds<Plan>(slot, lane, tokens) ? toFloat(row[lane + kLanes * slot]) : -INFINITY;
                highest = fmaxf(highest, value[slot]);
            }
            highest = warpMax(highest);
            float sum = 0.f;
#pragma unroll
            for (int slot = 0; slot < kSlots; ++slot) {
                value[slot] = softmaxTerm(value[slot], highest);
                sum += value[slot];
            }
            float const share = (1.f - now.keep) / warpSum(sum);
#pragma unroll
            for (int slot = 0; slot < kSlots; ++slot) {
                value[slot] = blend(value[slot], share, Plan::tight ? past[Plan::tight ? slot : 0] : 0.f);
            }
            // Many tokens leave no registers for the past beside them: it is read late then.
            if constexpr (!Plan::tight) {
                if (now.keep != 0.f) addPast<Plan>(value, job, cell, now, lane);
            }
            float best = 0.f;
#pragma unroll
            for (int slot = 0; slot < kSlots; ++slot) {
                best = fmaxf(best, value[slot]);
                // In place: the lane that writes here is the one that has read here.
                if (holds<Plan>(slot, lane, tokens)) row[lane + kLanes * slot] = fromFloat<T>(value[slot]);
            }
            best = warpMax(best);
            // Now, so that it is there when the next group is fetched; not earlier, registers being scarce.
            if (Plan::tight) ahead = look(group + (kAhead + 1) * stride);

            if (job.mode == EDGECOLOR_MODE) {
                int first = kMaxTokens;
#pragma unroll
                for (int slot = kSlots - 1; slot >= 0; --slot) {
                    if (holds<Plan>(slot, lane, tokens) && value[slot] == best) first = lane + kLanes * slot;
                }
                first = warpMin(first);
                if (lane < 2) abOfGroup[lane * kCells + warp] = __ldg(job.centers + 2 * first + lane);
            } else {
                Anneal const anneal(best, __ldg(job.temperature));
                float total = 0.f, a = 0.f, b = 0.f;
#pragma unroll
                for (int slot = 0; slot < kSlots; ++slot) {
                    bool const held = holds<Plan>(slot, lane, tokens);
                    float const weight = anneal.weight(value[slot], held ? kTiny : 0.f);
                    float2 c = center[Plan::tight ? slot : 0];
                    if (!Plan::tight) c = held ? __ldg(centers + lane + kLanes * slot) : float2{0.f, 0.f};
                    total += weight;
                    a = fmaf(weight, c.x, a);
                    b = fmaf(weight, c.y, b);
                }
                float const mine = warpSums(a, b, total, lane);
                float const totalOfAll = __shfl_xor_sync(kAll, mine, 8);
                if (lane % 16 == 0) abOfGroup[lane / 16 * kCells + warp] = mine / totalOfAll;
            }
        }
        __syncthreads();  // the rows and colors of all eight cells are staged
        copyOut<T>(static_cast<unsigned char*>(job.probs) + int64_t(group) * groupBytes, stage, bytesOf(group));
        current = current + 1 < Plan::stages ? current + 1 : 0;
        next = next + 1 < Plan::stages ? next + 1 : 0;
        if (threadIdx.x < 2 * kCells) {
            int const channel = threadIdx.x / kCells, which = group * kCells + threadIdx.x % kCells;
            if (which < cells) {
                int const picture = which / area;
                job.ab[int64_t(2 * picture + channel) * area + (which - picture * area)] = abOfGroup[threadIdx.x];
            }
        }
    }
}

template <class Plan>
cudaError_t launch(EdgecolorDecode const& job, int groups, int multiprocessors, cudaStream_t stream) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(min(groups, multiprocessors * Plan::blocksPerSm));
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = Plan::sharedBytes(job.tokens);
    config.stream = stream;
    return cudaLaunchKernelEx(&config, decodeKernel<Plan>, job);
}

template <typename T, int stages>
cudaError_t launchForTokens(EdgecolorDecode const& job, int groups, int multiprocessors, cudaStream_t stream) {
    // 289 to 352 holds both palettes. Blocks per multiprocessor are as many as leave every lane enough registers; stages
    // are chosen so that shared memory stays below the 48 KiB every GPU gives.
    int const slots = (job.tokens + kLanes - 1) / kLanes;
    if (slots == 10) return launch<Plan<T, 10, stages, true, 4>>(job, groups, multiprocessors, stream);
    if (slots == 11) return launch<Plan<T, 11, stages, true, 3>>(job, groups, multiprocessors, stream);
    return launch<Plan<T, kMaxTokens / kLanes, 1, false, 1>>(job, groups, multiprocessors, stream);
}

bool overlaps(void const* p, void const* q, int64_t bytes) {
    auto const a = reinterpret_cast<uintptr_t>(p), b = reinterpret_cast<uintptr_t>(q);
    return (a < b ? b - a : a - b) < uintptr_t(bytes);
}

bool isValid(EdgecolorDecode const& job) {
    if (job.batch < 0 || job.height < 0 || job.width < 0 || job.tokens < 1 || job.tokens > kMaxTokens) return false;
    if (job.type != EDGECOLOR_FLOAT32 && job.type != EDGECOLOR_FLOAT16) return false;
    if (job.mode != EDGECOLOR_ANNEALED_MEAN && job.mode != EDGECOLOR_MODE) return false;
    if (double(job.batch) * job.height * job.width > 2e9) return false;
    void const* const pointers[] = {job.logits,  job.prev_probs,  job.motion, job.keep,
                                    job.centers, job.temperature, job.ab,     job.probs};
    for (void const* pointer : pointers) {
        if (!pointer) return false;
    }
    uintptr_t const rows = reinterpret_cast<uintptr_t>(job.logits) | reinterpret_cast<uintptr_t>(job.prev_probs) |
                           reinterpret_cast<uintptr_t>(job.probs);
    uintptr_t const pairs = reinterpret_cast<uintptr_t>(job.motion) | reinterpret_cast<uintptr_t>(job.centers);
    int64_t const bytes = int64_t(job.batch) * job.height * job.width * job.tokens *
                          (job.type == EDGECOLOR_FLOAT16 ? sizeof(__half) : sizeof(float));
    return rows % 16 == 0 && pairs % sizeof(float2) == 0 && !overlaps(job.probs, job.logits, bytes) &&
           !overlaps(job.probs, job.prev_probs, bytes);
}

}  // namespace
}  // namespace edgecolor

extern "C" cudaError_t edgecolorColorTokenDecode(EdgecolorDecode const* decode, cudaStream_t stream) {
    using namespace edgecolor;
    if (!decode) return cudaErrorInvalidValue;
    int64_t const cells = int64_t(decode->batch) * decode->height * decode->width;
    if (cells == 0 && decode->batch >= 0 && decode->height >= 0 && decode->width >= 0) return cudaSuccess;
    if (!isValid(*decode)) return cudaErrorInvalidValue;
    int device = 0, multiprocessors = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess) {
        status = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
    }
    if (status != cudaSuccess) return status;
    int const groups = int((cells + kCells - 1) / kCells);
    return decode->type == EDGECOLOR_FLOAT16 ? launchForTokens<__half, 3>(*decode, groups, multiprocessors, stream)
                                             : launchForTokens<float, 2>(*decode, groups, multiprocessors, stream);
}
