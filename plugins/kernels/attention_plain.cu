// Attention in FP32, for every size of a head up to 256. See attention.cuh for the whole.
//
// A block has 16 rows of queries, four a warp, and 32 keys at a time, in shared memory: for the scores a lane is a key,
// for the output it is every 32nd value of a head.
#include "kernels/attention.cuh"

namespace ek::attention {

constexpr int kPlainWarps = 4, kPlainRows = 4;  // rows of a warp
constexpr int kPlainKeys = kLanes;
constexpr int kMostParts = 8;  // of a head: 256 / 32

// What a block has in shared memory.
struct PlainShared {
    float* q;        // [warp, D, kPlainRows]
    float* weights;  // [warp, kPlainKeys, kPlainRows]
    float* rows;     // [kPlainKeys, stride], of k and then of v; stride is odd, so that lanes meet different banks

    EK_DEVICE PlainShared(unsigned char* memory, int head_size) {
        int const warp = threadIdx.x / kLanes;
        auto* const first = reinterpret_cast<float*>(memory);
        q = first + warp * head_size * kPlainRows;
        weights = first + (kPlainWarps * head_size + warp * kPlainKeys) * kPlainRows;
        rows = first + kPlainWarps * (head_size + kPlainKeys) * kPlainRows;
    }
};

// `count` rows of `size` numbers into shared memory, and zeros up to kPlainKeys rows.
EK_DEVICE void load_rows(float* to, float const* from, int count, int size) {
    for (int row = threadIdx.x / kLanes; row < kPlainKeys; row += kPlainWarps)
        for (int d = threadIdx.x % kLanes; d < size; d += kLanes)
            to[row * (size | 1) + d] = row < count ? from[size_t(row) * size + d] : 0.f;
}

// A warp's own queries, each beside the others; zeros for those that are not there.
EK_DEVICE void load_queries(ek_attention const& p, Tile const& at, int first_row, float* to) {
    auto const* const from = static_cast<float const*>(p.q) + (at.query_row() + first_row) * p.head_size;
    for (int r = 0; r < kPlainRows; ++r)
        for (int d = threadIdx.x % kLanes; d < p.head_size; d += kLanes)
            to[d * kPlainRows + r] = first_row + r < at.rows ? from[r * p.head_size + d] : 0.f;
}

// A lane's scores: one key, four queries.
struct PlainScores {
    float (&scores)[kPlainRows];
    Query const (&queries)[kPlainRows];
    int key;

    template <typename Change>
    EK_DEVICE void each(Change const& change) const {
#pragma unroll
        for (int r = 0; r < kPlainRows; ++r) change(scores[r], queries[r], key);
    }
};

// scores[r] = q[r] . k of this lane's key.
EK_DEVICE void plain_scores(PlainShared const& shared, int size, float (&scores)[kPlainRows]) {
    float const* const key = shared.rows + threadIdx.x % kLanes * (size | 1);
    for (float& sum : scores) sum = 0.f;
    for (int d = 0; d < size; ++d)
#pragma unroll
        for (int r = 0; r < kPlainRows; ++r) scores[r] += shared.q[d * kPlainRows + r] * key[d];
}

// Scores to weights, of all lanes in shared memory; sums are multiplied with what a larger score asks for.
EK_DEVICE void plain_softmax(PlainShared const& shared, float const (&scores)[kPlainRows],
                             Softmax (&softmax)[kPlainRows], float (&sums)[kPlainRows][kMostParts]) {
#pragma unroll
    for (int r = 0; r < kPlainRows; ++r) {
        float largest = scores[r];
        for (int mask = kLanes / 2; mask > 0; mask /= 2) largest = fmaxf(largest, shuffle_xor(largest, mask));
        float const factor = softmax[r].raise(largest);
        for (float& sum : sums[r]) sum *= factor;
        float const weight = softmax[r].weight(scores[r]);
        softmax[r].sum += weight;
        shared.weights[threadIdx.x % kLanes * kPlainRows + r] = weight;
    }
}

EK_DEVICE void plain_values(PlainShared const& shared, int size, float (&sums)[kPlainRows][kMostParts]) {
    int const lane = threadIdx.x % kLanes;
    for (int key = 0; key < kPlainKeys; ++key)
#pragma unroll
        for (int part = 0; part < kMostParts; ++part) {
            int const d = part * kLanes + lane;
            float const value = d < size ? shared.rows[key * (size | 1) + d] : 0.f;
#pragma unroll
            for (int r = 0; r < kPlainRows; ++r) sums[r][part] += shared.weights[key * kPlainRows + r] * value;
        }
}

// A row's output; or, when other blocks have shares of its keys, its part for attention_merge.
EK_DEVICE void write_plain(Arguments const& a, Tile const& at, int row, Softmax const& softmax,
                           float const (&sums)[kMostParts]) {
    int const size = a.problem.value_size, lane = threadIdx.x % kLanes;
    auto* const o = static_cast<float*>(a.problem.o) + (at.query_row() + row) * size;
    float* const to = a.splits == 1 ? o : partial_row(a, at, row);
    float const factor = a.splits == 1 ? softmax.inverse() : 1.f;
#pragma unroll
    for (int part = 0; part < kMostParts; ++part)
        if (part * kLanes + lane < size) to[part * kLanes + lane] = sums[part] * factor;
    if (a.splits > 1 && lane == 0) write_softmax(a, to, softmax);
}

__global__ void __launch_bounds__(kPlainWarps* kLanes) attention_plain(Arguments a) {
    EK_SHARED(memory);
    ek_attention const& p = a.problem;
    Tile const at(a, kPlainWarps * kPlainRows, kPlainKeys);
    PlainShared const shared(memory, p.head_size);
    int const lane = threadIdx.x % kLanes, first_row = at.first_row + threadIdx.x / kLanes * kPlainRows;
    load_queries(p, at, first_row, shared.q);

    auto const* const k = static_cast<float const*>(a.k) + size_t(at.head) * a.room * p.head_size;
    auto const* const v = static_cast<float const*>(a.v) + size_t(at.head) * a.room * p.value_size;
    float sums[kPlainRows][kMostParts] = {}, scores[kPlainRows];
    Softmax softmax[kPlainRows];
    Query const queries[kPlainRows] = {
        {p, at, first_row}, {p, at, first_row + 1}, {p, at, first_row + 2}, {p, at, first_row + 3}};
    for (int begin = at.begin; begin < at.end; begin += kPlainKeys) {
        __syncthreads();
        load_rows(shared.rows, k + size_t(begin) * p.head_size, at.length - begin, p.head_size);
        __syncthreads();
        plain_scores(shared, p.head_size, scores);
        __syncthreads();
        load_rows(shared.rows, v + size_t(begin) * p.value_size, at.length - begin, p.value_size);
        finish_scores<float>(p, true, PlainScores{scores, queries, begin + lane});
        plain_softmax(shared, scores, softmax, sums);
        __syncthreads();  // v and the weights are there
        plain_values(shared, p.value_size, sums);
    }

#pragma unroll
    for (int r = 0; r < kPlainRows; ++r) {
        for (int mask = kLanes / 2; mask > 0; mask /= 2) softmax[r].sum += shuffle_xor(softmax[r].sum, mask);
        if (first_row + r < at.rows) write_plain(a, at, first_row + r, softmax[r], sums[r]);
    }
}

}  // namespace ek::attention

#ifndef __CUDACC_RTC__
#include "ek/launch.h"
#include "kernels/attention_launches.h"

namespace ek::attention {
char const* launch_plain(Arguments const& arguments, Launch const& how) {
    return launch(attention_plain, how, arguments);
}
}  // namespace ek::attention
#endif
