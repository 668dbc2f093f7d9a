//! IEEE half precision by its bits, as much of it as the kernels use.
#pragma once

#include <stdint.h>
#include <string.h>

struct __half {
    uint16_t bits;
};

inline float __half2float(__half h) {
    uint32_t const sign = uint32_t(h.bits & 0x8000) << 16, exponent = h.bits >> 10 & 31, mantissa = h.bits & 1023;
    float magnitude;
    if (exponent == 31) {
        uint32_t const special = 0x7f800000u | mantissa << 13;
        memcpy(&magnitude, &special, 4);
    } else {
        magnitude = __builtin_ldexpf(float(exponent ? mantissa + 1024 : mantissa), int(exponent ? exponent : 1) - 25);
    }
    uint32_t word;
    memcpy(&word, &magnitude, 4);
    word |= sign;
    memcpy(&magnitude, &word, 4);
    return magnitude;
}

inline __half __float2half_rn(float x) {
    uint32_t word;
    memcpy(&word, &x, 4);
    uint16_t const sign = uint16_t(word >> 16 & 0x8000);
    float const magnitude = __builtin_fabsf(x);
    if (magnitude != magnitude) return {uint16_t(sign | 0x7e00)};
    if (magnitude >= 65520.f) return {uint16_t(sign | 0x7c00)};
    int exponent = 0;
    __builtin_frexpf(magnitude, &exponent);
    exponent = exponent - 11 < -24 ? -24 : exponent - 11;  // of the last place that is kept
    uint32_t const kept = uint32_t(__builtin_rintf(__builtin_ldexpf(magnitude, -exponent)));
    // A mantissa that rounds up to 2048 carries into the exponent by itself; below 1024 the number is subnormal.
    return {uint16_t(sign | (kept < 1024 ? kept : (uint32_t(exponent + 24) << 10) + kept))};
}
