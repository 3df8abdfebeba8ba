#include "logic/attention_plan.h"

#include <algorithm>
#include <cmath>

namespace ek::logic {
namespace {

// As in kernels/attention.cu and kernels/attention_plain.cu.
constexpr int kLanes = 32, kWarps = 4, kWarpRows = 16, kPlainRows = 16, kPlainKeys = 32;
constexpr int kMostHead = 256;
constexpr int kMostSplits = 64;          // what attention_merge goes through for each row
constexpr int kReservedPerBlock = 1024;  // of shared memory, by CUDA 11 and later
constexpr int kLongPrefill = 128;        // queries, from which on TensorRT's own fused attention is hard to beat

int rounds(long value, int step) { return int((value + step - 1) / step); }

struct Field {
    char const* name;
    int found, least;
};

std::string wrong_sizes(ek_attention const& p) {
    Field const fields[] = {{"batch", p.batch, 1},
                            {"heads", p.heads, 1},
                            {"kv_heads", p.kv_heads, 1},
                            {"queries", p.queries, 1},
                            {"keys", p.keys, 1},
                            {"past", p.past, 0},
                            {"capacity", p.capacity, 0},
                            {"head_size", p.head_size, 1},
                            {"value_size", p.value_size, 1},
                            {"window_left", p.window_left, -1},
                            {"window_right", p.window_right, -1}};
    for (auto const& [name, found, least] : fields)
        if (found < least)
            return std::string("expected ") + name + " of at least " + std::to_string(least) + ", found " +
                   std::to_string(found);
    if (p.heads % p.kv_heads != 0)
        return "expected heads that are a multiple of kv_heads, found " + std::to_string(p.heads) + " and " +
               std::to_string(p.kv_heads);
    return {};
}

std::string wrong_field(ek_attention const& p) {
    std::string why = wrong_sizes(p);
    if (!why.empty()) return why;
    if (p.type != EK_FLOAT32 && p.type != EK_FLOAT16 && p.type != EK_BFLOAT16)
        return "expected type 0 (FP32), 1 (FP16) or 3 (BF16), found " + std::to_string(p.type);
    if (p.bias && p.bias_type != EK_FLOAT32 && p.bias_type != p.type)
        return "expected bias_type 0 (FP32) or that of q, found " + std::to_string(p.bias_type);
    if (p.position != EK_AFTER_PAST && p.position != EK_AT_END)
        return "expected position 0 (after the past) or 1 (at the end), found " + std::to_string(p.position);
    if (!(std::abs(p.scale) < INFINITY)) return "expected a finite scale, found " + std::to_string(p.scale);
    if (!(p.softcap >= 0)) return "expected a softcap of 0 (none) or more, found " + std::to_string(p.softcap);
    if (p.capacity > 0 && p.past > 0)
        return "expected past 0 for a cache in place, whose length is on the device, found " + std::to_string(p.past);
    if (p.capacity > 0 && p.keys > p.capacity)
        return "expected a capacity of at least " + std::to_string(p.keys) + " new keys, found " +
               std::to_string(p.capacity);
    return {};
}

// What no kernel here computes.
std::string not_covered(ek_attention const& p, ek_device const& device) {
    int const largest = std::max(p.head_size, p.value_size);
    if (largest > kMostHead)
        return "expected heads of at most " + std::to_string(kMostHead) + ", found " + std::to_string(largest);
    if (p.type == EK_FLOAT32) return {};
    if (p.head_size % 8 != 0 || p.value_size % 8 != 0)
        return "expected heads of a multiple of 8 in FP16 and BF16, found " + std::to_string(p.head_size) + " and " +
               std::to_string(p.value_size);
    if (p.type == EK_BFLOAT16 && device.sm < 80)
        return "expected SM 8.0 or newer for BF16, found " + std::to_string(device.sm / 10) + "." +
               std::to_string(device.sm % 10);
    return {};
}

long rows(ek_attention const& p) { return long(p.heads / p.kv_heads) * p.queries; }
// The most keys that a query can have.
long most_keys(ek_attention const& p) { return p.capacity > 0 ? p.capacity : long(p.past) + p.keys; }

void plain(ek_attention const& p, ek_tiling& tiling) {
    tiling.form = kPlain;
    tiling.head = std::max(p.head_size, p.value_size);
    tiling.tile_rows = kPlainRows;
    tiling.tile_keys = kPlainKeys;
    tiling.threads_per_block = kWarps * kLanes;
    int const weights = kWarps * kPlainKeys * kPlainRows / kWarps;
    tiling.shared_per_block = 4 * (kPlainRows * p.head_size + weights + kPlainKeys * (tiling.head | 1));
}

void tensor(ek_attention const& p, ek_device const& device, ek_tiling& tiling) {
    int const largest = std::max(p.head_size, p.value_size);
    tiling.form = kTensor;
    tiling.head = largest <= 32 ? 32 : largest <= 64 ? 64 : largest <= 128 ? 128 : 256;
    tiling.tile_keys = tiling.head > 128 ? 32 : 64;
    for (int const warps : {kWarps, 1}) {
        tiling.tile_rows = warps * kWarpRows;
        tiling.threads_per_block = warps * kLanes;
        tiling.shared_per_block = 2 * (tiling.tile_rows + 2 * tiling.tile_keys) * (tiling.head + 8);
        if (rows(p) > kWarpRows && tiling.shared_per_block <= device.shared_per_block) return;
    }
}

// Blocks that share the keys of a tile, where tiles alone leave multiprocessors without work. Not tuned on a device:
// as many as the device holds at once, each with two tiles of keys at least.
int splits(ek_attention const& p, ek_device const& device, ek_tiling const& tiling) {
    if (tiling.tiles >= device.multiprocessors) return 1;
    int const by_shared = device.shared_per_multiprocessor / (tiling.shared_per_block + kReservedPerBlock);
    int const blocks = device.multiprocessors * std::clamp(by_shared, 1, 4);
    int const by_keys = int(most_keys(p) / (2 * tiling.tile_keys));
    return std::clamp(std::min(blocks / tiling.tiles, by_keys), 1, kMostSplits);
}

// TensorRT fuses what has no cache, cap or window, and as many heads of k as of q.
bool is_tensorrts(ek_attention const& p) {
    bool const cache = p.present_k || p.capacity > 0 || p.past > 0;
    bool const window = p.window_left >= 0 || p.window_right >= 0;
    return p.type != EK_FLOAT32 && p.queries >= kLongPrefill && !cache && !window && p.softcap == 0 && !p.key_lengths &&
           p.heads == p.kv_heads && p.head_size == p.value_size;
}

}  // namespace

int plan_attention(ek_attention const& p, ek_device const& device, ek_tiling& tiling, std::string& why) {
    tiling = {};
    why = wrong_field(p);
    if (why.empty() && device.multiprocessors < 1)
        why = "expected a device of at least 1 multiprocessor, found " + std::to_string(device.multiprocessors);
    if (!why.empty()) return EK_INVALID;
    why = not_covered(p, device);
    if (!why.empty()) return EK_UNSUPPORTED;

    if (p.type == EK_FLOAT32)
        plain(p, tiling);
    else
        tensor(p, device, tiling);
    tiling.tiles = p.batch * p.kv_heads * rounds(rows(p), tiling.tile_rows);
    tiling.splits = splits(p, device, tiling);
    tiling.launches = 1 + (p.present_k ? 1 : 0) + (tiling.splits > 1 ? 1 : 0);
    tiling.tensorrt_is_better = is_tensorrts(p);
    if (tiling.splits > 1)
        tiling.workspace =
            sizeof(float) * tiling.splits * size_t(p.batch) * p.heads * p.queries * (size_t(p.value_size) + 2);
    return EK_OK;
}

}  // namespace ek::logic
