//! One thread per sample; the planes are small beside what the token probabilities move.
#include "kernel.h"

#include "arithmetic.h"

namespace edgecolor {
namespace {

constexpr int kThreads = 128;

template <typename Sample>
__global__ void __launch_bounds__(kThreads) lightnessKernel(EdgecolorLightness job, Shrink plan, int rows, int columns) {
    int const at = blockIdx.x * kThreads + threadIdx.x;
    if (at >= job.out_height * job.out_width) return;
    Cell const upright{at / job.out_width, at % job.out_width};
    Cell const coded = toCoded(upright, job.luma.rotation, rows, columns);
    float const code = shrunkLuma<Sample>(job.luma, plan, coded.y, coded.x);
    job.lightness[at] = lightnessOf(job.lightness_of_code, job.luma.bit_depth, code);
}

template <typename Sample>
__global__ void __launch_bounds__(kThreads) guideKernel(EdgecolorChroma job, Shrink plan, int rows, int columns, float* guide) {
    int const at = blockIdx.x * kThreads + threadIdx.x;
    if (at >= rows * columns) return;
    guide[at] = shrunkLuma<Sample>(job.luma, plan, at / columns, at % columns) / job.black_to_white;
}

__global__ void __launch_bounds__(kThreads) fitKernel(
    EdgecolorChroma job, int rows, int columns, float const* guide, float4* models) {
    int const at = blockIdx.x * kThreads + threadIdx.x;
    if (at < rows * columns) models[at] = fitCell(guide, job, rows, columns, {at / columns, at % columns});
}

template <typename Sample>
__global__ void __launch_bounds__(kThreads) chromaKernel(
    EdgecolorChroma job, int rows, int columns, float const* models) {
    int const x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y;
    if (x >= job.chroma_width) return;
    float2 const code = chromaAt<Sample>(job, reinterpret_cast<float4 const*>(models), rows, columns, {y, x});
    float const top = float((1 << job.luma.bit_depth) - 1);
    int64_t const row = int64_t(y) * job.chroma_pitch;
    reinterpret_cast<Sample*>(static_cast<unsigned char*>(job.cb) + row)[x] = Sample(fminf(rintf(code.x), top));
    reinterpret_cast<Sample*>(static_cast<unsigned char*>(job.cr) + row)[x] = Sample(fminf(rintf(code.y), top));
}

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int wide, int high, cudaStream_t stream, Arguments const&... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3((wide + kThreads - 1) / kThreads, high);
    config.blockDim = dim3(kThreads);
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

bool isValid(EdgecolorLuma const& luma) {
    int64_t const rowBytes = int64_t(luma.width) * (luma.bit_depth > 8 ? 2 : 1);
    return luma.plane && luma.width > 0 && luma.height > 0 && luma.bit_depth >= 8 && luma.bit_depth <= 16 &&
           luma.pitch >= rowBytes && luma.rotation >= 0 && luma.rotation < 360 && luma.rotation % 90 == 0;
}

bool isValid(EdgecolorChroma const& job) {
    auto const halved = [](int size, int log2) { return (size + (1 << log2) - 1) >> log2; };
    bool const log2Fits = job.log2_x >= 0 && job.log2_x <= 1 && job.log2_y >= 0 && job.log2_y <= job.log2_x;
    return isValid(job.luma) && job.ab && job.table && job.workspace && job.cb && job.cr && log2Fits &&
           reinterpret_cast<uintptr_t>(job.workspace) % sizeof(float4) == 0 && job.grid_height > 0 &&
           job.grid_width > 0 && job.chroma_width == halved(job.luma.width, job.log2_x) &&
           job.chroma_height == halved(job.luma.height, job.log2_y) && job.chroma_height <= 65535 &&
           job.chroma_pitch >= int64_t(job.chroma_width) * (job.luma.bit_depth > 8 ? 2 : 1) && job.siting >= 0 &&
           job.siting <= EDGECOLOR_SITED_TOPLEFT && job.black_to_white > 0.f && job.codes_per_level > 0.f &&
           job.edge_contrast > 0.f && job.saturation >= 0.f;
}

template <typename Sample>
cudaError_t toLightness(EdgecolorLightness const& job, cudaStream_t stream) {
    bool const turned = job.luma.rotation % 180 != 0;
    int const rows = turned ? job.out_width : job.out_height, columns = turned ? job.out_height : job.out_width;
    Shrink const plan = planShrink(job.luma.height, job.luma.width, rows, columns);
    return launch(lightnessKernel<Sample>, rows * columns, 1, stream, job, plan, rows, columns);
}

template <typename Sample>
cudaError_t toChroma(EdgecolorChroma const& job, cudaStream_t stream) {
    bool const turned = job.luma.rotation % 180 != 0;
    int const rows = turned ? job.grid_width : job.grid_height, columns = turned ? job.grid_height : job.grid_width;
    Shrink const plan = planShrink(job.luma.height, job.luma.width, rows, columns);
    float4* const models = reinterpret_cast<float4*>(job.workspace);
    float* const guide = job.workspace + 4 * int64_t(rows) * columns;
    cudaError_t status = launch(guideKernel<Sample>, rows * columns, 1, stream, job, plan, rows, columns, guide);
    if (status == cudaSuccess) status = launch(fitKernel, rows * columns, 1, stream, job, rows, columns, guide, models);
    if (status != cudaSuccess) return status;
    return launch(chromaKernel<Sample>, job.chroma_width, job.chroma_height, stream, job, rows, columns, job.workspace);
}

}  // namespace
}  // namespace edgecolor

extern "C" cudaError_t edgecolorLumaToLightness(EdgecolorLightness const* job, cudaStream_t stream) {
    using namespace edgecolor;
    if (!job || !isValid(job->luma) || !job->lightness_of_code || !job->lightness || job->out_height < 1 ||
        job->out_width < 1) {
        return cudaErrorInvalidValue;
    }
    return job->luma.bit_depth > 8 ? toLightness<uint16_t>(*job, stream) : toLightness<uint8_t>(*job, stream);
}

extern "C" cudaError_t edgecolorAbToChroma(EdgecolorChroma const* job, cudaStream_t stream) {
    using namespace edgecolor;
    if (!job || !isValid(*job)) return cudaErrorInvalidValue;
    return job->luma.bit_depth > 8 ? toChroma<uint16_t>(*job, stream) : toChroma<uint8_t>(*job, stream);
}
