// The MLP's nonlinearities on bf16 arrays, and their gradients: GELU in its tanh form, and SwiGLU's gate.
//
// 0.5 (1 + tanh u) = sigmoid(2u), so GELU(x) = x sigmoid(2u) with u = sqrt(2 / pi) (x + 0.044715 x^3).

#include <algorithm>

#include "vector.h"

namespace {

constexpr float TWICE = 1.5957691216057308f, CUBE = 0.044715f;
constexpr long PIECE = 4096;

inline __m512 gate_of(__m512 x, __m512 square) {
    const __m512 bent = _mm512_fmadd_ps(square, _mm512_set1_ps(TWICE * CUBE), _mm512_set1_ps(TWICE));
    return sigmoid(_mm512_mul_ps(x, bent));
}

// Calls body(i, lanes) over `count` values, in pieces that threads share.
template <typename Body>
inline void spread(long count, int threads, Body body) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long start = 0; start < count; start += PIECE)
        for (long i = start; i < std::min(count, start + PIECE); i += LANES) body(i, first_lanes(count - i));
}

}  // namespace

extern "C" void gelu_forward(const bf16* x, bf16* out, long count, int threads) {
    spread(count, threads, [=](long i, __mmask16 lanes) {
        const __m512 value = load_bf16(x + i, lanes);
        store_bf16(out + i, _mm512_mul_ps(value, gate_of(value, _mm512_mul_ps(value, value))), lanes);
    });
}

extern "C" void gelu_backward(const bf16* outer, const bf16* x, bf16* dx, long count, int threads) {
    spread(count, threads, [=](long i, __mmask16 lanes) {
        const __m512 value = load_bf16(x + i, lanes), square = _mm512_mul_ps(value, value);
        const __m512 gate = gate_of(value, square);
        // d(x gate)/dx = gate + x gate (1 - gate) d(2u)/dx
        const __m512 bend = _mm512_fmadd_ps(square, _mm512_set1_ps(3.0f * TWICE * CUBE), _mm512_set1_ps(TWICE));
        const __m512 rest = _mm512_mul_ps(_mm512_mul_ps(value, bend), _mm512_fnmadd_ps(gate, gate, gate));
        store_bf16(dx + i, _mm512_mul_ps(load_bf16(outer + i, lanes), _mm512_add_ps(gate, rest)), lanes);
    });
}

// (N, 2M) gate and up -> (N, M): silu(gate) x up.
extern "C" void swiglu_forward(const bf16* gate_up, bf16* out, long rows, long width, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < rows; n++)
        for (long i = 0; i < width; i += LANES) {
            const __mmask16 lanes = first_lanes(width - i);
            const __m512 gate = load_bf16(gate_up + 2 * n * width + i, lanes);
            const __m512 up = load_bf16(gate_up + (2 * n + 1) * width + i, lanes);
            store_bf16(out + n * width + i, _mm512_mul_ps(_mm512_mul_ps(gate, sigmoid(gate)), up), lanes);
        }
}

extern "C" void swiglu_backward(const bf16* outer, const bf16* gate_up, bf16* gradient, long rows, long width, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < rows; n++)
        for (long i = 0; i < width; i += LANES) {
            const __mmask16 lanes = first_lanes(width - i);
            const __m512 gate = load_bf16(gate_up + 2 * n * width + i, lanes);
            const __m512 up = load_bf16(gate_up + (2 * n + 1) * width + i, lanes);
            const __m512 dy = load_bf16(outer + n * width + i, lanes);
            const __m512 half = sigmoid(gate), silu = _mm512_mul_ps(gate, half);
            // d silu = sigmoid + silu (1 - sigmoid)
            const __m512 slope = _mm512_add_ps(half, _mm512_fnmadd_ps(silu, half, silu));
            store_bf16(gradient + 2 * n * width + i, _mm512_mul_ps(_mm512_mul_ps(dy, up), slope), lanes);
            store_bf16(gradient + (2 * n + 1) * width + i, _mm512_mul_ps(dy, silu), lanes);
        }
}
