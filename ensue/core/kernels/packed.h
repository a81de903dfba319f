// Rows times a matrix whose weights lie in the order they are read: blocks of 64 outputs, inputs one after the other.
//
//   fp32  (blocks, K, 64) float            rows (N, K) float
//   bf16  (blocks, K / 2, 64, 2) bf16      rows (N, K) bf16
//   int8  (blocks, K / 4, 64, 4) uint8     rows (N, K) int8, a scale for every 64 of them
//   int4  (blocks, K / 64, 2176) uint8     rows as for int8
//
// int8 weights are stored as w + 128, so that one instruction multiplies four of them with four signed inputs; what is
// too much is 128 times the inputs' sum. int4 weights are w + 8, with a scale of every output for each 64 inputs: 64 bf16
// scales, then (8, 64, 4) bytes, of which the lower halves are inputs 0 .. 31 and the upper ones 32 .. 63. Every output is summed over its inputs in order, whatever other rows there
// are, so a row's result does not depend on its company.
#pragma once

#include <algorithm>

#include "vector.h"

enum Kind { FP32 = 0, BF16 = 1, INT8 = 2, INT4 = 3 };
constexpr long BLOCK = 64, GROUP = 64, VECTORS_OF_BLOCK = BLOCK / LANES;

struct Matrix {
    const void* weights;
    const float* scales;  // of each output, int8 only
    const float* bias;    // or null
    long inputs, outputs;
};

// N rows of inputs as a product reads them.
template <Kind kind>
struct Rows;

template <>
struct Rows<FP32> {
    Rows(long rows, long width) : width(width), values(rows * width) {}
    long width;
    Room<float> values;
    void put(long n, long at, const __m512* x) {
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) _mm512_storeu_ps(values.data + n * width + at + v * LANES, x[v]);
    }
};

template <>
struct Rows<BF16> {
    Rows(long rows, long width) : width(width), values(rows * width) {}
    long width;
    Room<bf16> values;
    void put(long n, long at, const __m512* x) {
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) store_bf16(values.data + n * width + at + v * LANES, x[v]);
    }
};

template <>
struct Rows<INT8> {
    Rows(long rows, long width)
        : width(width), values(rows * width), scales(rows * width / GROUP), excess(rows * width / GROUP) {}
    long width;
    Room<int8_t> values;
    Room<float> scales;
    Room<int32_t> excess;  // -128 times the sum of a group's inputs
    void put(long n, long at, const __m512* x) {
        __m512 largest = _mm512_abs_ps(x[0]);
        for (long v = 1; v < VECTORS_OF_BLOCK; v++) largest = _mm512_max_ps(largest, _mm512_abs_ps(x[v]));
        const float top = _mm512_reduce_max_ps(largest);
        const __m512 inverse = _mm512_set1_ps(top > 0 ? 127.0f / top : 0.0f);
        __m512i sum = _mm512_setzero_si512();
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
            const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(x[v], inverse));
            sum = _mm512_add_epi32(sum, whole);
            _mm_storeu_si128((__m128i*)(values.data + n * width + at + v * LANES), _mm512_cvtepi32_epi8(whole));
        }
        const long group = (n * width + at) / GROUP;
        scales.data[group] = top / 127.0f;
        excess.data[group] = -128 * _mm512_reduce_add_epi32(sum);
    }
};

template <>
struct Rows<INT4> : Rows<INT8> {
    using Rows<INT8>::Rows;
};

template <int ROWS>
inline void tile(const Matrix& matrix, long block, const Rows<FP32>& rows, long first, __m512 (*sums)[VECTORS_OF_BLOCK]) {
    const long K = matrix.inputs;
    const float* w = (const float*)matrix.weights + block * K * BLOCK;
    const float* x = rows.values.data + first * K;
    for (long k = 0; k < K; k++, w += BLOCK) {
        __m512 right[VECTORS_OF_BLOCK];
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) right[v] = _mm512_loadu_ps(w + v * LANES);
        for (int m = 0; m < ROWS; m++) {
            const __m512 left = _mm512_set1_ps(x[m * K + k]);
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) sums[m][v] = _mm512_fmadd_ps(left, right[v], sums[m][v]);
        }
    }
}

template <int ROWS>
inline void tile(const Matrix& matrix, long block, const Rows<BF16>& rows, long first, __m512 (*sums)[VECTORS_OF_BLOCK]) {
    const long K = matrix.inputs;
    const bf16* w = (const bf16*)matrix.weights + block * K * BLOCK;
    const int32_t* x = (const int32_t*)(rows.values.data + first * K);
    for (long k = 0; k < K / 2; k++, w += 2 * BLOCK) {
        __m512bh right[VECTORS_OF_BLOCK];
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) right[v] = (__m512bh)_mm512_loadu_si512(w + 2 * v * LANES);
        for (int m = 0; m < ROWS; m++) {
            const __m512bh left = (__m512bh)_mm512_set1_epi32(x[m * (K / 2) + k]);
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) sums[m][v] = _mm512_dpbf16_ps(sums[m][v], left, right[v]);
        }
    }
}

template <int ROWS>
inline void tile(const Matrix& matrix, long block, const Rows<INT8>& rows, long first, __m512 (*sums)[VECTORS_OF_BLOCK]) {
    const long K = matrix.inputs, groups = K / GROUP;
    const uint8_t* w = (const uint8_t*)matrix.weights + block * K * BLOCK;
    const int32_t* x = (const int32_t*)(rows.values.data + first * K);
    const float* scale = rows.scales.data + first * groups;
    const int32_t* excess = rows.excess.data + first * groups;
    for (long g = 0; g < groups; g++) {
        __m512i whole[ROWS][VECTORS_OF_BLOCK];
        for (int m = 0; m < ROWS; m++)
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) whole[m][v] = _mm512_set1_epi32(excess[m * groups + g]);
        for (long k = g * GROUP / 4; k < (g + 1) * GROUP / 4; k++, w += 4 * BLOCK) {
            __m512i right[VECTORS_OF_BLOCK];
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) right[v] = _mm512_loadu_si512(w + 4 * v * LANES);
            for (int m = 0; m < ROWS; m++) {
                const __m512i left = _mm512_set1_epi32(x[m * (K / 4) + k]);
                for (long v = 0; v < VECTORS_OF_BLOCK; v++) whole[m][v] = _mm512_dpbusd_epi32(whole[m][v], right[v], left);
            }
        }
        for (int m = 0; m < ROWS; m++) {
            const __m512 size = _mm512_set1_ps(scale[m * groups + g]);
            for (long v = 0; v < VECTORS_OF_BLOCK; v++)
                sums[m][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[m][v]), size, sums[m][v]);
        }
    }
    for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
        const __m512 size = _mm512_loadu_ps(matrix.scales + block * BLOCK + v * LANES);
        for (int m = 0; m < ROWS; m++) sums[m][v] = _mm512_mul_ps(sums[m][v], size);
    }
}

template <int ROWS>
inline void tile(const Matrix& matrix, long block, const Rows<INT4>& rows, long first, __m512 (*sums)[VECTORS_OF_BLOCK]) {
    constexpr long QUADS = GROUP / 8, BYTES = 2 * BLOCK + GROUP * BLOCK / 2;
    const long K = matrix.inputs, groups = K / GROUP;
    const uint8_t* w = (const uint8_t*)matrix.weights + block * groups * BYTES;
    const int32_t* x = (const int32_t*)(rows.values.data + first * K);
    const __m512i half = _mm512_set1_epi8(15);
    for (long g = 0; g < groups; g++, w += BYTES) {
        const uint8_t* bytes = w + 2 * BLOCK;
        __m512i whole[ROWS][VECTORS_OF_BLOCK];
        for (int m = 0; m < ROWS; m++) {
            const int32_t excess = rows.excess.data[(first + m) * groups + g] / 16;
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) whole[m][v] = _mm512_set1_epi32(excess);
        }
        for (long k = 0; k < QUADS; k++)
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
                const __m512i both = _mm512_loadu_si512(bytes + (k * VECTORS_OF_BLOCK + v) * 64);
                const __m512i low = _mm512_and_si512(both, half), high = _mm512_and_si512(_mm512_srli_epi16(both, 4), half);
                for (int m = 0; m < ROWS; m++) {
                    const int32_t* inputs = x + m * (K / 4) + g * (GROUP / 4) + k;
                    whole[m][v] = _mm512_dpbusd_epi32(whole[m][v], low, _mm512_set1_epi32(inputs[0]));
                    whole[m][v] = _mm512_dpbusd_epi32(whole[m][v], high, _mm512_set1_epi32(inputs[QUADS]));
                }
            }
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
            const __m512 size = load_bf16((const bf16*)w + v * LANES);
            for (int m = 0; m < ROWS; m++) {
                const __m512 scale = _mm512_mul_ps(size, _mm512_set1_ps(rows.scales.data[(first + m) * groups + g]));
                sums[m][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[m][v]), scale, sums[m][v]);
            }
        }
    }
}

template <int ROWS, Kind kind, typename Done>
inline void finished_tile(const Matrix& matrix, long block, const Rows<kind>& rows, long first, Done done) {
    __m512 sums[ROWS][VECTORS_OF_BLOCK];
    for (int m = 0; m < ROWS; m++)
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) sums[m][v] = _mm512_setzero_ps();
    tile<ROWS>(matrix, block, rows, first, sums);
    for (int m = 0; m < ROWS; m++) {
        if (matrix.bias)
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
                const long at = block * BLOCK + v * LANES;
                sums[m][v] = _mm512_add_ps(sums[m][v], _mm512_maskz_loadu_ps(first_lanes(std::max(0l, matrix.outputs - at)), matrix.bias + at));
            }
        done(first + m, block * BLOCK, sums[m]);
    }
}

// 64 values of a row as a product reads them.
inline void read_row(const Rows<FP32>& rows, long n, long at, __m512* x) {
    for (long v = 0; v < VECTORS_OF_BLOCK; v++) x[v] = _mm512_loadu_ps(rows.values.data + n * rows.width + at + v * LANES);
}

inline void read_row(const Rows<BF16>& rows, long n, long at, __m512* x) {
    for (long v = 0; v < VECTORS_OF_BLOCK; v++) x[v] = load_bf16(rows.values.data + n * rows.width + at + v * LANES);
}

// What `tile` makes of one row and one vector of a block, the same bits.
inline __m512 one_vector(const Matrix& matrix, long block, long v, const Rows<FP32>& rows, long row) {
    const long K = matrix.inputs;
    const float *w = (const float*)matrix.weights + block * K * BLOCK + v * LANES, *x = rows.values.data + row * K;
    __m512 sum = _mm512_setzero_ps();
    for (long k = 0; k < K; k++) sum = _mm512_fmadd_ps(_mm512_set1_ps(x[k]), _mm512_loadu_ps(w + k * BLOCK), sum);
    return sum;
}

inline __m512 one_vector(const Matrix& matrix, long block, long v, const Rows<BF16>& rows, long row) {
    const long K = matrix.inputs;
    const bf16* w = (const bf16*)matrix.weights + block * K * BLOCK + 2 * v * LANES;
    const int32_t* x = (const int32_t*)(rows.values.data + row * K);
    __m512 sum = _mm512_setzero_ps();
    for (long k = 0; k < K / 2; k++)
        sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(x[k]), (__m512bh)_mm512_loadu_si512(w + 2 * k * BLOCK));
    return sum;
}

// done(row, first output, its 64 sums with the bias) for each block of this thread's share, blocks shared out in order.
template <Kind kind, typename Done>
inline void product(const Matrix& matrix, const Rows<kind>& rows, long count, int thread, int threads, Done done) {
    constexpr int MOST = kind >= INT8 ? 3 : 6;
    const long blocks = (matrix.outputs + BLOCK - 1) / BLOCK;
    for (long block = blocks * thread / threads; block < blocks * (thread + 1) / threads; block++) {
        long n = 0;
        for (; n + MOST <= count; n += MOST) finished_tile<MOST>(matrix, block, rows, n, done);
        switch (count - n) {
            case 5: finished_tile<5>(matrix, block, rows, n, done); break;
            case 4: finished_tile<4>(matrix, block, rows, n, done); break;
            case 3: finished_tile<3>(matrix, block, rows, n, done); break;
            case 2: finished_tile<2>(matrix, block, rows, n, done); break;
            case 1: finished_tile<1>(matrix, block, rows, n, done); break;
            default: break;
        }
    }
}
