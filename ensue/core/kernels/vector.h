// Sixteen floats at a time: bf16 in and out, powers of two, and sums, for AVX-512 with bf16 products.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
#include <memory>
#include <omp.h>

using bf16 = uint16_t;
constexpr int LANES = 16;
constexpr float LOG2E = 1.4426950408889634f;
constexpr float LN2 = 0.6931471805599453f;

inline __m512 load_bf16(const bf16* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}

inline __m512 load_bf16(const bf16* from, __mmask16 lanes) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from)), 16));
}

inline __m256i to_bf16(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

inline void store_bf16(bf16* to, __m512 x) { _mm256_storeu_si256((__m256i*)to, to_bf16(x)); }

inline void store_bf16(bf16* to, __m512 x, __mmask16 lanes) { _mm256_mask_storeu_epi16(to, lanes, to_bf16(x)); }

inline __mmask16 first_lanes(long count) { return count >= LANES ? 0xFFFF : (__mmask16)((1u << count) - 1); }

// 2^x to about 2e-7 of its value (a polynomial on [-1/2, 1/2], then the exponent added); 0 far below.
inline __m512 power_of_two(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-150.0f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(1.3398874e-3f);
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(9.6184374e-3f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(5.5503325e-2f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(2.4022648e-1f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(6.9314720e-1f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

inline __m512 sigmoid(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f);
    return _mm512_div_ps(one, _mm512_add_ps(one, power_of_two(_mm512_mul_ps(x, _mm512_set1_ps(-LOG2E)))));
}

// Memory aligned to a cache line, freed with its owner.
template <typename T>
struct Room {
    explicit Room(size_t count) : data((T*)std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64)) {}
    ~Room() { std::free(data); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    T* const data;
};
