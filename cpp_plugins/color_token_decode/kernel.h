//! ColorTokenDecode on the GPU: the C interface, usable with or without TensorRT.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EDGECOLOR_FLOAT32 = 0, EDGECOLOR_FLOAT16 = 1 };
enum { EDGECOLOR_ANNEALED_MEAN = 0, EDGECOLOR_MODE = 1 };

//! One call. All pointers are device memory; logits, prev_probs and probs start at a multiple of 16 bytes, and probs
//! overlaps neither of the other two.
typedef struct EdgecolorDecode {
    void const* logits;        //!< (batch, height, width, tokens) of `type`, finite
    void const* prev_probs;    //!< same shape and type; not read where keep is 0
    float const* motion;       //!< (batch, height, width, 2): dx, dy in cells
    float const* keep;         //!< (batch, height, width) in [0, 1]
    float const* centers;      //!< (tokens, 2), ab units
    float const* temperature;  //!< one number in (0, 1]; below 1e-6 it counts as 1e-6
    float* ab;                 //!< out: (batch, 2, height, width), ab units
    void* probs;               //!< out: as logits
    int32_t batch, height, width;
    int32_t tokens;  //!< 1 to 1024
    int32_t type;    //!< EDGECOLOR_FLOAT32 or EDGECOLOR_FLOAT16
    int32_t mode;    //!< EDGECOLOR_ANNEALED_MEAN or EDGECOLOR_MODE
} EdgecolorDecode;

//! Softmax, warp of the past, blend, reduction to ab, in one kernel. NumPy twin: edgecolor/stages/logits_to_ab.py.
//! Allocates nothing, waits for nothing, uses only `stream`; may be captured into a CUDA graph.
//! Returns cudaErrorInvalidValue where `decode` breaks what is said above, else the status of the launch.
cudaError_t edgecolorColorTokenDecode(EdgecolorDecode const* decode, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
