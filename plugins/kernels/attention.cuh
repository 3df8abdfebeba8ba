// Attention: what all of its kernels share. How the work is cut, who sees whom, the running softmax, what goes out.
//
// Heads of q that share a head of k and v are neighbours, so that their queries are rows of one matrix [h / h_kv * S_q,
// D]. A block takes some rows of it, a tile, and goes over the keys that any of them sees, some at a time: scores, then
// the softmax as far as it is known (its largest score and its sum), then what that part of v adds to the output. The
// scores never leave the block. Four kernels:
//   attention_append  the new keys and values into the cache, before all else                attention_cache.cu
//   attention_tensor  FP16 and BF16 by tensor cores, sums and softmax in FP32                attention.cu
//   attention_plain   FP32, any size of a head                                               attention_plain.cu
//   attention_merge   adds up what several blocks made of their shares of a tile's keys      attention_cache.cu
// Prefill and decode are one kernel: where few rows leave multiprocessors idle, a tile's keys are split over blocks,
// whose parts go through the workspace to attention_merge.
#pragma once
#include "edgekit_kernels.h"
#include "ek/device.cuh"

namespace ek::attention {

// The score of a key that is not seen.
EK_DEVICE float never() { return -infinity(); }

// The arguments of every kernel.
struct Arguments {
    ek_attention problem;
    void const* k;   // [N, h_kv, room, D]: what is attended to, the cache or the new keys
    void const* v;   // [N, h_kv, room, D_v]
    int room;        // keys of one head that k and v have place for
    int splits;      // blocks of one tile
    float* partial;  // [splits, N * h * S_q, D_v + 2]: sums of values, their largest score, the sum of weights
};

EK_DEVICE float to_float(float x) { return x; }

template <typename T>
EK_DEVICE T narrow(float x);
template <>
EK_DEVICE float narrow<float>(float x) {
    return x;
}
template <>
EK_DEVICE half_t narrow<half_t>(float x) {
    return to_half(x);
}
template <>
EK_DEVICE bfloat_t narrow<bfloat_t>(float x) {
    return to_bfloat(x);
}

EK_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
EK_DEVICE int larger(int a, int b) { return a > b ? a : b; }
EK_DEVICE int rounds(int value, int step) { return (value + step - 1) / step; }

// How many keys are in the cache before this launch.
EK_DEVICE int past_keys(Arguments const& a) {
    ek_attention const& p = a.problem;
    if (p.capacity == 0) return p.past;
    return larger(0, smaller(*p.past_length, p.capacity - p.keys));
}

// A block's work: some rows of one head of k and v, and its share of the keys that any of them sees.
struct Tile {
    int batch;
    int head;       // of k and v, over all batches: n * h_kv + its number
    int rows;       // of that head: h / h_kv * S_q
    int first_row;  // of the tile
    int split;
    int length;  // keys that this batch has
    int offset;  // the position of query 0
    int begin;   // the block's keys, begin .. end - 1; all but the last block end with a whole `tile_keys`
    int end;

    EK_DEVICE Tile(Arguments const& a, int tile_rows, int tile_keys) {
        ek_attention const& p = a.problem;
        rows = p.heads / p.kv_heads * p.queries;
        int const tiles = rounds(rows, tile_rows), tile = blockIdx.x / a.splits;
        split = blockIdx.x % a.splits;
        head = tile / tiles;
        batch = head / p.kv_heads;
        first_row = (tiles - 1 - tile % tiles) * tile_rows;  // the last rows see the most keys: they start first
        int const past = past_keys(a), all = past + p.keys;
        length = p.key_lengths ? larger(0, smaller(p.key_lengths[batch], all)) : all;
        offset = p.position == EK_AT_END ? length - p.queries : past;
        share_keys(a, tile_rows, tile_keys);
    }
    // Of rows and queries, [N * h * S_q, ..]: where this head's begin.
    EK_DEVICE size_t query_row() const { return size_t(head) * rows; }

  private:
    EK_DEVICE void share_keys(Arguments const& a, int tile_rows, int tile_keys);
};

// The first key that a position sees, and the one behind the last.
EK_DEVICE int first_seen(ek_attention const& p, int position) {
    return p.window_left < 0 || position < p.window_left ? 0 : position - p.window_left;
}
EK_DEVICE int last_seen(ek_attention const& p, int position, int length) {
    if (!p.causal && p.window_right < 0) return length;
    int const right = p.causal ? 0 : smaller(p.window_right, length + p.queries);
    return larger(0, smaller(length, position + right + 1));
}

EK_DEVICE void Tile::share_keys(Arguments const& a, int tile_rows, int tile_keys) {
    ek_attention const& p = a.problem;
    int const last_row = smaller(first_row + tile_rows, rows) - 1;
    bool const one_head = first_row / p.queries == last_row / p.queries;  // else each query may be among the rows
    int const first = one_head ? first_row % p.queries : 0;
    int const last = one_head ? last_row % p.queries : p.queries - 1;
    int const seen = first_seen(p, offset + first);
    int const stop = last_seen(p, offset + last, length);
    int const share = rounds(rounds(larger(0, stop - seen), tile_keys), a.splits) * tile_keys;
    begin = seen + split * share;
    end = smaller(stop, begin + share);
}

// One query of a tile.
struct Query {
    int first, last;  // the keys that it sees: first .. last - 1
    long long bias;   // where its bias begins

    EK_DEVICE Query(ek_attention const& p, Tile const& at, int row) : first(0), last(0), bias(0) {
        if (row >= at.rows) return;
        int const query = row % p.queries, head = at.head % p.kv_heads * (p.heads / p.kv_heads) + row / p.queries;
        first = first_seen(p, at.offset + query);
        last = last_seen(p, at.offset + query, at.length);
        bias = at.batch * p.bias_strides[0] + head * p.bias_strides[1] + query * p.bias_strides[2];
    }
    EK_DEVICE bool sees(int key) const { return key >= first && key < last; }
    EK_DEVICE bool sees_all(int begin, int end) const { return begin >= first && end <= last; }
};

// A score and its bias; keys that are not seen have none.
template <typename T>
EK_DEVICE float with_bias(ek_attention const& p, Query const& query, int key, float score) {
    if (!query.sees(key)) return never();
    long long const place = query.bias + key * p.bias_strides[3];
    float const bias = p.bias_type == EK_FLOAT32 ? static_cast<float const*>(p.bias)[place]
                                                 : to_float(static_cast<T const*>(p.bias)[place]);
    return bias == never() ? never() : score + bias;
}

// q k^T to what the softmax takes. `scores.each` calls a function with every score, its query and its key; when not
// `masked` all of these queries see all of these keys. Each step asks once for all scores whether it is needed.
template <typename T, typename Scores>
EK_DEVICE void finish_scores(ek_attention const& p, bool masked, Scores const& scores) {
    scores.each([&](float& x, Query const&, int) { x *= p.scale; });
    if (p.softcap > 0.f) scores.each([&](float& x, Query const&, int) { x = p.softcap * ek::tanh(x / p.softcap); });
    if (p.bias)
        scores.each([&](float& x, Query const& query, int key) { x = with_bias<T>(p, query, key, x); });
    else if (masked)
        scores.each([&](float& x, Query const& query, int key) { x = query.sees(key) ? x : never(); });
}

// The softmax of one query over the keys so far: weights are e^(score - largest), and `sum` is that of all weights.
struct Softmax {
    float largest = never(), sum = 0.f;
    float base = 0.f;  // `largest`, once a key was seen

    // Takes in a larger score; what was summed up before has to be multiplied with the result.
    EK_DEVICE float raise(float score) {
        float const before = base;
        bool const first = largest == never();
        largest = fmaxf(largest, score);
        base = largest == never() ? 0.f : largest;
        float const factor = first ? 0.f : ek::exp(before - base);
        sum *= factor;
        return factor;
    }
    EK_DEVICE float weight(float score) const { return ek::exp(score - base); }
    EK_DEVICE float inverse() const { return sum > 0.f ? 1.f / sum : 0.f; }
};

// Where a block that has a share of the keys leaves its part of a row: [D_v + 2].
EK_DEVICE float* partial_row(Arguments const& a, Tile const& at, int row) {
    ek_attention const& p = a.problem;
    size_t const all = size_t(p.batch) * p.heads * p.queries;
    return a.partial + (at.split * all + at.query_row() + row) * (p.value_size + 2);
}

EK_DEVICE void write_softmax(Arguments const& a, float* part, Softmax const& softmax) {
    part[a.problem.value_size] = softmax.largest;
    part[a.problem.value_size + 1] = softmax.sum;
}

}  // namespace ek::attention
