// Softmax cross-entropy of bf16 logits, row by row, each turned into its own gradient where it stands.

#include <algorithm>

#include "vector.h"

// losses[n] = weights[n] x (logsumexp(row n) - row n[target]), in nats. With `differentiate`, row n becomes
// weights[n] x (softmax - one hot). Rows are `stride` apart.
extern "C" void cross_entropy(bf16* logits, long stride, long rows, long columns, const int64_t* targets,
                              const float* weights, float* losses, bool differentiate, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < rows; n++) {
        bf16* row = logits + n * stride;
        const __m512 low = _mm512_set1_ps(-INFINITY), scale = _mm512_set1_ps(LOG2E);
        __m512 top = low;
        for (long i = 0; i < columns; i += LANES) {
            const __mmask16 lanes = first_lanes(columns - i);
            top = _mm512_mask_max_ps(top, lanes, top, load_bf16(row + i, lanes));
        }
        const float highest = _mm512_reduce_max_ps(top) * LOG2E;
        __m512 sum = _mm512_setzero_ps();
        for (long i = 0; i < columns; i += LANES) {
            const __mmask16 lanes = first_lanes(columns - i);
            const __m512 exponent = _mm512_fmsub_ps(load_bf16(row + i, lanes), scale, _mm512_set1_ps(highest));
            sum = _mm512_mask_add_ps(sum, lanes, sum, power_of_two(exponent));
        }
        const float total = highest + std::log2(_mm512_reduce_add_ps(sum));
        uint32_t bits = (uint32_t)row[targets[n]] << 16;
        float right;
        std::memcpy(&right, &bits, sizeof right);
        losses[n] = weights[n] * (total * LN2 - right);
        if (!differentiate) continue;
        const __m512 weight = _mm512_set1_ps(weights[n]);
        for (long i = 0; i < columns; i += LANES) {
            const __mmask16 lanes = first_lanes(columns - i);
            const __m512 exponent = _mm512_fmsub_ps(load_bf16(row + i, lanes), scale, _mm512_set1_ps(total));
            store_bf16(row + i, _mm512_mul_ps(power_of_two(exponent), weight), lanes);
        }
        const float chosen = weights[n] * (std::exp2(right * LOG2E - total) - 1.0f);
        store_bf16(row + targets[n], _mm512_set1_ps(chosen), 1);
    }
}

// sums = or += terms, over `count` values: products come as bf16, and what is summed over chunks is fp32.
extern "C" void add_bf16(const bf16* terms, float* sums, long count, bool add, int threads) {
    constexpr long PIECE = 1 << 14;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long start = 0; start < count; start += PIECE)
        for (long i = start; i < std::min(count, start + PIECE); i += LANES) {
            const __mmask16 lanes = first_lanes(count - i);
            const __m512 before = add ? _mm512_maskz_loadu_ps(lanes, sums + i) : _mm512_setzero_ps();
            _mm512_mask_storeu_ps(sums + i, lanes, _mm512_add_ps(before, load_bf16(terms + i, lanes)));
        }
}
