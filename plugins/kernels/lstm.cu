// LSTM, one persistent kernel for the whole sequence: the recurrent weights are read once and stay on the chip.
//
// A group is eight rows of the batch in one direction; groups never meet. Each step of a group is h -> R h -> gates ->
// c, h, and the next step needs all of h: that is the only thing that threads wait for.
//   lstm_one_block    up to 128 units (64 in FP32): one block a group, R in registers, h in shared memory, one
//                     __syncthreads a step.
//   lstm_many_blocks  more units: each block of a group keeps the rows of R of its own units in shared memory. h goes
//                     through global memory, with a barrier between the group's blocks each step; the launch is
//                     cooperative, so that all of them are there.
// Who holds what inside a warp: lstm_weights.cuh. What a thread does with its gates: lstm_cell.cuh.
#include "kernels/lstm_cell.cuh"

namespace ek::lstm {

template <typename Weights, int kTiles>
__global__ void __launch_bounds__(64 * kTiles) lstm_one_block(Arguments a) {
    using State = typename Weights::State;
    constexpr int kStride = row_stride<State>(kTiles);
    EK_SHARED(shared);  // State [2, kRows, kStride]: h of this step and of the next
    auto* const h = reinterpret_cast<State*>(shared);
    ek_lstm const& p = a.lstm;
    Place const at(p, a.first_group + blockIdx.x, a.row_groups, 0);

    typename Weights::Piece r[kTiles][kGates];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
        for (int gate = 0; gate < kGates; ++gate) r[tile][gate] = load_piece<Weights>(p, at, gate, tile);
    Scales<Weights> const scales(p, at);
    Cell cell(p, at);
    publish<State>(cell, at, h, kStride);
    Gates gates;
    load_inputs(p, at, 0, gates);
    __syncthreads();

    for (int step = 0; step < p.steps; ++step) {
        State const* const now = h + step % 2 * kRows * kStride;
        State* const next = h + (step + 1) % 2 * kRows * kStride;
        Weights product;
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) product.add(r[tile], now + tile * kTile, kStride);
        scales.add(product, gates);
        cell.step(gates, at, step, p.clip);
        load_inputs(p, at, step + 1, gates);  // asked for early: they are there when the next product is
        publish<State>(cell, at, next, kStride);
        cell.write_step(p, at, step);
        __syncthreads();
    }
    cell.write_end(p, at);
}

// What a block of lstm_many_blocks has in shared memory.
template <typename Weights>
struct Shared {
    typename Weights::Piece* r;  // [tiles, kGates, threads]: each thread reads what it has put there itself
    typename Weights::State* h;  // [kRows, stride]

    EK_DEVICE Shared(unsigned char* memory, int tiles)
        : r(reinterpret_cast<typename Weights::Piece*>(memory)),
          h(reinterpret_cast<typename Weights::State*>(r + tiles * kGates * blockDim.x)) {}

    EK_DEVICE typename Weights::Piece& piece(int tile, int gate) const {
        return r[(tile * kGates + gate) * blockDim.x + threadIdx.x];
    }
};

// The rows of R of this thread's unit, into shared memory.
template <typename Weights>
EK_DEVICE void copy_weights(ek_lstm const& p, Place const& at, int tiles, Shared<Weights> const& to) {
    using Element = typename Weights::Element;
    bool const whole = p.hidden % kInputs == 0;  // else a piece is not aligned, and may cross the end of its row
    for (int tile = 0; tile < tiles; ++tile)
        for (int gate = 0; gate < kGates; ++gate) {
            int const first = tile * kTile + threadIdx.x % 4 * kInputs;
            bool const there = at.unit < p.hidden && first < p.hidden;
            auto const* from = static_cast<Element const*>(p.r) + (there ? at.gate_row(p, gate) * p.hidden + first : 0);
            auto& piece = to.piece(tile, gate);
            if (whole)
                copy_async<int(sizeof piece)>(&piece, from, there);
            else
                piece = load_piece<Weights>(p, at, gate, tile);
        }
    commit_copies();
    wait_for_copies<0>();
}

// h0 of all units, as the first product reads it.
template <typename State>
EK_DEVICE void load_first_state(ek_lstm const& p, Place const& at, int first_row, State* h, int stride) {
    for (int i = threadIdx.x; i < kRows * stride; i += blockDim.x) {
        int const row = first_row + i / stride, unit = i % stride;
        bool const there = p.h0 && row < p.batch && unit < p.hidden;
        size_t const place = (size_t(at.direction) * p.batch + row) * p.hidden + unit;
        h[i] = as_state<State>(there ? p.h0[place] : 0.f);
    }
}

// All of h of a group, out of what its blocks have published.
template <typename State>
EK_DEVICE void fetch(State const* published, State* h, int stride) {
    auto const* from = reinterpret_cast<u32 const*>(published);
    auto* const to = reinterpret_cast<u32*>(h);
    int const words = kRows * stride * int(sizeof(State)) / 4;
    for (int i = threadIdx.x; i < words; i += blockDim.x) to[i] = load_from_l2(from + i);
}

// A barrier of the blocks of one group, for the `passes`th time.
EK_DEVICE void wait_for_group(u32* counter, int blocks, int passes) {
    __syncthreads();
    if (threadIdx.x == 0) {
        add_release(counter);
        wait_until(counter, u32(blocks) * u32(passes));
    }
    __syncthreads();
}

template <typename Weights>
__global__ void __launch_bounds__(512, 1) lstm_many_blocks(Arguments a) {
    using State = typename Weights::State;
    EK_SHARED(memory);
    ek_lstm const& p = a.lstm;
    int const tiles = (p.hidden + kTile - 1) / kTile, stride = row_stride<State>(tiles);
    int const group = blockIdx.x / a.blocks, groups = gridDim.x / a.blocks;
    int const first_unit = blockIdx.x % a.blocks * (blockDim.x / kLanes * kUnits);
    Shared<Weights> const shared(memory, tiles);
    auto* const exchange = static_cast<State*>(a.exchange);  // [2, groups, kRows, stride]

    Place const at(p, a.first_group + group, a.row_groups, first_unit);
    copy_weights<Weights>(p, at, tiles, shared);
    Scales<Weights> const scales(p, at);
    Cell cell(p, at);
    load_first_state(p, at, (a.first_group + group) % a.row_groups * kRows, shared.h, stride);
    Gates gates;
    load_inputs(p, at, 0, gates);
    __syncthreads();

    for (int step = 0; step < p.steps; ++step) {
        Weights product;
        typename Weights::Piece r[kGates];
        for (int tile = 0; tile < tiles; ++tile) {
            for (int gate = 0; gate < kGates; ++gate) r[gate] = shared.piece(tile, gate);
            product.add(r, shared.h + tile * kTile, stride);
        }
        scales.add(product, gates);
        cell.step(gates, at, step, p.clip);
        load_inputs(p, at, step + 1, gates);
        // Two places in turn: a block may be a step ahead of one that still reads.
        State* const published = exchange + (size_t(step % 2) * groups + group) * kRows * stride;
        if (at.unit < tiles * kTile) publish<State>(cell, at, published, stride);
        cell.write_step(p, at, step);
        if (step + 1 == p.steps) break;
        wait_for_group(a.counters + group, a.blocks, step + 1);
        fetch(published, shared.h, stride);
        __syncthreads();
    }
    cell.write_end(p, at);
}

#define EK_LSTM_KERNELS(Weights)                                    \
    template __global__ void lstm_one_block<Weights, 2>(Arguments); \
    template __global__ void lstm_one_block<Weights, 4>(Arguments); \
    template __global__ void lstm_many_blocks<Weights>(Arguments);
EK_LSTM_KERNELS(HalfWeights)
EK_LSTM_KERNELS(ByteWeights)
EK_LSTM_KERNELS(FloatWeights)
// FP32 weights of more than 64 units are more registers than a thread has.
template __global__ void lstm_one_block<HalfWeights, 6>(Arguments);
template __global__ void lstm_one_block<HalfWeights, 8>(Arguments);
template __global__ void lstm_one_block<ByteWeights, 6>(Arguments);
template __global__ void lstm_one_block<ByteWeights, 8>(Arguments);

}  // namespace ek::lstm

#ifndef __CUDACC_RTC__
#include "ek/launch.h"
#include "logic/lstm_plan.h"

namespace ek::lstm {
namespace {

using Kernel = void (*)(Arguments);

Kernel kernel_for(ek_lstm const& p, ek_plan const& plan) {
    constexpr Kernel kNone = nullptr;
    // By type and width in steps of 32 units; last the form of many blocks.
    static constexpr Kernel kTable[3][5] = {
        {lstm_one_block<FloatWeights, 2>, lstm_one_block<FloatWeights, 4>, kNone, kNone,
         lstm_many_blocks<FloatWeights>},
        {lstm_one_block<HalfWeights, 2>, lstm_one_block<HalfWeights, 4>, lstm_one_block<HalfWeights, 6>,
         lstm_one_block<HalfWeights, 8>, lstm_many_blocks<HalfWeights>},
        {lstm_one_block<ByteWeights, 2>, lstm_one_block<ByteWeights, 4>, lstm_one_block<ByteWeights, 6>,
         lstm_one_block<ByteWeights, 8>, lstm_many_blocks<ByteWeights>},
    };
    return kTable[p.weights][plan.form == logic::kManyBlocks ? 4 : (p.hidden - 1) / 32];
}

char const* launch_groups(ek_lstm const& p, ek_plan const& plan, int first, void* workspace, void* stream) {
    int const groups = first + plan.groups_at_once > plan.groups ? plan.groups - first : plan.groups_at_once;
    Arguments arguments{p, first, logic::row_groups(p), plan.blocks_per_group, nullptr, nullptr};
    Launch how;
    how.grid = dim3(unsigned(groups * plan.blocks_per_group));
    how.block = dim3(unsigned(plan.threads_per_block));
    how.shared_bytes = plan.shared_per_block;
    how.stream = stream;
    if (plan.form == logic::kManyBlocks) {
        size_t const state = size_t(2) * plan.groups_at_once * kRows * logic::state_stride(p) * logic::state_bytes(p);
        how.cooperative = true;
        arguments.exchange = workspace;
        arguments.counters = reinterpret_cast<u32*>(static_cast<char*>(workspace) + state);
        if (auto const* failed = clear(arguments.counters, sizeof(u32) * groups, stream)) return failed;
    }
    return launch(kernel_for(p, plan), how, arguments);
}

}  // namespace

char const* launch_lstm(ek_lstm const& p, ek_plan const& plan, void* workspace, void* stream) {
    for (int first = 0; first < plan.groups; first += plan.groups_at_once)
        if (auto const* failed = launch_groups(p, plan, first, workspace, stream)) return failed;
    return nullptr;
}

}  // namespace ek::lstm
#endif
