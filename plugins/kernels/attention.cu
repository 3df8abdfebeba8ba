// Attention in FP16 and BF16 by tensor cores. See attention.cuh for the whole, ek/real.cuh for who holds what.
//
// A warp has 16 rows of queries; a block has four warps, or one where a tile has no more rows. K and V come in tiles of
// 64 keys (32 where a head is wider than 128) by asynchronous copies, one of each in shared memory: V is on its way
// while Q K^T is multiplied, the next K while the weights are multiplied by V. Heads are padded with zeros to kHead.
#include "kernels/attention.cuh"

namespace ek::attention {

constexpr int kWarpRows = 16;

EK_DEVICE constexpr int tile_keys(int head) { return head > 128 ? 32 : 64; }

// Numbers in shared memory, rows of kHead: the eight behind each row let ldmatrix meet every bank once.
EK_DEVICE constexpr int row_stride(int head) { return head + 8; }

struct Half {
    using Stored = half_t;
    EK_DEVICE static u32 pair(float low, float high) { return pack(to_half(low), to_half(high)); }
    EK_DEVICE static void multiply(float (&d)[4], u32 const (&a)[4], u32 const (&b)[2]) { mma_16x8x16(d, a, b); }
};

struct Bfloat {
    using Stored = bfloat_t;
    EK_DEVICE static u32 pair(float low, float high) { return pack(to_bfloat(low), to_bfloat(high)); }
    EK_DEVICE static void multiply(float (&d)[4], u32 const (&a)[4], u32 const (&b)[2]) { mma_16x8x16_bfloat(d, a, b); }
};

// Rows of `size` numbers into kRows rows of kHead: zeros behind them, and below the `count` that are there.
template <int kRows, int kHead, typename Stored>
EK_DEVICE void copy_rows(Stored* to, Stored const* from, int count, int size) {
    constexpr int kPieces = kHead / 8;
    for (int i = threadIdx.x; i < kRows * kPieces; i += blockDim.x) {
        int const row = i / kPieces, d = i % kPieces * 8;
        bool const there = row < count && d < size;
        copy_async<16>(to + row * row_stride(kHead) + d, there ? from + size_t(row) * size + d : from, there);
    }
}

// scores [16, keys] += q [16, kHead] k^T; `q` is the warp's own rows.
template <typename Format, int kHead, int kTiles>
EK_DEVICE void multiply_keys(typename Format::Stored const* q, typename Format::Stored const* k,
                             float (&scores)[kTiles][4]) {
    constexpr int kStride = row_stride(kHead);
    int const lane = threadIdx.x % kLanes;
    q += lane % 16 * kStride + lane / 16 * 8;
    k += (lane % 8 + lane / 16 * 8) * kStride + lane / 8 % 2 * 8;
#pragma unroll
    for (int d = 0; d < kHead; d += 16) {
        u32 a[4], b[4];
        ldmatrix_x4(a, q + d);
#pragma unroll
        for (int tile = 0; tile < kTiles; tile += 2) {
            ldmatrix_x4(b, k + tile * 8 * kStride + d);
            Format::multiply(scores[tile], a, {b[0], b[1]});
            Format::multiply(scores[tile + 1], a, {b[2], b[3]});
        }
    }
}

// sums [16, kHead] += weights [16, keys] v: the weights lie in registers as the product left the scores.
template <typename Format, int kHead, int kTiles>
EK_DEVICE void multiply_values(float const (&weights)[kTiles][4], typename Format::Stored const* v,
                               float (&sums)[kHead / 8][4]) {
    constexpr int kStride = row_stride(kHead);
    int const lane = threadIdx.x % kLanes;
    v += lane % 16 * kStride + lane / 16 * 8;
#pragma unroll
    for (int tile = 0; tile < kTiles; tile += 2) {
        auto const &left = weights[tile], &right = weights[tile + 1];
        u32 const a[4] = {Format::pair(left[0], left[1]), Format::pair(left[2], left[3]),
                          Format::pair(right[0], right[1]), Format::pair(right[2], right[3])};
#pragma unroll
        for (int d = 0; d < kHead; d += 16) {
            u32 b[4];
            ldmatrix_x4_trans(b, v + tile * 8 * kStride + d);
            Format::multiply(sums[d / 8], a, {b[0], b[1]});
            Format::multiply(sums[d / 8 + 1], a, {b[2], b[3]});
        }
    }
}

// A lane's scores: two queries, and of each eight keys two, `key` and the next.
template <int kTiles>
struct TensorScores {
    float (&scores)[kTiles][4];
    Query const (&queries)[2];
    int key;

    template <typename Change>
    EK_DEVICE void each(Change const& change) const {
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i) change(scores[tile][i], queries[i / 2], key + tile * 8 + i % 2);
    }
};

// A lane's part of its warp's rows: two queries, row and row + 8, and two columns of each eight.
template <typename Stored, int kHead>
struct Lane {
    int row;  // of the tile's head; and row + 8
    Query queries[2];
    Softmax softmax[2];
    float sums[kHead / 8][4] = {};

    EK_DEVICE Lane(ek_attention const& p, Tile const& at, int row)
        : row(row), queries{{p, at, row}, {p, at, row + 8}} {}

    // Products of q and the keys from `key` on become weights; a query's four lanes agree on its largest score.
    template <int kTiles>
    EK_DEVICE void weigh(ek_attention const& p, int key, float (&scores)[kTiles][4]) {
        bool const whole = queries[0].sees_all(key, key + kTiles * 8) && queries[1].sees_all(key, key + kTiles * 8);
        finish_scores<Stored>(p, !whole, TensorScores<kTiles>{scores, queries, key + int(threadIdx.x % 4) * 2});
        float largest[2] = {never(), never()};
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i) largest[i / 2] = fmaxf(largest[i / 2], scores[tile][i]);
        raise(largest);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                scores[tile][i] = softmax[i / 2].weight(scores[tile][i]);
                softmax[i / 2].sum += scores[tile][i];
            }
    }

    EK_DEVICE void add_up_weights() {
#pragma unroll
        for (Softmax& one : softmax)
            for (int mask = 1; mask < 4; mask *= 2) one.sum += shuffle_xor(one.sum, mask);
    }

  private:
    EK_DEVICE void raise(float const (&largest)[2]) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            float of_row = fmaxf(largest[j], shuffle_xor(largest[j], 1));
            of_row = fmaxf(of_row, shuffle_xor(of_row, 2));
            float const factor = softmax[j].raise(of_row);
#pragma unroll
            for (auto& sum : sums) sum[2 * j] *= factor, sum[2 * j + 1] *= factor;
        }
    }
};

// The two rows of a lane; or, when other blocks have shares of their keys, the parts for attention_merge.
template <typename Format, int kHead>
EK_DEVICE void write(Arguments const& a, Tile const& at, Lane<typename Format::Stored, kHead> const& lane) {
    int const size = a.problem.value_size, first = threadIdx.x % 4 * 2;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        int const row = lane.row + 8 * j;
        if (row >= at.rows) continue;
        bool const whole = a.splits == 1;
        float const factor = lane.softmax[j].inverse();
        auto* const o = static_cast<u32*>(a.problem.o) + (at.query_row() + row) * size / 2;
        float* const part = whole ? nullptr : partial_row(a, at, row);
#pragma unroll
        for (int d = 0; d < kHead; d += 8) {
            float const left = lane.sums[d / 8][2 * j], right = lane.sums[d / 8][2 * j + 1];
            if (d >= size) break;
            if (whole)
                o[(d + first) / 2] = Format::pair(left * factor, right * factor);
            else
                part[d + first] = left, part[d + first + 1] = right;
        }
        if (!whole && first == 0) write_softmax(a, part, lane.softmax[j]);
    }
}

template <typename Format, int kHead, int kWarps>
__global__ void __launch_bounds__(kWarps* kLanes, 1) attention_tensor(Arguments a) {
    using Stored = typename Format::Stored;
    constexpr int kKeys = tile_keys(kHead), kRows = kWarps * kWarpRows, kStride = row_stride(kHead);
    EK_SHARED(memory);  // Stored: q [kRows, kStride], k [kKeys, kStride], v [kKeys, kStride]
    auto* const q = reinterpret_cast<Stored*>(memory);
    Stored *const k = q + kRows * kStride, *const v = k + kKeys * kStride;
    ek_attention const& p = a.problem;
    Tile const at(a, kRows, kKeys);
    auto const* const all_k = static_cast<Stored const*>(a.k) + size_t(at.head) * a.room * p.head_size;
    auto const* const all_v = static_cast<Stored const*>(a.v) + size_t(at.head) * a.room * p.value_size;
    int const warp_row = threadIdx.x / kLanes * kWarpRows;
    Lane<Stored, kHead> lane(p, at, at.first_row + warp_row + threadIdx.x % kLanes / 4);

    if (at.begin < at.end) {
        auto const* const all_q = static_cast<Stored const*>(p.q) + (at.query_row() + at.first_row) * p.head_size;
        copy_rows<kRows, kHead>(q, all_q, at.rows - at.first_row, p.head_size);
        copy_rows<kKeys, kHead>(k, all_k + size_t(at.begin) * p.head_size, at.length - at.begin, p.head_size);
        commit_copies();
    }
    for (int key = at.begin; key < at.end; key += kKeys) {
        wait_for_copies<0>();
        __syncthreads();  // k is there, and nobody reads v any more
        copy_rows<kKeys, kHead>(v, all_v + size_t(key) * p.value_size, at.length - key, p.value_size);
        commit_copies();
        float scores[kKeys / 8][4] = {};
        multiply_keys<Format, kHead>(q + warp_row * kStride, k, scores);
        lane.weigh(p, key, scores);
        wait_for_copies<0>();
        __syncthreads();  // v is there, and nobody reads k any more
        int const next = key + kKeys;
        if (next < at.end) {
            copy_rows<kKeys, kHead>(k, all_k + size_t(next) * p.head_size, at.length - next, p.head_size);
            commit_copies();
        }
        multiply_values<Format, kHead>(scores, v, lane.sums);
    }
    lane.add_up_weights();
    write<Format, kHead>(a, at, lane);
}

#define EK_ATTENTION_KERNELS(Format)                                      \
    template __global__ void attention_tensor<Format, 32, 1>(Arguments);  \
    template __global__ void attention_tensor<Format, 32, 4>(Arguments);  \
    template __global__ void attention_tensor<Format, 64, 1>(Arguments);  \
    template __global__ void attention_tensor<Format, 64, 4>(Arguments);  \
    template __global__ void attention_tensor<Format, 128, 1>(Arguments); \
    template __global__ void attention_tensor<Format, 128, 4>(Arguments); \
    template __global__ void attention_tensor<Format, 256, 1>(Arguments); \
    template __global__ void attention_tensor<Format, 256, 4>(Arguments);
EK_ATTENTION_KERNELS(Half)
EK_ATTENTION_KERNELS(Bfloat)

}  // namespace ek::attention

#ifndef __CUDACC_RTC__
#include "ek/launch.h"
#include "kernels/attention_launches.h"
#include "kernels/launches.h"
#include "logic/attention_plan.h"

namespace ek::attention {
namespace {

using Kernel = void (*)(Arguments);

template <typename Format>
Kernel kernel_for(ek_tiling const& tiling) {
    bool const one = tiling.tile_rows == kWarpRows;
    switch (tiling.head) {
        case 32:
            return one ? attention_tensor<Format, 32, 1> : attention_tensor<Format, 32, 4>;
        case 64:
            return one ? attention_tensor<Format, 64, 1> : attention_tensor<Format, 64, 4>;
        case 128:
            return one ? attention_tensor<Format, 128, 1> : attention_tensor<Format, 128, 4>;
        default:
            return one ? attention_tensor<Format, 256, 1> : attention_tensor<Format, 256, 4>;
    }
}

char const* launch_tiles(Arguments const& arguments, ek_tiling const& tiling, void* stream) {
    Launch how;
    how.grid = dim3(unsigned(tiling.tiles) * unsigned(tiling.splits));
    how.block = dim3(unsigned(tiling.threads_per_block));
    how.shared_bytes = tiling.shared_per_block;
    how.stream = stream;
    if (tiling.form == logic::kPlain) return launch_plain(arguments, how);
    bool const half = arguments.problem.type == EK_FLOAT16;
    return launch(half ? kernel_for<Half>(tiling) : kernel_for<Bfloat>(tiling), how, arguments);
}

}  // namespace

char const* launch_attention(ek_attention const& p, ek_tiling const& tiling, void* workspace, void* stream) {
    bool const cached = p.present_k != nullptr;
    int const room = p.capacity > 0 ? p.capacity : p.past + p.keys;
    Arguments const arguments{
        p, cached ? p.present_k : p.k, cached ? p.present_v : p.v, room, tiling.splits, static_cast<float*>(workspace)};
    char const* failed = cached ? launch_append(arguments, stream) : nullptr;
    if (!failed) failed = launch_tiles(arguments, tiling, stream);
    if (!failed && tiling.splits > 1) failed = launch_merge(arguments, stream);
    return failed;
}

}  // namespace ek::attention
#endif
