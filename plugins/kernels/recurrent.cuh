// A recurrent layer, one persistent kernel for the whole sequence: R is read once and stays on the chip.
//
// A group is eight rows of the batch in one direction; groups never meet. Each step of a group is h -> R h -> gates ->
// h, and the next step needs all of h: that is the only thing that threads wait for.
//
// one_block, for up to 128 units (in FP32 fewer): one block a group, R in registers, h in shared memory, one
// __syncthreads a step.
//
// many_blocks, for more units: each block of a group keeps the rows of R of its own units in shared memory. h goes
// through global memory, with a barrier between the group's blocks each step; the launch is cooperative, so that all of
// them are there.
//
// Who holds what inside a warp: recurrent_weights.cuh. What a step is made of is the Cell's: lstm.cu, gru.cu, rnn.cu. A
// Cell that resets first multiplies part of R by h and, once that has changed h, the rest by what it has become: it
// waits twice a step.
#pragma once
#include "kernels/recurrent_place.cuh"

namespace ek::recurrent {

template <typename Cell>
struct Arguments {
    Problem problem;
    typename Cell::Own own;  // what is the Cell's alone
    int first_group;         // of this launch
    int row_groups;          // groups of one direction
    int blocks;              // of one group
    void* exchange;          // [2, groups of this launch, kRows, stride] State: h, from block to block
    u32* counters;           // [groups of this launch], 0 at the start
};

// The product of `kSome` gates from `kFirst` on with h [kRows, stride], summed over the tiles; `kTiles` of them, or if
// that is 0 `tiles`. `piece(tile, gate)` is what this thread holds.
template <typename Weights, int kFirst, int kSome, int kTiles, typename PieceAt>
EK_DEVICE typename Weights::template Product<kSome> multiplied(PieceAt const& piece, int tiles,
                                                               typename Weights::State const* h, int stride) {
    typename Weights::template Product<kSome> product;
    [[maybe_unused]] constexpr int kUnroll = kTiles > 0 ? kTiles : 1;
#pragma unroll kUnroll
    for (int tile = 0; tile < (kTiles > 0 ? kTiles : tiles); ++tile) {
        typename Weights::Piece w[kSome];
#pragma unroll
        for (int gate = 0; gate < kSome; ++gate) w[gate] = piece(tile, kFirst + gate);
        product.add(w, h + tile * kTile, stride);
    }
    return product;
}

// What a thread multiplies h by, for the whole sequence.
template <typename Cell, typename Weights, int kTiles, typename PieceAt>
struct Rows {
    using State = typename Weights::State;
    PieceAt piece;
    Scales<Weights, Cell::kGates> scales;
    int tiles, stride;

    // `kSome` gates from `kFirst` on of R h.
    template <int kFirst, int kSome>
    EK_DEVICE void times(State const* h, Gates<kSome>& gates) const {
        scales.finish(multiplied<Weights, kFirst, kSome, kTiles>(piece, tiles, h, stride), kFirst, gates);
    }
    // One step of the cell from h. `pass_on` gives what h has become to the other threads, and says where all of it is.
    template <typename PassOn>
    EK_DEVICE void step(Cell& cell, Gates<Cell::kGates> const& x, int step, float clip, Place const& at, State const* h,
                        PassOn const& pass_on) const {
        if constexpr (Cell::kResetsFirst) {
            Gates<2> gates;
            times<0, 2>(h, gates);
            cell.reset(x, gates, clip);
            Gates<1> candidate;
            times<2, 1>(pass_on(cell.reset_h), candidate);
            cell.step(x, candidate, at, step, clip);
        } else {
            Gates<Cell::kGates> gates;
            times<0, Cell::kGates>(h, gates);
            cell.step(x, gates, at, step, clip);
        }
    }
};

template <typename Cell, typename Weights, int kTiles>
__global__ void __launch_bounds__(64 * kTiles, 1) one_block(Arguments<Cell> a) {
    using State = typename Weights::State;
    constexpr int kGates = Cell::kGates, kStride = row_stride<State>(kTiles);
    EK_SHARED(shared);  // State [2, kRows, kStride]: h of this step and of the next, or h and what it has become
    auto* const both = reinterpret_cast<State*>(shared);
    Problem const& p = a.problem;
    Place const at(p, a.first_group + blockIdx.x, a.row_groups, 0);

    typename Weights::Piece r[kTiles][kGates];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
        for (int gate = 0; gate < kGates; ++gate) r[tile][gate] = load_piece<Weights, kGates>(p, at, gate, tile);
    auto const piece = [&](int tile, int gate) { return r[tile][gate]; };
    Rows<Cell, Weights, kTiles, decltype(piece)> const rows{piece, {p, at}, kTiles, kStride};
    Cell cell(p, a.own, at);
    publish<State>(cell.h, at, both, kStride);
    Gates<kGates> x;
    load_inputs<kGates>(p, at, 0, x);
    __syncthreads();

    for (int step = 0; step < p.steps; ++step) {
        int const turn = Cell::kResetsFirst ? 0 : step % 2;
        State* const now = both + turn * kRows * kStride;
        State* const other = both + (1 - turn) * kRows * kStride;
        rows.step(cell, x, step, p.clip, at, now, [&](float const(&reset_h)[2]) {
            publish<State>(reset_h, at, other, kStride);
            __syncthreads();
            return other;
        });
        load_inputs<kGates>(p, at, step + 1, x);  // asked for early: they are there when the next product is
        publish<State>(cell.h, at, Cell::kResetsFirst ? now : other, kStride);
        at.write_step(p, step, cell.h);
        __syncthreads();
    }
    cell.write_end(p, a.own, at);
}

// What a block of many_blocks has in shared memory.
template <typename Weights, int kGates>
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
template <typename Weights, int kGates>
EK_DEVICE void copy_weights(Problem const& p, Place const& at, int tiles, Shared<Weights, kGates> const& to) {
    using Element = typename Weights::Element;
    bool const whole = p.hidden % kInputs == 0;  // else a piece is not aligned, and may cross the end of its row
    for (int tile = 0; tile < tiles; ++tile)
        for (int gate = 0; gate < kGates; ++gate) {
            int const first = tile * kTile + threadIdx.x % 4 * kInputs;
            bool const there = at.unit < p.hidden && first < p.hidden;
            size_t const place = there ? gate_row<kGates>(p, at, gate) * p.hidden + first : 0;
            auto& piece = to.piece(tile, gate);
            if (whole)
                copy_async<int(sizeof piece)>(&piece, static_cast<Element const*>(p.r) + place, there);
            else
                piece = load_piece<Weights, kGates>(p, at, gate, tile);
        }
    commit_copies();
    wait_for_copies<0>();
}

// h0 of all units, as the first product reads it.
template <typename State>
EK_DEVICE void load_first_state(Problem const& p, Place const& at, int first_row, State* h, int stride) {
    for (int i = threadIdx.x; i < kRows * stride; i += blockDim.x) {
        int const row = first_row + i / stride, unit = i % stride;
        bool const there = p.h0 && row < p.batch && unit < p.hidden;
        size_t const place = (size_t(at.direction) * p.batch + row) * p.hidden + unit;
        h[i] = as_state<State>(there ? p.h0[place] : 0.f);
    }
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

// The way of h from block to block. There are two places in turn: a block may be one exchange ahead of one that still
// reads.
template <typename State>
struct Exchange {
    State* places;  // [2, groups, kRows, stride]; this group's part of the first
    size_t turn;    // from the one place to the other
    u32* counter;
    int blocks, stride, width;
    int passes = 0;

    // Give this thread's part of h, take all of it into `into` [kRows, stride].
    EK_DEVICE void all(float const (&h)[2], Place const& at, State* into) {
        State* const place = places + passes % 2 * turn;
        if (at.unit < width) publish<State>(h, at, place, stride);
        wait_for_group(counter, blocks, ++passes);
        auto const* from = reinterpret_cast<u32 const*>(place);
        auto* const to = reinterpret_cast<u32*>(into);
        int const words = kRows * stride * int(sizeof(State)) / 4;
        for (int i = threadIdx.x; i < words; i += blockDim.x) to[i] = load_from_l2(from + i);
        __syncthreads();
    }
};

template <typename Cell, typename Weights>
__global__ void __launch_bounds__(512, 1) many_blocks(Arguments<Cell> a) {
    using State = typename Weights::State;
    constexpr int kGates = Cell::kGates;
    EK_SHARED(memory);
    Problem const& p = a.problem;
    int const tiles = (p.hidden + kTile - 1) / kTile, stride = row_stride<State>(tiles);
    int const group = blockIdx.x / a.blocks, groups = gridDim.x / a.blocks;
    int const first_unit = blockIdx.x % a.blocks * (blockDim.x / kLanes * kUnits);
    size_t const group_size = size_t(kRows) * stride;
    Exchange<State> exchange{static_cast<State*>(a.exchange) + group * group_size,
                             groups * group_size,
                             a.counters + group,
                             a.blocks,
                             stride,
                             tiles * kTile};

    Place const at(p, a.first_group + group, a.row_groups, first_unit);
    Shared<Weights, kGates> const shared(memory, tiles);
    copy_weights<Weights, kGates>(p, at, tiles, shared);
    auto const piece = [&](int tile, int gate) { return shared.piece(tile, gate); };
    Rows<Cell, Weights, 0, decltype(piece)> const rows{piece, {p, at}, tiles, stride};
    Cell cell(p, a.own, at);
    load_first_state(p, at, (a.first_group + group) % a.row_groups * kRows, shared.h, stride);
    Gates<kGates> x;
    load_inputs<kGates>(p, at, 0, x);
    __syncthreads();

    for (int step = 0; step < p.steps; ++step) {
        rows.step(cell, x, step, p.clip, at, shared.h, [&](float const(&reset_h)[2]) {
            exchange.all(reset_h, at, shared.h);
            return shared.h;
        });
        load_inputs<kGates>(p, at, step + 1, x);
        at.write_step(p, step, cell.h);
        if (step + 1 < p.steps) exchange.all(cell.h, at, shared.h);
    }
    cell.write_end(p, a.own, at);
}

// All kernels of a Cell, for who compiles no host code; FP32 weights of more units take too many registers.
#define EK_ONE_BLOCK(Cell, Weights, tiles) template __global__ void one_block<Cell, Weights, tiles>(Arguments<Cell>)
#define EK_MANY_BLOCKS(Cell, Weights) template __global__ void many_blocks<Cell, Weights>(Arguments<Cell>)
#define EK_RECURRENT_KERNELS(Cell) \
    EK_ONE_BLOCK(Cell, Halves, 2); \
    EK_ONE_BLOCK(Cell, Halves, 4); \
    EK_ONE_BLOCK(Cell, Halves, 6); \
    EK_ONE_BLOCK(Cell, Halves, 8); \
    EK_MANY_BLOCKS(Cell, Halves);  \
    EK_ONE_BLOCK(Cell, Bytes, 2);  \
    EK_ONE_BLOCK(Cell, Bytes, 4);  \
    EK_ONE_BLOCK(Cell, Bytes, 6);  \
    EK_ONE_BLOCK(Cell, Bytes, 8);  \
    EK_MANY_BLOCKS(Cell, Bytes);   \
    EK_ONE_BLOCK(Cell, Floats, 2); \
    EK_ONE_BLOCK(Cell, Floats, 4); \
    EK_MANY_BLOCKS(Cell, Floats)

}  // namespace ek::recurrent
