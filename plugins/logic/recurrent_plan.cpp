#include "logic/recurrent_plan.h"

#include <algorithm>

namespace ek::logic {
namespace {

// As in kernels/recurrent_weights.cuh.
constexpr int kRows = 8, kUnitsOfWarp = 8, kTile = 16, kLanes = 32;
constexpr int kMostWarps = 16;           // of a block: __launch_bounds__(512)
constexpr int kReservedPerBlock = 1024;  // of shared memory, by CUDA 11 and later

int rounded_up(int value, int step) { return (value + step - 1) / step * step; }

char const* name_of(int weights) { return weights == EK_FLOAT32 ? "FP32" : weights == EK_FLOAT16 ? "FP16" : "INT8"; }

int weight_bytes(Recurrent const& p) { return p.weights == EK_FLOAT32 ? 4 : p.weights == EK_FLOAT16 ? 2 : 1; }

// The widest problem whose R fits into the registers of one block.
int most_units_of_one_block(int weights) { return weights == EK_FLOAT32 ? 64 : 128; }

std::string wrong_field(Recurrent const& p) {
    auto const least = [](char const* name, int found) {
        return std::string("expected ") + name + " of at least 1, found " + std::to_string(found);
    };
    if (p.steps < 1) return least("steps", p.steps);
    if (p.batch < 1) return least("batch", p.batch);
    if (p.hidden < 1) return least("hidden", p.hidden);
    if (p.direction < EK_FORWARD || p.direction > EK_BIDIRECTIONAL)
        return "expected direction 0 (forward), 1 (reverse) or 2 (both), found " + std::to_string(p.direction);
    if (p.weights < EK_FLOAT32 || p.weights > EK_INT8)
        return "expected weights 0 (FP32), 1 (FP16) or 2 (INT8), found " + std::to_string(p.weights);
    if (!(p.clip >= 0)) return "expected a clip of 0 (none) or more, found " + std::to_string(p.clip);
    return {};
}

// How many blocks of this size a device holds at once.
int blocks_at_once(ek_device const& device, int threads, int shared) {
    int const by_shared = device.shared_per_multiprocessor / (shared + kReservedPerBlock);
    // Registers: __launch_bounds__ promises that a block of kMostWarps has room.
    int const by_threads = std::min(device.threads_per_multiprocessor, kMostWarps * kLanes) / threads;
    return device.multiprocessors * std::min({by_shared, by_threads, device.blocks_per_multiprocessor});
}

void one_block(Recurrent const& p, ek_plan& plan) {
    int const tiles = rounded_up(p.hidden, 2 * kTile) / kTile;
    plan.form = kOneBlock;
    plan.groups_at_once = plan.groups;  // more than fit take their turn by themselves
    plan.blocks_per_group = plan.launches = 1;
    plan.threads_per_block = tiles * kTile / kUnitsOfWarp * kLanes;
    plan.shared_per_block = 2 * state_size(p);
    plan.workspace = 0;
}

// Blocks of so many warps, each with the rows of R of its own units in shared memory; false when they do not fit.
bool in_blocks_of(int warps, Recurrent const& p, ek_device const& device, ek_plan& plan) {
    int const units = rounded_up(p.hidden, kTile), state = state_size(p);
    plan.form = kManyBlocks;
    plan.threads_per_block = warps * kLanes;
    plan.blocks_per_group = rounded_up(units, warps * kUnitsOfWarp) / (warps * kUnitsOfWarp);
    plan.shared_per_block = p.gates * warps * kUnitsOfWarp * units * weight_bytes(p) + state;
    if (plan.shared_per_block > device.shared_per_block) return false;
    int const room = blocks_at_once(device, plan.threads_per_block, plan.shared_per_block) / plan.blocks_per_group;
    if (room == 0) return false;
    plan.groups_at_once = std::min(plan.groups, room);
    plan.launches = rounded_up(plan.groups, plan.groups_at_once) / plan.groups_at_once;
    plan.workspace = size_t(plan.groups_at_once) * (2 * size_t(state) + sizeof(unsigned));
    return true;
}

// The division that needs the fewest launches, and of those the one with the most blocks, since each of them reads its
// weights from shared memory in every step. Blocks of one warp have no other one to wait with: only where all else is
// too large.
bool many_blocks(Recurrent const& p, ek_device const& device, ek_plan& plan) {
    ek_plan best{}, tried = plan;
    for (int warps = 2; warps <= kMostWarps; ++warps)
        if (in_blocks_of(warps, p, device, tried) && (best.launches == 0 || tried.launches < best.launches))
            best = tried;
    if (best.launches == 0 && in_blocks_of(1, p, device, tried)) best = tried;
    if (best.launches != 0) plan = best;
    return best.launches != 0;
}

std::string does_not_fit(Recurrent const& p, ek_device const& device) {
    auto const kib = [](double bytes) { return std::to_string(long(bytes / 1024)) + " KiB"; };
    double const weights = double(p.gates) * p.hidden * p.hidden * weight_bytes(p);
    double const room = double(device.shared_per_block) * device.multiprocessors;
    std::string const size = std::to_string(p.hidden) + " hidden units in " + name_of(p.weights);
    std::string text = "expected recurrent weights that fit on the chip, found " + size + ": " + kib(weights) +
                       " and the state, where " + std::to_string(device.multiprocessors) + " multiprocessors of SM " +
                       std::to_string(device.sm / 10) + "." + std::to_string(device.sm % 10) + " hold " + kib(room) +
                       ", each block up to " + kib(device.shared_per_block);
    if (p.weights != EK_INT8) text += "; INT8 weights take " + kib(double(p.gates) * p.hidden * p.hidden);
    return text;
}

}  // namespace

int row_groups(Recurrent const& p) { return rounded_up(p.batch, kRows) / kRows; }

int state_size(Recurrent const& p) {
    bool const one = p.hidden <= most_units_of_one_block(p.weights);
    int const tiles = rounded_up(p.hidden, one ? 2 * kTile : kTile) / kTile, bytes = p.weights == EK_FLOAT32 ? 4 : 2;
    return kRows * (tiles * kTile + (bytes == 2 && tiles % 2 == 0 ? 16 : 0)) * bytes;
}

int plan_recurrent(Recurrent const& p, ek_device const& device, ek_plan& plan, std::string& why) {
    plan = {};
    why = wrong_field(p);
    if (!why.empty()) return EK_INVALID;
    if (device.multiprocessors < 1) {
        why = "expected a device of at least 1 multiprocessor, found " + std::to_string(device.multiprocessors);
        return EK_INVALID;
    }
    plan.groups = (p.direction == EK_BIDIRECTIONAL ? 2 : 1) * row_groups(p);
    if (p.hidden <= most_units_of_one_block(p.weights)) {
        one_block(p, plan);
        return EK_OK;
    }
    if (many_blocks(p, device, plan)) return EK_OK;
    why = does_not_fit(p, device);
    return EK_UNSUPPORTED;
}

}  // namespace ek::logic
