// The host's side of the recurrent kernels: a plan becomes launches.
#pragma once
#include "ek/launch.h"
#include "kernels/launches.h"
#include "kernels/recurrent.cuh"
#include "logic/recurrent_plan.h"

namespace ek::recurrent {

template <typename Cell>
using Kernel = void (*)(Arguments<Cell>);

// By ek_type, then by width in steps of 32 units; last the form of many blocks.
template <typename Cell>
inline constexpr Kernel<Cell> kKernels[3][5] = {
    {one_block<Cell, Floats, 2>, one_block<Cell, Floats, 4>, nullptr, nullptr, many_blocks<Cell, Floats>},
    {one_block<Cell, Halves, 2>, one_block<Cell, Halves, 4>, one_block<Cell, Halves, 6>, one_block<Cell, Halves, 8>,
     many_blocks<Cell, Halves>},
    {one_block<Cell, Bytes, 2>, one_block<Cell, Bytes, 4>, one_block<Cell, Bytes, 6>, one_block<Cell, Bytes, 8>,
     many_blocks<Cell, Bytes>},
};

// One launch, of the groups from `first` on.
template <typename Cell>
char const* launch_groups(Arguments<Cell> arguments, Kernel<Cell> kernel, ek_plan const& plan, void* stream) {
    int const left = plan.groups - arguments.first_group;
    int const groups = left < plan.groups_at_once ? left : plan.groups_at_once;
    Launch how;
    how.grid = dim3(unsigned(groups * plan.blocks_per_group));
    how.block = dim3(unsigned(plan.threads_per_block));
    how.shared_bytes = plan.shared_per_block;
    how.cooperative = plan.form == logic::kManyBlocks;
    how.stream = stream;
    if (how.cooperative)
        if (auto const* failed = clear(arguments.counters, sizeof(u32) * size_t(groups), stream)) return failed;
    return launch(kernel, how, arguments);
}

// Enqueue what the plan says; `p` is one of the ABI's problems. The workspace has the exchange, then the counters.
template <typename Cell, typename P>
char const* launch_all(P const& p, typename Cell::Own const& own, ek_plan const& plan, void* workspace, void* stream) {
    logic::Recurrent const shape = logic::recurrent(p);
    Arguments<Cell> arguments{};
    arguments.problem = {p.steps, p.batch,   p.hidden,  p.direction, p.clip, p.xproj,
                         p.r,     p.r_scale, p.lengths, p.h0,        p.y,    p.h_n};
    arguments.own = own;
    arguments.row_groups = logic::row_groups(shape);
    arguments.blocks = plan.blocks_per_group;
    arguments.exchange = workspace;
    size_t const exchange = size_t(2) * plan.groups_at_once * logic::state_size(shape);
    if (workspace) arguments.counters = reinterpret_cast<u32*>(static_cast<char*>(workspace) + exchange);
    auto const kernel = kKernels<Cell>[p.weights][plan.form == logic::kManyBlocks ? 4 : (p.hidden - 1) / 32];
    for (; arguments.first_group < plan.groups; arguments.first_group += plan.groups_at_once)
        if (auto const* failed = launch_groups<Cell>(arguments, kernel, plan, stream)) return failed;
    return nullptr;
}

}  // namespace ek::recurrent
