// A whole forward pass of some tokens of some requests over a paged key-value cache, in one call.
//
// Each token comes with its position and the request whose pages it reads and writes; prompts and single new tokens mix
// freely. What is computed of a token is summed in the same order whatever else is in the pass.
//
// Legend: N tokens of the pass, W width, M hidden width of the MLP, H heads, D head width, K inputs of a product.
// Pages hold 16 tokens. Of a layer and head, a page's keys are (D / 2, 16, 2) and its values (16, D); fp32 keys (D, 16).

#include "greatest.h"

namespace {

constexpr long PAGE = 16;

struct Norm {
    const float *gain, *bias;
};

struct Layer {
    Norm attention_norm, mlp_norm;
    Matrix qkv, out, up, down;
    const float *query_gain, *key_gain;  // of RMSNorms over each head, or null
    long window, block;                  // a query sees so many positions, or its own block where it has one
    long group, place;                   // whose pages its keys and values are in, and which of that group's layers it is

    long first(long place) const { return block ? place / block * block : std::max(0l, place - window + 1); }
};

struct Model {
    long kind, layers, width, heads, head_width, hidden, vocab;
    bool norm_first, centred, gated;
    float epsilon, scale;
    const void *tokens, *positions;  // (vocab, W) and (context, W) or null; fp32, or bf16 for the other kinds
    const float *cosines, *sines;    // (context, D) or null; the sine carries each half's sign
    Norm final_norm;
    Matrix head;  // of the kind, but int8 where that is int4
    Screen screen;
    const Layer* layer;
};

struct Pass {
    long count, wanted, table;  // tokens; states asked for; pages of a request at most
    const int32_t *ids, *places, *requests, *which;
    const int32_t* const* tables;  // of each group: (requests, table)
    void* const* caches;           // of each group: (its layers, 2, its pages, H, 16 D)
    const long* pages;             // of each group
    float *states, *logits;  // (wanted, W), and (wanted, vocab) or null
    // Of each wanted state, how many of its greatest logits below `among` are asked for, the others may be -infinity; null
    // where all are.
    const int32_t* greatest;
    long among;
    long* read;  // 16 outputs of the head that were computed for a state, counted; where `greatest` is given
};

template <typename Body>
inline void each_block(long width, Body body) {
    for (long at = 0; at < width; at += BLOCK) body(at);
}

inline void load(const float* from, __m512* x) {
    for (long v = 0; v < VECTORS_OF_BLOCK; v++) x[v] = _mm512_loadu_ps(from + v * LANES);
}

inline void store(float* to, const __m512* x) {
    for (long v = 0; v < VECTORS_OF_BLOCK; v++) _mm512_storeu_ps(to + v * LANES, x[v]);
}

// y(at, 64 values) of the normalised row; a null gain leaves it as it is.
template <typename Body>
inline void normalised(const float* row, const Norm& norm, long width, bool centred, float epsilon, Body y) {
    __m512 x[VECTORS_OF_BLOCK];
    if (!norm.gain) {
        each_block(width, [&](long at) { load(row + at, x), y(at, x); });
        return;
    }
    __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    if (centred)
        for (long i = 0; i < width; i += LANES) sum = _mm512_add_ps(sum, _mm512_loadu_ps(row + i));
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
    for (long i = 0; i < width; i += LANES) {
        const __m512 away = _mm512_sub_ps(_mm512_loadu_ps(row + i), mean);
        squares = _mm512_fmadd_ps(away, away, squares);
    }
    const __m512 inverse = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + epsilon));
    each_block(width, [&](long at) {
        for (long v = 0; v < VECTORS_OF_BLOCK; v++) {
            const long i = at + v * LANES;
            const __m512 away = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + i), mean), inverse);
            const __m512 shift = norm.bias ? _mm512_loadu_ps(norm.bias + i) : _mm512_setzero_ps();
            x[v] = _mm512_fmadd_ps(away, _mm512_loadu_ps(norm.gain + i), shift);
        }
        y(at, x);
    });
}

inline __m512 gelu(__m512 x) {
    const __m512 twice = _mm512_set1_ps(1.5957691216057308f), cube = _mm512_set1_ps(1.5957691216057308f * 0.044715f);
    return _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(x, _mm512_fmadd_ps(_mm512_mul_ps(x, x), cube, twice))));
}

inline __m512 embedded(const void* table, bool low, long at) {
    return low ? load_bf16((const bf16*)table + at) : _mm512_loadu_ps((const float*)table + at);
}

// Queries and keys of one head in place: RMSNorm over it, then the rotation; each where there is one.
inline void prepare(const Model& model, float* head, const float* gain, long place) {
    const long D = model.head_width, half = D / 2;
    if (gain) {
        __m512 squares = _mm512_setzero_ps();
        for (long d = 0; d < D; d += LANES) {
            const __m512 x = _mm512_loadu_ps(head + d);
            squares = _mm512_fmadd_ps(x, x, squares);
        }
        const __m512 inverse = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / D + model.epsilon));
        for (long d = 0; d < D; d += LANES)
            _mm512_storeu_ps(head + d, _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(head + d), inverse), _mm512_loadu_ps(gain + d)));
    }
    if (!model.cosines) return;
    const float *cosine = model.cosines + place * D, *sine = model.sines + place * D;
    for (long d = 0; d < half; d++) {
        const float a = head[d], b = head[half + d];
        head[d] = a * cosine[d] + b * sine[d];
        head[half + d] = b * cosine[half + d] + a * sine[half + d];
    }
}

inline bf16 one_bf16(float x) {
    return (bf16)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(x)), 0);
}

// One head's keys and values in their pages, and what a query makes of them.
template <typename T>
struct Pages {
    const int32_t* tables;
    long table;
    T *keys, *values;  // of this layer: (pages, H, 16 D) each
    long heads, D;

    T* page(T* part, long request, long place, long head) const {
        return part + (tables[request * table + place / PAGE] * heads + head) * PAGE * D;
    }

    void write(long request, long place, long head, const float* key, const float* value) const {
        T *to_keys = page(keys, request, place, head), *to_values = page(values, request, place, head);
        const long inside = place % PAGE;
        for (long d = 0; d < D; d++)
            if constexpr (sizeof(T) == 2) {
                to_keys[(d / 2 * PAGE + inside) * 2 + d % 2] = one_bf16(key[d]);
                to_values[inside * D + d] = one_bf16(value[d]);
            } else {
                to_keys[d * PAGE + inside] = key[d];
                to_values[inside * D + d] = value[d];
            }
    }

    // scores of the 16 keys of a page with a query that is scaled already, as T
    __m512 scores(const T* page, const T* query) const {
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
        if constexpr (sizeof(T) == 2) {
            const int32_t *k = (const int32_t*)page, *q = (const int32_t*)query;
            for (long d = 0; d < D / 2; d += 2) {
                even = _mm512_dpbf16_ps(even, (__m512bh)_mm512_loadu_si512(k + d * PAGE), (__m512bh)_mm512_set1_epi32(q[d]));
                odd = _mm512_dpbf16_ps(odd, (__m512bh)_mm512_loadu_si512(k + (d + 1) * PAGE), (__m512bh)_mm512_set1_epi32(q[d + 1]));
            }
        } else
            for (long d = 0; d < D; d += 2) {
                even = _mm512_fmadd_ps(_mm512_loadu_ps(page + d * PAGE), _mm512_set1_ps(query[d]), even);
                odd = _mm512_fmadd_ps(_mm512_loadu_ps(page + (d + 1) * PAGE), _mm512_set1_ps(query[d + 1]), odd);
            }
        return _mm512_add_ps(even, odd);
    }

    static __m512 value(const T* from) {
        if constexpr (sizeof(T) == 2)
            return load_bf16(from);
        else
            return _mm512_loadu_ps(from);
    }

    // mixed (D,) = softmax(query keys) values over the positions first .. place; `room` holds their weights
    void attend(long request, long place, long head, long first, const float* scaled, float* room, float* mixed) const {
        T query[256];
        for (long d = 0; d < D; d++) {
            if constexpr (sizeof(T) == 2)
                query[d] = one_bf16(scaled[d]);
            else
                query[d] = scaled[d];
        }
        const long start = first / PAGE * PAGE;
        __m512 top = _mm512_set1_ps(-INFINITY);
        for (long at = start; at <= place; at += PAGE) {
            __mmask16 seen = first_lanes(place + 1 - at);
            if (at < first) seen &= (__mmask16)(0xFFFFu << (first - at));
            const __m512 row = _mm512_mask_blend_ps(seen, _mm512_set1_ps(-INFINITY), scores(page(keys, request, at, head), query));
            _mm512_storeu_ps(room + at - start, row);
            top = _mm512_max_ps(top, row);
        }
        const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(top)), log2e = _mm512_set1_ps(LOG2E);
        __m512 total = _mm512_setzero_ps();
        for (long at = start; at <= place; at += PAGE) {
            const __m512 weight = power_of_two(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(room + at - start), most), log2e));
            _mm512_storeu_ps(room + at - start, weight);
            total = _mm512_add_ps(total, weight);
        }
        const __m512 inverse = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(total));
        for (long d = 0; d < D; d += LANES) _mm512_storeu_ps(mixed + d, _mm512_setzero_ps());
        for (long at = start; at <= place; at += PAGE) {
            const T* rows = page(values, request, at, head);
            const long low = std::max(first, at) - at, high = std::min(place + 1 - at, PAGE);
            for (long d = 0; d < D; d += LANES) {
                __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
                for (long key = low; key + 1 < high; key += 2) {
                    even = _mm512_fmadd_ps(_mm512_set1_ps(room[at - start + key]), value(rows + key * D + d), even);
                    odd = _mm512_fmadd_ps(_mm512_set1_ps(room[at - start + key + 1]), value(rows + (key + 1) * D + d), odd);
                }
                if ((high - low) % 2)
                    even = _mm512_fmadd_ps(_mm512_set1_ps(room[at - start + high - 1]), value(rows + (high - 1) * D + d), even);
                _mm512_storeu_ps(mixed + d, _mm512_add_ps(_mm512_loadu_ps(mixed + d), _mm512_add_ps(even, odd)));
            }
        }
        for (long d = 0; d < D; d += LANES) _mm512_storeu_ps(mixed + d, _mm512_mul_ps(_mm512_loadu_ps(mixed + d), inverse));
    }
};

template <Kind kind, typename T>
void run(const Model& model, const Pass& pass, int threads) {
    const long N = pass.count, W = model.width, M = model.hidden, H = model.heads, D = model.head_width;
    const long up_width = model.gated ? 2 * M : 0;
    Room<float> x(N * W), qkv(N * 3 * W), mixed(N * W), gate_up(std::max(1l, N * up_width));
    constexpr Kind of_head = kind == INT4 ? INT8 : kind;
    Rows<kind> inputs(N, W), hidden(N, M);
    Rows<of_head> last(std::max(1l, pass.wanted), W);
    const bool some = kind < INT8 && pass.greatest && pass.logits && pass.wanted;
    Outlook outlook(model.screen, some ? pass.wanted : 0, W, pass.among);
    long longest = 0;
    for (long n = 0; n < N; n++) longest = std::max(longest, (long)pass.places[n] + 2 * PAGE);
    Room<float> rooms(threads * longest);

#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num(), team = omp_get_num_threads();
        const long first = N * thread / team, stop = N * (thread + 1) / team;
        const long first_head = N * H * thread / team, stop_head = N * H * (thread + 1) / team;
        float* room = rooms.data + thread * longest;
        const Norm none = {nullptr, nullptr};

        // the rows' inputs to the next product, from the residual stream; `back` writes the normalised row into it
        auto take = [&](const Norm& norm, bool back) {
            for (long n = first; n < stop; n++)
                normalised(x.data + n * W, norm, W, model.centred, model.epsilon, [&](long at, const __m512* y) {
                    if (back) store(x.data + n * W + at, y);
                    inputs.put(n, at, y);
                });
        };
        auto add_to_stream = [&](long n, long at, const __m512* y) {
            float* to = x.data + n * W + at;
            for (long v = 0; v < VECTORS_OF_BLOCK; v++)
                _mm512_storeu_ps(to + v * LANES, _mm512_add_ps(_mm512_loadu_ps(to + v * LANES), y[v]));
        };

        for (long n = first; n < stop; n++)
            for (long i = 0; i < W; i += LANES) {
                __m512 sum = embedded(model.tokens, kind != FP32, pass.ids[n] * W + i);
                if (model.positions) sum = _mm512_add_ps(sum, embedded(model.positions, kind != FP32, pass.places[n] * W + i));
                _mm512_storeu_ps(x.data + n * W + i, sum);
            }
        if (!model.norm_first) take(none, false);
        for (long l = 0; l < model.layers; l++) {
            const Layer& layer = model.layer[l];
            const long size = pass.pages[layer.group] * H * PAGE * D;
            T* keys = (T*)pass.caches[layer.group] + 2 * layer.place * size;
            const Pages<T> pages = {pass.tables[layer.group], pass.table, keys, keys + size, H, D};
            if (model.norm_first) take(layer.attention_norm, false);
#pragma omp barrier
            product<kind>(layer.qkv, inputs, N, thread, team, [&](long n, long at, const __m512* y) { store(qkv.data + n * 3 * W + at, y); });
#pragma omp barrier
            for (long i = first_head; i < stop_head; i++) {
                const long n = i / H, h = i % H;
                float *query = qkv.data + n * 3 * W + h * D, *key = query + W, *value = key + W;
                prepare(model, query, layer.query_gain, pass.places[n]);
                prepare(model, key, layer.key_gain, pass.places[n]);
                for (long d = 0; d < D; d++) query[d] *= model.scale;
                pages.write(pass.requests[n], pass.places[n], h, key, value);
            }
#pragma omp barrier
#pragma omp for schedule(dynamic, 4)
            for (long i = 0; i < N * H; i++) {
                const long n = i / H, h = i % H;
                pages.attend(pass.requests[n], pass.places[n], h, layer.first(pass.places[n]), qkv.data + n * 3 * W + h * D, room, mixed.data + n * W + h * D);
            }
            for (long n = first; n < stop; n++)
                normalised(mixed.data + n * W, none, W, false, 0, [&](long at, const __m512* y) { inputs.put(n, at, y); });
#pragma omp barrier
            product<kind>(layer.out, inputs, N, thread, team, add_to_stream);
#pragma omp barrier
            take(model.norm_first ? layer.mlp_norm : layer.attention_norm, !model.norm_first);
#pragma omp barrier
            if (model.gated) {
                product<kind>(layer.up, inputs, N, thread, team, [&](long n, long at, const __m512* y) { store(gate_up.data + n * up_width + at, y); });
#pragma omp barrier
                for (long n = first; n < stop; n++)
                    each_block(M, [&](long at) {
                        __m512 gate[VECTORS_OF_BLOCK], up[VECTORS_OF_BLOCK];
                        load(gate_up.data + n * up_width + at, gate);
                        load(gate_up.data + n * up_width + M + at, up);
                        for (long v = 0; v < VECTORS_OF_BLOCK; v++) up[v] = _mm512_mul_ps(_mm512_mul_ps(gate[v], sigmoid(gate[v])), up[v]);
                        hidden.put(n, at, up);
                    });
            } else
                product<kind>(layer.up, inputs, N, thread, team, [&](long n, long at, const __m512* y) {
                    __m512 bent[VECTORS_OF_BLOCK];
                    for (long v = 0; v < VECTORS_OF_BLOCK; v++) bent[v] = gelu(y[v]);
                    hidden.put(n, at, bent);
                });
#pragma omp barrier
            product<kind>(layer.down, hidden, N, thread, team, add_to_stream);
#pragma omp barrier
            if (!model.norm_first) take(layer.mlp_norm, true);
        }
#pragma omp barrier
        for (long i = pass.wanted * thread / team; i < pass.wanted * (thread + 1) / team; i++) {
            normalised(x.data + pass.which[i] * W, model.norm_first ? model.final_norm : none, W, model.centred, model.epsilon,
                       [&](long at, const __m512* y) { last.put(i, at, y), store(pass.states + i * W + at, y); });
            if constexpr (kind < INT8)
                if (some) outlook.put(i, last);
        }
#pragma omp barrier
        auto tell = [&](long n, long at, __m512 y) {
            if (at < model.vocab) _mm512_mask_storeu_ps(pass.logits + n * model.vocab + at, first_lanes(model.vocab - at), y);
        };
        if constexpr (kind < INT8)
            if (some) outlook.tell(model.head, last, pass.greatest, thread, team, tell);
        if (!some && pass.logits && pass.wanted)
            product<of_head>(model.head, last, pass.wanted, thread, team, [&](long n, long at, const __m512* y) {
                for (long v = 0; v < VECTORS_OF_BLOCK; v++) tell(n, at + v * LANES, y[v]);
            });
    }
    if (some) *pass.read = outlook.read;
}

}  // namespace

extern "C" void inference_pass(const Model* model, const Pass* pass, int threads) {
    switch (model->kind) {
        case FP32: return run<FP32, float>(*model, *pass, threads);
        case BF16: return run<BF16, bf16>(*model, *pass, threads);
        case INT8: return run<INT8, bf16>(*model, *pass, threads);
        case INT4: return run<INT4, bf16>(*model, *pass, threads);
    }
}
