//! The two ends of the pipeline on the GPU, so that a frame goes up once as Y' and comes down once as Cb and Cr.
//! All pointers are device memory. Both calls allocate nothing, wait for nothing, use only `stream`, may be captured
//! into a CUDA graph, and return cudaErrorInvalidValue for a job that breaks what is said here.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EDGECOLOR_SITED_LEFT = 0, EDGECOLOR_SITED_CENTER = 1, EDGECOLOR_SITED_TOPLEFT = 2 };

//! A luma plane as decoded: uint8 at 8 bits, else uint16 with the values in the low bits.
typedef struct EdgecolorLuma {
    void const* plane;
    int64_t pitch;  //!< bytes from one row to the next
    int32_t width, height;
    int32_t bit_depth;  //!< 8 to 16
    int32_t rotation;   //!< degrees clockwise that turn the picture upright: 0, 90, 180, 270
} EdgecolorLuma;

//! NumPy twin: edgecolor/stages/frame_to_lightness.py.
typedef struct EdgecolorLightness {
    EdgecolorLuma luma;
    float const* lightness_of_code;  //!< L* of every code, 2^bit_depth of them
    float* lightness;                //!< out: (out_height, out_width), upright
    int32_t out_height, out_width;
} EdgecolorLightness;

//! NumPy twins: edgecolor/stages/upsample_ab.py, then ab_to_frame.py.
typedef struct EdgecolorChroma {
    EdgecolorLuma luma;
    float const* ab;     //!< (2, grid_height, grid_width), ab units, upright
    float const* table;  //!< (2, 256 x 45, 45): what edgecolor/color/chroma_table.py gives
    float* workspace;    //!< 5 x grid_height x grid_width floats, at a multiple of 16 bytes; contents do not matter
    void* cb;            //!< out: (chroma_height, chroma_width), type as luma
    void* cr;
    int64_t chroma_pitch;  //!< bytes from one row of cb, and of cr, to the next
    int32_t grid_height, grid_width;
    int32_t chroma_width, chroma_height;  //!< of luma / 2^log2, rounded up
    int32_t log2_x, log2_y;               //!< 0 or 1
    int32_t siting;                       //!< EDGECOLOR_SITED_...
    float black_to_white;                 //!< Y' codes from black to white
    float codes_per_level;                //!< Y' codes from one level of the table to the next
    float edge_contrast;                  //!< EDGE_CONTRAST of upsample_ab.py
    float saturation;
} EdgecolorChroma;

//! Y' -> lightness at the working size: area-weighted, turned upright.
cudaError_t edgecolorLumaToLightness(EdgecolorLightness const* job, cudaStream_t stream);

//! ab on the token grid -> Cb and Cr: enlarged along the edges of the luma, chroma siting respected, kept in gamut.
cudaError_t edgecolorAbToChroma(EdgecolorChroma const* job, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
