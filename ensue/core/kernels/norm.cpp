// LayerNorm and RMSNorm of fp32 rows into bf16, and their gradients; the mean of an RMSNorm's row counts as 0.
//
// Legend: N rows, W width (any). Rows are shared out among the threads.

#include <algorithm>
#include <vector>

#include "vector.h"

namespace {

template <typename Body>
inline void each_vector(long width, Body body) {
    for (long i = 0; i < width; i += LANES) body(i, first_lanes(width - i));
}

}  // namespace

// out = (x - mean) x inverse x gain + bias, inverse = 1 / sqrt(variance + epsilon); mean and inverse are kept, (N,) each.
extern "C" void norm_forward(const float* x, const float* gain, const float* bias, bool centred, float epsilon,
                             long rows, long width, bf16* out, float* means, float* inverses, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < rows; n++) {
        const float* row = x + n * width;
        __m512 sum = _mm512_setzero_ps();
        if (centred)
            each_vector(width, [&](long i, __mmask16 lanes) { sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, row + i)); });
        const float mean = _mm512_reduce_add_ps(sum) / width;
        __m512 squares = _mm512_setzero_ps();
        each_vector(width, [&](long i, __mmask16 lanes) {
            const __m512 away = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, row + i), _mm512_set1_ps(mean));
            squares = _mm512_fmadd_ps(away, away, squares);
        });
        const float inverse = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + epsilon);
        each_vector(width, [&](long i, __mmask16 lanes) {
            const __m512 away = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, row + i), _mm512_set1_ps(mean));
            const __m512 shift = bias ? _mm512_maskz_loadu_ps(lanes, bias + i) : _mm512_setzero_ps();
            const __m512 y = _mm512_fmadd_ps(_mm512_mul_ps(away, _mm512_set1_ps(inverse)), _mm512_maskz_loadu_ps(lanes, gain + i), shift);
            store_bf16(out + n * width + i, y, lanes);
        });
        means[n] = mean;
        inverses[n] = inverse;
    }
}

// dx (N, W) and the gradients of gain and bias (W,), which are added to what is there.
extern "C" void norm_backward(const bf16* outer, const float* x, const float* gain, const float* means,
                              const float* inverses, bool centred, long rows, long width, float* dx, float* gain_gradient,
                              float* bias_gradient, int threads) {
    std::vector<float> partial(2 * threads * width, 0.0f);
#pragma omp parallel num_threads(threads)
    {
        float* own_gain = partial.data() + 2 * omp_get_thread_num() * width;
        float* own_bias = own_gain + width;
#pragma omp for schedule(static)
        for (long n = 0; n < rows; n++) {
            const float* row = x + n * width;
            const __m512 mean = _mm512_set1_ps(means[n]), inverse = _mm512_set1_ps(inverses[n]);
            __m512 sum = _mm512_setzero_ps(), along = _mm512_setzero_ps();
            each_vector(width, [&](long i, __mmask16 lanes) {
                const __m512 dy = load_bf16(outer + n * width + i, lanes);
                const __m512 normed = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, row + i), mean), inverse);
                const __m512 inner = _mm512_mul_ps(dy, _mm512_maskz_loadu_ps(lanes, gain + i));
                sum = _mm512_add_ps(sum, inner);
                along = _mm512_fmadd_ps(inner, normed, along);
                _mm512_mask_storeu_ps(own_gain + i, lanes, _mm512_fmadd_ps(dy, normed, _mm512_maskz_loadu_ps(lanes, own_gain + i)));
                _mm512_mask_storeu_ps(own_bias + i, lanes, _mm512_add_ps(dy, _mm512_maskz_loadu_ps(lanes, own_bias + i)));
            });
            const __m512 offset = _mm512_set1_ps(centred ? _mm512_reduce_add_ps(sum) / width : 0.0f);
            const __m512 slope = _mm512_set1_ps(_mm512_reduce_add_ps(along) / width);
            each_vector(width, [&](long i, __mmask16 lanes) {
                const __m512 dy = load_bf16(outer + n * width + i, lanes);
                const __m512 normed = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, row + i), mean), inverse);
                const __m512 inner = _mm512_sub_ps(_mm512_mul_ps(dy, _mm512_maskz_loadu_ps(lanes, gain + i)), offset);
                _mm512_mask_storeu_ps(dx + n * width + i, lanes, _mm512_mul_ps(_mm512_fnmadd_ps(normed, slope, inner), inverse));
            });
        }
    }
    for (int thread = 0; thread < threads; thread++)
        for (long i = 0; i < width; i++) {
            gain_gradient[i] += partial[2 * thread * width + i];
            if (bias_gradient) bias_gradient[i] += partial[(2 * thread + 1) * width + i];
        }
}
