// Queries and keys as today's models want them before they meet: RMSNorm over the head, then a rotation by position.
//
// Both parts are optional (null gains, null cosines). Legend: N tokens, H heads, D head width (a multiple of 32).

#include <algorithm>
#include <vector>

#include "vector.h"

namespace {

struct Preparation {
    long rows, tokens, heads, width;  // N = rows x tokens
    const float* gains;               // (2, D): of queries, of keys
    float epsilon;
    const float *cosines, *sines;     // (tokens, D); the sine carries each half's sign
};

inline float inverse_root(const bf16* head, long width, float epsilon) {
    __m512 squares = _mm512_setzero_ps();
    for (long d = 0; d < width; d += LANES) {
        const __m512 x = load_bf16(head + d);
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    return 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + epsilon);
}

}  // namespace

// (N, 3, H, D) -> (N, 2, H, D).
extern "C" void prepare_forward(const Preparation* s, const bf16* qkv, bf16* out, int threads) {
    const long D = s->width, half = D / 2;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < s->rows * s->tokens; n++) {
        const float *cosine = s->cosines + n % s->tokens * D, *sine = s->sines + n % s->tokens * D;
        for (long part = 0; part < 2; part++)
            for (long h = 0; h < s->heads; h++) {
                const bf16* from = qkv + ((n * 3 + part) * s->heads + h) * D;
                bf16* to = out + ((n * 2 + part) * s->heads + h) * D;
                const __m512 inverse = _mm512_set1_ps(s->gains ? inverse_root(from, D, s->epsilon) : 1.0f);
                for (long d = 0; d < half; d += LANES) {
                    __m512 a = load_bf16(from + d), b = load_bf16(from + half + d);
                    if (s->gains) {
                        const float* gain = s->gains + part * D;
                        a = _mm512_mul_ps(_mm512_mul_ps(a, inverse), _mm512_loadu_ps(gain + d));
                        b = _mm512_mul_ps(_mm512_mul_ps(b, inverse), _mm512_loadu_ps(gain + half + d));
                    }
                    if (s->cosines) {
                        const __m512 turned = _mm512_fmadd_ps(a, _mm512_loadu_ps(cosine + d), _mm512_mul_ps(b, _mm512_loadu_ps(sine + d)));
                        b = _mm512_fmadd_ps(b, _mm512_loadu_ps(cosine + half + d), _mm512_mul_ps(a, _mm512_loadu_ps(sine + half + d)));
                        a = turned;
                    }
                    store_bf16(to + d, a);
                    store_bf16(to + half + d, b);
                }
            }
    }
}

// In place on the gradient (N, 3, H, D), whose first two parts are of the prepared queries and keys; gains' gradients
// (2, D) are added to what is there.
extern "C" void prepare_backward(const Preparation* s, const bf16* qkv, bf16* gradient, float* gain_gradients, int threads) {
    const long D = s->width, half = D / 2;
    std::vector<float> partial(threads * 2 * D, 0.0f);
#pragma omp parallel num_threads(threads)
    {
        float* own = partial.data() + omp_get_thread_num() * 2 * D;
#pragma omp for schedule(static)
        for (long n = 0; n < s->rows * s->tokens; n++) {
            const float *cosine = s->cosines + n % s->tokens * D, *sine = s->sines + n % s->tokens * D;
            for (long part = 0; part < 2; part++)
                for (long h = 0; h < s->heads; h++) {
                    const long place = ((n * 3 + part) * s->heads + h) * D;
                    const bf16* x = qkv + place;
                    bf16* dx = gradient + place;
                    if (s->cosines)
                        for (long d = 0; d < half; d += LANES) {  // the rotation back
                            const __m512 a = load_bf16(dx + d), b = load_bf16(dx + half + d);
                            store_bf16(dx + d, _mm512_fmadd_ps(a, _mm512_loadu_ps(cosine + d), _mm512_mul_ps(b, _mm512_loadu_ps(sine + half + d))));
                            store_bf16(dx + half + d, _mm512_fmadd_ps(b, _mm512_loadu_ps(cosine + half + d), _mm512_mul_ps(a, _mm512_loadu_ps(sine + d))));
                        }
                    if (!s->gains) continue;
                    const float* gain = s->gains + part * D;
                    const __m512 inverse = _mm512_set1_ps(inverse_root(x, D, s->epsilon));
                    __m512 along = _mm512_setzero_ps();
                    for (long d = 0; d < D; d += LANES) {
                        const __m512 dy = load_bf16(dx + d), normed = _mm512_mul_ps(load_bf16(x + d), inverse);
                        float* sum = own + part * D + d;
                        _mm512_storeu_ps(sum, _mm512_fmadd_ps(dy, normed, _mm512_loadu_ps(sum)));
                        along = _mm512_fmadd_ps(_mm512_mul_ps(dy, _mm512_loadu_ps(gain + d)), normed, along);
                    }
                    const __m512 slope = _mm512_set1_ps(_mm512_reduce_add_ps(along) / D);
                    for (long d = 0; d < D; d += LANES) {
                        const __m512 inner = _mm512_mul_ps(load_bf16(dx + d), _mm512_loadu_ps(gain + d));
                        const __m512 normed = _mm512_mul_ps(load_bf16(x + d), inverse);
                        store_bf16(dx + d, _mm512_mul_ps(_mm512_fnmadd_ps(normed, slope, inner), inverse));
                    }
                }
        }
    }
    for (int thread = 0; s->gains && thread < threads; thread++)
        for (long i = 0; i < 2 * D; i++) gain_gradients[i] += partial[thread * 2 * D + i];
}
