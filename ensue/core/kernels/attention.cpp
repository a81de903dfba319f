// Attention where each query sees one run of keys, first[t] to last[t]: causal, banded, two-way, and documents apart.
//
// Tiles of keys are passed over with a running maximum and sum (Dao et al. 2022, FlashAttention), so that no more than
// a tile of scores is ever held; the backward pass makes the probabilities again from the saved log-sum-exp.
// Legend: B rows, H heads, T queries, S keys, D head width (a multiple of 16). Heads are shared out among the threads.

#include <algorithm>
#include <vector>

#include "product.h"

namespace {

constexpr long QUERIES = 64, KEYS = 64;

struct View {  // of a (B, T, H, D) array with strides in elements; D is contiguous
    bf16* data;
    long batch, token, head;
    bf16* at(long b, long h, long t) const { return data + b * batch + h * head + t * token; }
};

struct Shape {
    long rows, heads, queries, keys, width;
    float scale;
    const int32_t *first, *last;  // (1 or B, T)
    long bounds_stride;           // 0 where all rows share their bounds
};

// Pairs along D: to[p][key], for keys as columns. Keys past the end are zero.
void pack_transposed(const View& from, long b, long h, long start, long count, long width, int32_t* to) {
    for (long key = 0; key < KEYS; key++) {
        const int32_t* row = (const int32_t*)from.at(b, h, start + key);
        for (long p = 0; p < width / 2; p++) to[p * KEYS + key] = key < count ? row[p] : 0;
    }
}

// Pairs along the tokens: to[t / 2][d], for D as columns. Tokens past the end are zero.
void pack_pairs(const View& from, long b, long h, long start, long count, long tokens, long width, int32_t* to) {
    for (long t = 0; t < tokens; t += 2) {
        const bf16* even = t < count ? from.at(b, h, start + t) : nullptr;
        const bf16* odd = t + 1 < count ? from.at(b, h, start + t + 1) : nullptr;
        for (long d = 0; d < width; d += LANES) {
            const __m512i low = even ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(even + d))) : _mm512_setzero_si512();
            const __m512i high = odd ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(odd + d))) : _mm512_setzero_si512();
            _mm512_storeu_si512(to + t / 2 * width + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    }
}

inline __mmask16 visible(long key, long first, long last) {
    const __m512i keys = _mm512_add_epi32(_mm512_set1_epi32((int)key), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    return _mm512_cmpge_epi32_mask(keys, _mm512_set1_epi32((int)first)) & _mm512_cmple_epi32_mask(keys, _mm512_set1_epi32((int)last));
}

void forward_head(const Shape& s, long b, long h, const View& q, const View& k, const View& v, const View& out, float* lse) {
    const long D = s.width, blocks = (s.keys + KEYS - 1) / KEYS;
    Room<int32_t> keys(blocks * KEYS * D / 2), values(blocks * KEYS * D / 2);
    for (long block = 0; block < blocks; block++) {
        const long start = block * KEYS, count = std::min(KEYS, s.keys - start), place = block * KEYS * D / 2;
        pack_transposed(k, b, h, start, count, D, keys.data + place);
        pack_pairs(v, b, h, start, count, KEYS, D, values.data + place);
    }
    Room<float> scores(QUERIES * KEYS), mixed(QUERIES * D);
    Room<bf16> weights(QUERIES * KEYS);
    const int32_t *first = s.first + b * s.bounds_stride, *last = s.last + b * s.bounds_stride;
    const __m512 scale = _mm512_set1_ps(s.scale * LOG2E);
    float maximum[QUERIES], sum[QUERIES];
    for (long start = 0; start < s.queries; start += QUERIES) {
        const long count = std::min(QUERIES, s.queries - start);
        std::fill(maximum, maximum + QUERIES, -INFINITY);
        std::fill(sum, sum + QUERIES, 0.0f);
        std::memset(mixed.data, 0, QUERIES * D * sizeof(float));
        for (long block = first[start] / KEYS; block <= last[start + count - 1] / KEYS; block++) {
            const long key = block * KEYS, place = block * KEYS * D / 2;
            product(count, KEYS, D / 2, (const int32_t*)q.at(b, h, start), q.token / 2, 1, keys.data + place, KEYS, scores.data, KEYS, false);
            for (long r = 0; r < count; r++) {
                const long low = first[start + r], high = last[start + r];
                const bool whole = low <= key && key + KEYS - 1 <= high;
                __m512 x[KEYS / LANES], top = _mm512_set1_ps(-INFINITY);
                for (int i = 0; i < KEYS / LANES; i++) {
                    x[i] = _mm512_mul_ps(_mm512_loadu_ps(scores.data + r * KEYS + i * LANES), scale);
                    if (!whole) x[i] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), visible(key + i * LANES, low, high), x[i]);
                    top = _mm512_max_ps(top, x[i]);
                }
                const float highest = std::max(maximum[r], _mm512_reduce_max_ps(top));
                bf16* to = weights.data + r * KEYS;
                if (highest == -INFINITY) {  // this query sees nothing up to here
                    std::memset(to, 0, KEYS * sizeof(bf16));
                    continue;
                }
                __m512 added = _mm512_setzero_ps();
                for (int i = 0; i < KEYS / LANES; i++) {
                    const __m512 weight = power_of_two(_mm512_sub_ps(x[i], _mm512_set1_ps(highest)));
                    added = _mm512_add_ps(added, weight);
                    store_bf16(to + i * LANES, weight);
                }
                if (highest > maximum[r]) {
                    const float shrink = maximum[r] == -INFINITY ? 0.0f : std::exp2(maximum[r] - highest);
                    maximum[r] = highest;
                    sum[r] *= shrink;
                    for (long d = 0; d < D; d += LANES) {
                        float* at = mixed.data + r * D + d;
                        _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(shrink)));
                    }
                }
                sum[r] += _mm512_reduce_add_ps(added);
            }
            product(count, D, KEYS / 2, (const int32_t*)weights.data, KEYS / 2, 1, values.data + place, D, mixed.data, D, true);
        }
        for (long r = 0; r < count; r++) {
            const __m512 share = _mm512_set1_ps(sum[r] > 0.0f ? 1.0f / sum[r] : 0.0f);  // none, where nothing is seen
            for (long d = 0; d < D; d += LANES)
                store_bf16(out.at(b, h, start + r) + d, _mm512_mul_ps(_mm512_loadu_ps(mixed.data + r * D + d), share));
            lse[(b * s.heads + h) * s.queries + start + r] = maximum[r] + std::log2(sum[r]);
        }
    }
}

void backward_head(const Shape& s, long b, long h, const View& q, const View& k, const View& v, const View& out,
                   const View& outer, const float* all_lse, const View& dq, const View& dk, const View& dv) {
    const long D = s.width, T = s.queries, tile = QUERIES * D / 2, groups = (T + QUERIES - 1) / QUERIES;
    const float* lse = all_lse + (b * s.heads + h) * T;
    const int32_t *first = s.first + b * s.bounds_stride, *last = s.last + b * s.bounds_stride;
    Room<int32_t> queries(groups * tile), outers(groups * tile);
    Room<float> query_gradient(groups * QUERIES * D), shared(groups * QUERIES);
    std::memset(query_gradient.data, 0, groups * QUERIES * D * sizeof(float));
    for (long group = 0; group < groups; group++) {
        const long start = group * QUERIES, count = std::min(QUERIES, T - start);
        pack_pairs(q, b, h, start, count, QUERIES, D, queries.data + group * tile);
        pack_pairs(outer, b, h, start, count, QUERIES, D, outers.data + group * tile);
        for (long r = 0; r < count; r++) {  // the softmax's own term: sum of outer x output
            __m512 sum = _mm512_setzero_ps();
            for (long d = 0; d < D; d += LANES)
                sum = _mm512_fmadd_ps(load_bf16(outer.at(b, h, start + r) + d), load_bf16(out.at(b, h, start + r) + d), sum);
            shared.data[start + r] = _mm512_reduce_add_ps(sum);
        }
    }
    Room<int32_t> keys(KEYS * D / 2), values(KEYS * D / 2), key_pairs(KEYS * D / 2);
    Room<int32_t> weight_pairs(QUERIES / 2 * KEYS), slope_pairs(QUERIES / 2 * KEYS);
    Room<bf16> slopes(QUERIES * KEYS);
    Room<float> scores(QUERIES * KEYS), dots(QUERIES * KEYS), key_gradient(KEYS * D), value_gradient(KEYS * D);
    const __m512 to_exponent = _mm512_set1_ps(s.scale * LOG2E), scale = _mm512_set1_ps(s.scale);
    for (long key = 0; key < s.keys; key += KEYS) {
        const long held = std::min(KEYS, s.keys - key), end = key + held - 1;
        pack_transposed(k, b, h, key, held, D, keys.data);
        pack_transposed(v, b, h, key, held, D, values.data);
        pack_pairs(k, b, h, key, held, KEYS, D, key_pairs.data);
        std::memset(key_gradient.data, 0, KEYS * D * sizeof(float));
        std::memset(value_gradient.data, 0, KEYS * D * sizeof(float));
        const long from = std::lower_bound(last, last + T, (int32_t)key) - last;   // the first query that reaches here
        const long until = std::upper_bound(first, first + T, (int32_t)end) - first;  // and the first that is past it
        for (long group = from / QUERIES; group * QUERIES < until; group++) {
            const long start = group * QUERIES, count = std::min(QUERIES, T - start);
            product(count, KEYS, D / 2, (const int32_t*)q.at(b, h, start), q.token / 2, 1, keys.data, KEYS, scores.data, KEYS, false);
            product(count, KEYS, D / 2, (const int32_t*)outer.at(b, h, start), outer.token / 2, 1, values.data, KEYS, dots.data, KEYS, false);
            for (long r = 0; r < QUERIES; r += 2) {
                for (long i = 0; i < KEYS; i += LANES) {
                    __m256i weight[2], slope[2];
                    for (int odd = 0; odd < 2; odd++) {
                        const long row = r + odd, t = start + row;
                        if (row >= count) {
                            weight[odd] = slope[odd] = _mm256_setzero_si256();
                            continue;
                        }
                        const __m512 exponent = _mm512_fmsub_ps(_mm512_loadu_ps(scores.data + row * KEYS + i), to_exponent, _mm512_set1_ps(lse[t]));
                        __m512 p = power_of_two(exponent);
                        if (first[t] > key || last[t] < key + KEYS - 1) p = _mm512_maskz_mov_ps(visible(key + i, first[t], last[t]), p);
                        const __m512 centred = _mm512_sub_ps(_mm512_loadu_ps(dots.data + row * KEYS + i), _mm512_set1_ps(shared.data[t]));
                        weight[odd] = to_bf16(p);
                        slope[odd] = to_bf16(_mm512_mul_ps(_mm512_mul_ps(p, centred), scale));
                        _mm256_storeu_si256((__m256i*)(slopes.data + row * KEYS + i), slope[odd]);
                    }
                    const long place = r / 2 * KEYS + i;
                    _mm512_storeu_si512(weight_pairs.data + place, _mm512_or_si512(_mm512_cvtepu16_epi32(weight[0]), _mm512_slli_epi32(_mm512_cvtepu16_epi32(weight[1]), 16)));
                    _mm512_storeu_si512(slope_pairs.data + place, _mm512_or_si512(_mm512_cvtepu16_epi32(slope[0]), _mm512_slli_epi32(_mm512_cvtepu16_epi32(slope[1]), 16)));
                }
            }
            product(KEYS, D, QUERIES / 2, weight_pairs.data, 1, KEYS, outers.data + group * tile, D, value_gradient.data, D, true);
            product(KEYS, D, QUERIES / 2, slope_pairs.data, 1, KEYS, queries.data + group * tile, D, key_gradient.data, D, true);
            product(count, D, KEYS / 2, (const int32_t*)slopes.data, KEYS / 2, 1, key_pairs.data, D, query_gradient.data + start * D, D, true);
        }
        for (long r = 0; r < held; r++)
            for (long d = 0; d < D; d += LANES) {
                store_bf16(dk.at(b, h, key + r) + d, _mm512_loadu_ps(key_gradient.data + r * D + d));
                store_bf16(dv.at(b, h, key + r) + d, _mm512_loadu_ps(value_gradient.data + r * D + d));
            }
    }
    for (long t = 0; t < T; t++)
        for (long d = 0; d < D; d += LANES) store_bf16(dq.at(b, h, t) + d, _mm512_loadu_ps(query_gradient.data + t * D + d));
}

}  // namespace

extern "C" void attention_forward(const Shape* shape, const View* q, const View* k, const View* v, const View* out,
                                  float* lse, int threads) {
    const long heads = shape->rows * shape->heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (long i = 0; i < heads; i++) forward_head(*shape, i / shape->heads, i % shape->heads, *q, *k, *v, *out, lse);
}

extern "C" void attention_backward(const Shape* shape, const View* q, const View* k, const View* v, const View* out,
                                   const View* outer, const float* lse, const View* dq, const View* dk,
                                   const View* dv, int threads) {
    const long heads = shape->rows * shape->heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (long i = 0; i < heads; i++)
        backward_head(*shape, i / shape->heads, i % shape->heads, *q, *k, *v, *out, *outer, lse, *dq, *dk, *dv);
}
