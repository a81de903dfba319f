// Small matrix products of bf16 pairs into fp32, for operands that are already in cache.
//
// C (M, N) = or += A (M, 2P) B (2P, N). A pair is two bf16 that are neighbours in the summed dimension, read as one
// 32-bit word. A's word (m, p) is at a[m * row + p * pair]; B's word (p, n) at b[p * b_row + n]. N is a multiple of 16.
#pragma once

#include "vector.h"

template <int ROWS, int VECTORS>
inline void product_tile(
    long pairs, const int32_t* a, long row, long pair, const int32_t* b, long b_row, float* c, long c_row, bool add) {
    __m512 sums[ROWS][VECTORS];
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < VECTORS; n++)
            sums[m][n] = add ? _mm512_loadu_ps(c + m * c_row + n * LANES) : _mm512_setzero_ps();
    for (long p = 0; p < pairs; p++) {
        __m512bh right[VECTORS];
        for (int n = 0; n < VECTORS; n++) right[n] = (__m512bh)_mm512_loadu_si512(b + p * b_row + n * LANES);
        for (int m = 0; m < ROWS; m++) {
            const __m512bh left = (__m512bh)_mm512_set1_epi32(a[m * row + p * pair]);
            for (int n = 0; n < VECTORS; n++) sums[m][n] = _mm512_dpbf16_ps(sums[m][n], left, right[n]);
        }
    }
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < VECTORS; n++) _mm512_storeu_ps(c + m * c_row + n * LANES, sums[m][n]);
}

template <int VECTORS>
inline void product_columns(long rows, long pairs, const int32_t* a, long row, long pair, const int32_t* b, long b_row,
                            float* c, long c_row, bool add) {
    long m = 0;
    for (; m + 6 <= rows; m += 6) product_tile<6, VECTORS>(pairs, a + m * row, row, pair, b, b_row, c + m * c_row, c_row, add);
    a += m * row;
    c += m * c_row;
    switch (rows - m) {
        case 5: product_tile<5, VECTORS>(pairs, a, row, pair, b, b_row, c, c_row, add); break;
        case 4: product_tile<4, VECTORS>(pairs, a, row, pair, b, b_row, c, c_row, add); break;
        case 3: product_tile<3, VECTORS>(pairs, a, row, pair, b, b_row, c, c_row, add); break;
        case 2: product_tile<2, VECTORS>(pairs, a, row, pair, b, b_row, c, c_row, add); break;
        case 1: product_tile<1, VECTORS>(pairs, a, row, pair, b, b_row, c, c_row, add); break;
        default: break;
    }
}

inline void product(long rows, long columns, long pairs, const int32_t* a, long row, long pair, const int32_t* b,
                    long b_row, float* c, long c_row, bool add) {
    long n = 0;
    for (; n + 4 * LANES <= columns; n += 4 * LANES)
        product_columns<4>(rows, pairs, a, row, pair, b + n, b_row, c + n, c_row, add);
    switch ((columns - n) / LANES) {
        case 3: product_columns<3>(rows, pairs, a, row, pair, b + n, b_row, c + n, c_row, add); break;
        case 2: product_columns<2>(rows, pairs, a, row, pair, b + n, b_row, c + n, c_row, add); break;
        case 1: product_columns<1>(rows, pairs, a, row, pair, b + n, b_row, c + n, c_row, add); break;
        default: break;
    }
}
