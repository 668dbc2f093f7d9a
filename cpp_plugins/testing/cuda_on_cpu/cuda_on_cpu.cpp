//! Fibers, barriers and late copies behind cuda_runtime.h.
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <memory>
#include <random>
#include <vector>

#include "cuda_pipeline.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr size_t kShared = 48 * 1024;  // what every GPU gives without being asked for more

}  // namespace

namespace edgecolor {

alignas(16) unsigned char shared[kShared];

}  // namespace edgecolor

namespace {

constexpr size_t kStack = 64 * 1024;
constexpr long kPatience = 4'000'000;  // turns without progress before it is a deadlock

struct Barrier {
    unsigned needed = 0, arrived = 0, generation = 0;
};

struct Warp {
    Barrier barrier;
    unsigned turn = 0;
    uint32_t slots[2][32];
    unsigned turns[32] = {};
};

struct Copy {
    void* to;
    void const* from;
    size_t bytes;
};

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    dim3 thread;
    bool done = false;
    size_t next = 0;
    std::vector<std::vector<Copy>> batches{1};
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
Barrier block;
ucontext_t scheduler;
size_t running;
size_t alive;
long idle;
std::function<void()> const* body;
std::mt19937 order{12345};

void switchTo(size_t fiber) {
    size_t const from = running;
    running = fiber;
    threadIdx = fibers[fiber].thread;
    if (from != fiber) swapcontext(&fibers[from].context, &fibers[fiber].context);
}

size_t nextAlive(size_t fiber) {
    do fiber = fibers[fiber].next;
    while (fibers[fiber].done);
    return fiber;
}

void wait(Barrier& barrier) {
    unsigned const generation = barrier.generation;
    if (++barrier.arrived == barrier.needed) {
        barrier.arrived = 0;
        ++barrier.generation;
        idle = 0;
    }
    while (barrier.generation == generation) {
        if (++idle > kPatience) {
            fprintf(stderr, "cuda_on_cpu: deadlock: not every thread reaches the barrier\n");
            abort();
        }
        switchTo(nextAlive(running));
    }
}

void enter() {
    (*body)();
    fibers[running].done = true;
    if (--alive == 0) {
        setcontext(&scheduler);
    }
    running = nextAlive(running);
    threadIdx = fibers[running].thread;
    setcontext(&fibers[running].context);
}

void runBlock() {
    size_t const threads = blockDim.x;
    fibers.resize(threads);
    warps.assign((threads + 31) / 32, Warp{});
    for (size_t w = 0; w < warps.size(); ++w) warps[w].barrier.needed = unsigned(min(threads - 32 * w, size_t(32)));
    block = {unsigned(threads), 0, 0};
    alive = threads;
    idle = 0;
    std::vector<size_t> ring(threads);
    for (size_t i = 0; i < threads; ++i) ring[i] = i;
    std::shuffle(ring.begin(), ring.end(), order);
    for (size_t i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        if (!fiber.stack) fiber.stack = std::make_unique<char[]>(kStack);
        fiber.thread = dim3(unsigned(i), 0, 0);
        fiber.done = false;
        fiber.batches.assign(1, {});
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStack;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    for (size_t i = 0; i < threads; ++i) fibers[ring[i]].next = ring[(i + 1) % threads];
    running = ring[0];
    threadIdx = fibers[running].thread;
    swapcontext(&scheduler, &fibers[running].context);
}

}  // namespace

cudaError_t cudaDeviceGetAttribute(int* value, int, int) {
    // Few multiprocessors, so that a block gets several groups even of a small picture.
    char const* const wanted = getenv("CUDA_ON_CPU_MULTIPROCESSORS");
    *value = wanted ? atoi(wanted) : 1;
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
    memset(memory, value, bytes);
    return cudaSuccess;
}

cudaError_t runOnCpu(cudaLaunchConfig_t const& config, std::function<void()> const& thread) {
    if (config.dynamicSmemBytes > kShared || config.blockDim.y != 1 || config.blockDim.z != 1) {
        return cudaErrorInvalidValue;
    }
    body = &thread;
    gridDim = config.gridDim;
    blockDim = config.blockDim;
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) {
                blockIdx = dim3(x, y, z);
                memset(edgecolor::shared, 0xff, kShared);  // not-a-number in both types
                runBlock();
            }
    return cudaSuccess;
}

void __syncthreads() { wait(block); }

uint32_t exchange(uint32_t mine, int lane) {
    int const self = int(threadIdx.x % 32);
    Warp& warp = warps[threadIdx.x / 32];
    // Two sets of slots: a lane may be one exchange ahead of another that has not read yet, never two.
    uint32_t* const slots = warp.slots[warp.turns[self]++ % 2];
    slots[self] = mine;
    wait(warp.barrier);
    return slots[lane];
}

uint32_t reduce(uint32_t mine, uint32_t (*combine)(uint32_t, uint32_t)) {
    int const self = int(threadIdx.x % 32);
    Warp& warp = warps[threadIdx.x / 32];
    uint32_t* const slots = warp.slots[warp.turns[self]++ % 2];
    slots[self] = mine;
    wait(warp.barrier);
    uint32_t all = slots[0];
    for (unsigned lane = 1; lane < warp.barrier.needed; ++lane) all = combine(all, slots[lane]);
    return all;
}

void __pipeline_memcpy_async(void* to, void const* from, size_t bytes) {
    if ((uintptr_t(to) | uintptr_t(from)) % bytes) {
        fprintf(stderr, "cuda_on_cpu: misaligned asynchronous copy\n");
        abort();
    }
    fibers[running].batches.back().push_back({to, from, bytes});
}

void __pipeline_commit() { fibers[running].batches.emplace_back(); }

void __pipeline_wait_prior(int batches) {
    auto& all = fibers[running].batches;  // the last one is not committed yet
    while (all.size() > size_t(batches) + 1) {
        for (Copy const& copy : all.front()) memcpy(copy.to, copy.from, copy.bytes);
        all.erase(all.begin());
    }
}
