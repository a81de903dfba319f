// The greatest logits, exactly, without reading most of the head: a coarse product with int8 weights tells which outputs
// can be among them, and only those are computed from the weights themselves.
//
// An output's logit is x w. The coarse weights are c, w - m rounded to int8, where m is the mean of all outputs' weights:
// x m is the same for all, so it has no say in which is the greatest. |x (w - m) - x c| is at most |x| times the output's
// slack: |w - m - c|, and what rounding can add. So what lies further below another than both slacks reach is not above it.
#pragma once

#include <functional>

#include "packed.h"

struct Screen {
    Matrix coarse;       // its weights are null where there is none
    const float* slack;  // of each output, in whole blocks
};

// What can be said of the logits of some rows from the coarse product.
class Outlook {
public:
    // Of the outputs below `among`; the others do not count.
    Outlook(const Screen& screen, long rows, long width, long among)
        : screen(screen), rows(rows), among(among), outputs((screen.coarse.outputs + BLOCK - 1) / BLOCK * BLOCK),
          inputs(2 * rows, width), lengths(rows), coarse(rows * outputs), least(rows * outputs / LANES), bars(rows) {}

    long read = 0;  // vectors of 16 outputs that were computed, once `tell` is done

    // Row n as the exact product reads it, in two parts: rounded to int8, and what that left, rounded again.
    template <Kind kind>
    void put(long n, const Rows<kind>& exact) {
        __m512 squares = _mm512_setzero_ps();
        for (long at = 0; at < inputs.width; at += BLOCK) {
            __m512 x[VECTORS_OF_BLOCK];
            read_row(exact, n, at, x);
            inputs.put(2 * n, at, x);
            const long place = 2 * n * inputs.width + at;
            const __m512 scale = _mm512_set1_ps(inputs.scales.data[place / GROUP]);
            for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
                squares = _mm512_fmadd_ps(x[v], x[v], squares);
                const __m512i whole = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)(inputs.values.data + place + v * LANES)));
                x[v] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), scale, x[v]);
            }
            inputs.put(2 * n + 1, at, x);
        }
        lengths.data[n] = std::sqrt(_mm512_reduce_add_ps(squares)) * 1.00001f;
    }

    // done(row, first of 16 outputs, their logits) for all of them: exact where one of the 16 may be among the row's
    // `greatest`, else -infinity. Every thread calls it, once all rows are put.
    template <Kind kind, typename Done>
    void tell(const Matrix& head, const Rows<kind>& exact, const int32_t* greatest, int thread, int threads, Done done) {
        look(thread, threads);
#pragma omp barrier
        for (long n = rows * thread / threads; n < rows * (thread + 1) / threads; n++) bars.data[n] = bar(n, greatest[n]);
#pragma omp barrier
        const long vectors = outputs / LANES;
        long mine = 0;
        for (long i = vectors * thread / threads; i < vectors * (thread + 1) / threads; i++)
            for (long n = 0; n < rows; n++) {
                const bool may = may_reach(n, i * LANES);
                mine += may;
                done(n, i * LANES, may ? one_vector(head, i / VECTORS_OF_BLOCK, i % VECTORS_OF_BLOCK, exact, n) : _mm512_set1_ps(-INFINITY));
            }
#pragma omp atomic
        read += mine;
    }

private:
    const Screen& screen;
    const long rows, among, outputs;
    Rows<INT8> inputs;
    Room<float> lengths, coarse, least, bars;  // least: what one of 16 outputs is not below

    void look(int thread, int threads) {
        product<INT8>(screen.coarse, inputs, 2 * rows, thread, threads, [&](long part, long at, const __m512* y) {
            const long n = part / 2;
            const __m512 length = _mm512_set1_ps(lengths.data[n]), none = _mm512_set1_ps(-INFINITY);  // also for no number
            for (long v = 0, i = at; v < VECTORS_OF_BLOCK; v++, i += LANES) {
                float* to = coarse.data + n * outputs + i;
                if (part % 2 == 0) {
                    _mm512_storeu_ps(to, y[v]);
                    continue;
                }
                const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(to), y[v]);
                const __m512 low = _mm512_fnmadd_ps(length, _mm512_loadu_ps(screen.slack + i), sum);
                _mm512_storeu_ps(to, sum);
                least.data[(n * outputs + i) / LANES] = _mm512_reduce_max_ps(_mm512_mask_max_ps(none, counted(i), low, none));
            }
        });
    }

    // What the `greatest`-th logit of a row is not below: as many vectors have one that is not.
    float bar(long n, long greatest) const {
        const long count = outputs / LANES;
        const float* from = least.data + n * count;
        if (greatest == 1) return *std::max_element(from, from + count);
        Room<float> sorted(count);
        std::copy(from, from + count, sorted.data);
        std::nth_element(sorted.data, sorted.data + greatest - 1, sorted.data + count, std::greater<float>());
        return sorted.data[greatest - 1];
    }

    // Whether one of 16 outputs may reach the row's bar; what is no number may.
    bool may_reach(long n, long at) const {
        const __m512 most = _mm512_fmadd_ps(_mm512_set1_ps(lengths.data[n]), _mm512_loadu_ps(screen.slack + at), _mm512_loadu_ps(coarse.data + n * outputs + at));
        return counted(at) & _mm512_cmp_ps_mask(most, _mm512_set1_ps(bars.data[n]), _CMP_NLT_UQ);
    }

    __mmask16 counted(long at) const { return first_lanes(std::max(0l, among - at)); }
};
