// EdgekitAttention as a plugin: edgekit/plugins/operators.py has its inputs and attributes.
#include <algorithm>
#include <cmath>

#include "logic/plugin_abi.h"
#include "logic/plugin_operator.h"

namespace ek::logic {
namespace {

enum Input { kQ, kK, kV, kBias, kKeyLengths, kPastK, kPastV, kPastLength, kInputs };
enum Output { kO, kPresentK, kPresentV, kOutputs };

// What the shapes of a call say; of a cache in place `past` is its capacity.
struct Sizes {
    long long batch = kUnknown, heads = kUnknown, kv_heads = kUnknown, queries = kUnknown, keys = kUnknown;
    long long head = kUnknown, value = kUnknown, past = kUnknown, one = 1;
};

bool is_type(Type type) { return type == Type::kFloat32 || type == Type::kFloat16 || type == Type::kBFloat16; }

int abi_type(Type type) {
    return type == Type::kFloat32 ? EK_FLOAT32 : type == Type::kFloat16 ? EK_FLOAT16 : EK_BFLOAT16;
}

template <typename T = void>
T const* pointer(Tensor const& tensor) {
    return is_there(tensor) ? static_cast<T const*>(tensor.data) : nullptr;
}

// From the last axis on, each is 1 or the one of the scores.
std::string fit_bias(Tensor const& bias, Sizes const& s, bool in_place) {
    bool const known = s.past != kUnknown && s.keys != kUnknown;
    long long const total = in_place ? s.past : known ? s.past + s.keys : kUnknown;
    long long const wanted[] = {s.batch, s.heads, s.queries, total};
    bool fits = bias.rank <= 4;
    for (int i = 1; i <= bias.rank && fits; ++i) {
        long long const found = bias.dims[bias.rank - i], one = wanted[4 - i];
        fits = found == 1 || found == one || found == kUnknown || one == kUnknown;
    }
    if (fits) return {};
    Tensor scores{Type::kOther, true, 4};
    std::copy(wanted, wanted + 4, scores.dims);
    return "expected a bias that broadcasts to " + text_of(scores) + ", found " + text_of(bias);
}

void set_bias(ek_attention& p, Tensor const& bias) {
    if (!is_there(bias)) return;
    p.bias_type = abi_type(bias.type);
    long long step = 1;
    for (int i = 1; i <= bias.rank; ++i) {
        long long const size = bias.dims[bias.rank - i];
        p.bias_strides[4 - i] = size > 1 ? step : 0;
        step *= size;
    }
}

class Attention final : public PluginOperator {
  public:
    std::unique_ptr<PluginOperator> clone() const override { return std::make_unique<Attention>(*this); }
    char const* name() const override { return "EdgekitAttention"; }
    std::vector<char const*> const& inputs() const override {
        static std::vector<char const*> const names = {"q",           "k",      "v",      "bias",
                                                       "key_lengths", "past_k", "past_v", "past_length"};
        return names;
    }
    int outputs() const override { return kOutputs; }
    Fields const& fields() const override { return fields_; }

    std::string set(GivenField const* given, int count) override {
        std::string why = fields_.read(given, count);
        if (!why.empty()) return why;
        config_.scale = fields_.real("scale");
        config_.softcap = fields_.real("softcap");
        config_.window_left = fields_.number("window_left");
        config_.window_right = fields_.number("window_right");
        config_.causal = fields_.flag("causal", why);
        config_.position = fields_.flag("at_end", why) ? EK_AT_END : EK_AFTER_PAST;
        in_place_ = fields_.flag("in_place", why);
        if (std::min(config_.window_left, config_.window_right) < -1)
            why = "expected windows of -1 (none) or more, found " + std::to_string(config_.window_left) + " and " +
                  std::to_string(config_.window_right);
        if (std::isinf(config_.scale)) why = "expected a finite scale, found " + std::to_string(config_.scale);
        if (!(config_.softcap >= 0))
            why = "expected a softcap of 0 (none) or more, found " + std::to_string(config_.softcap);
        return why;
    }

    bool accepts(int position, Tensor const* tensors) const override {
        Tensor const& tensor = tensors[position];
        Type const type = tensors[kQ].type;
        if (!tensor.linear) return false;
        if (position == kQ) return is_type(tensor.type);
        if (position == kKeyLengths || position == kPastLength) return tensor.type == Type::kInt32;
        // A constant of no elements may be FP32, whatever the others are.
        bool const any = position == kBias || ((position == kPastK || position == kPastV) && !is_there(tensor));
        return tensor.type == type || (any && tensor.type == Type::kFloat32);
    }

    Type output_type(int, Type const* inputs) const override { return inputs[kQ]; }

    Outcome output_shapes(Tensor const* inputs, Shape* outputs) const override {
        Sizes sizes;
        std::string why = fit_all(inputs, sizes);
        outputs[kO] = {4, {axis(kQ, 0), axis(kQ, 1), axis(kQ, 2), axis(kV, 3)}};
        for (int i : {0, 1}) {
            int const past = kPastK + i, now = kK + i;
            Extent const rows = in_place_ ? axis(past, 2) : sum(past, 2, now, 2);
            outputs[kPresentK + i] = {4, {axis(now, 0), axis(now, 1), rows, axis(now, 3)}};
            if (!has_cache(inputs)) outputs[kPresentK + i] = {1, {constant(0)}};
        }
        return invalid(std::move(why));
    }

    int aliased_input(int output) const override { return in_place_ && output != kO ? kPastK + output - 1 : -1; }

    Outcome check(Tensor const* inputs, Tensor const* largest, ek_device const& device) const override {
        ek_tiling tiling;
        std::string why = misfit(inputs);
        return why.empty() ? told(plan_of(problem(largest), device, tiling)) : invalid(std::move(why));
    }

    Outcome workspace(Tensor const* largest, ek_device const& device, size_t& bytes) const override {
        ek_tiling tiling{};
        ek_attention const p = problem(largest);
        bytes = 0;
        // Where tiles leave multiprocessors without work, the keys of each are split: most is needed somewhere between
        // one tile and a tile for each multiprocessor. More keys only mean more splits.
        ek_attention one = p;
        for (one.batch = 1; one.batch <= p.batch; ++one.batch) {
            for (one.queries = 1; one.queries <= p.queries; ++one.queries) {
                if (int const status = plan_of(one, device, tiling)) return told(status);
                bytes = std::max(bytes, tiling.workspace);
                if (tiling.tiles >= device.multiprocessors) break;
            }
            if (one.queries == 1) break;
        }
        return {};
    }

    Outcome launch(Call const& call, ek_device const& device) const override {
        std::string why = misfit(call.inputs);
        if (!why.empty()) return invalid(std::move(why));
        ek_attention p = problem(call.inputs);
        Tensor const* const inputs = call.inputs;
        for (int output : {kPresentK, kPresentV})
            if (in_place_ && call.outputs[output] != inputs[aliased_input(output)].data)
                return invalid(
                    "expected a cache in place in one memory as input and output, found two; "
                    "next: build the engine with PreviewFeature::kALIASED_PLUGIN_IO_10_03");
        p.q = inputs[kQ].data, p.k = inputs[kK].data, p.v = inputs[kV].data;
        p.bias = pointer(inputs[kBias]);
        p.key_lengths = pointer<int>(inputs[kKeyLengths]);
        p.past_length = pointer<int>(inputs[kPastLength]);
        if (p.past > 0) p.past_k = inputs[kPastK].data, p.past_v = inputs[kPastV].data;
        if (has_cache(inputs)) p.present_k = call.outputs[kPresentK], p.present_v = call.outputs[kPresentV];
        p.o = call.outputs[kO];
        return told(enqueue(p, device, call));
    }

  private:
    // With a past of no rows too: what comes is kept.
    static bool has_cache(Tensor const* inputs) { return is_there(inputs[kPastK]); }

    // Each shape against the others, as far as they are known.
    std::string fit_all(Tensor const* inputs, Sizes& s) const {
        std::string why = fit("q", inputs[kQ], {&s.batch, &s.heads, &s.queries, &s.head});
        if (why.empty()) why = fit("k", inputs[kK], {&s.batch, &s.kv_heads, &s.keys, &s.head});
        if (why.empty()) why = fit("v", inputs[kV], {&s.batch, &s.kv_heads, &s.keys, &s.value});
        if (!has_cache(inputs)) s.past = 0;
        if (why.empty() && has_cache(inputs))
            why = fit("past_k", inputs[kPastK], {&s.batch, &s.kv_heads, &s.past, &s.head});
        if (why.empty() && (has_cache(inputs) || is_there(inputs[kPastV])))
            why = fit("past_v", inputs[kPastV], {&s.batch, &s.kv_heads, &s.past, &s.value});
        if (why.empty() && is_there(inputs[kBias])) why = fit_bias(inputs[kBias], s, in_place_);
        if (why.empty() && is_there(inputs[kKeyLengths])) why = fit("key_lengths", inputs[kKeyLengths], {&s.batch});
        if (why.empty() && is_there(inputs[kPastLength])) why = fit("past_length", inputs[kPastLength], {&s.one});
        if (!why.empty()) return why;
        if (in_place_ != is_there(inputs[kPastLength]))
            return in_place_ ? "expected a past_length with in_place 1, found none"
                             : "expected no past_length with in_place 0, found one";
        if (in_place_ && !has_cache(inputs)) return "expected past_k and past_v with in_place 1, found none";
        if (config_.position == EK_AT_END && !is_there(inputs[kKeyLengths]))
            return "expected key_lengths with at_end 1, found none";
        return {};
    }

    std::string misfit(Tensor const* inputs) const {
        Sizes sizes;
        std::string why = wrong_type(*this, inputs);
        return why.empty() ? fit_all(inputs, sizes) : why;
    }

    // The problem of these inputs, without pointers.
    ek_attention problem(Tensor const* inputs) const {
        auto const size = [&](Input input, int axis) { return int(inputs[input].dims[axis]); };
        ek_attention p = config_;
        p.batch = size(kQ, 0), p.heads = size(kQ, 1), p.queries = size(kQ, 2), p.head_size = size(kQ, 3);
        p.kv_heads = size(kK, 1), p.keys = size(kK, 2), p.value_size = size(kV, 3);
        if (has_cache(inputs)) (in_place_ ? p.capacity : p.past) = size(kPastK, 2);
        p.type = abi_type(inputs[kQ].type);
        if (std::isnan(p.scale)) p.scale = float(1 / std::sqrt(double(p.head_size)));
        set_bias(p, inputs[kBias]);
        return p;
    }

    ek_attention config_{};
    bool in_place_ = false;
    // Without a scale it is 1 / sqrt(D).
    Fields fields_ = Fields({{"scale", FieldType::kFloat, false, 0, NAN},
                             {"causal", FieldType::kInt},
                             {"at_end", FieldType::kInt},
                             {"window_left", FieldType::kInt, false, -1},
                             {"window_right", FieldType::kInt, false, -1},
                             {"softcap", FieldType::kFloat},
                             {"in_place", FieldType::kInt}});
};

}  // namespace

std::unique_ptr<PluginOperator> attention_plugin() { return std::make_unique<Attention>(); }

}  // namespace ek::logic
