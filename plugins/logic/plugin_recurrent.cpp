// EdgekitLSTM, EdgekitGRU and EdgekitRNN as plugins: edgekit/plugins/operators.py has their inputs and attributes.
#include <algorithm>

#include "logic/plugin_abi.h"
#include "logic/plugin_operator.h"

namespace ek::logic {
namespace {

enum Input { kXproj, kR, kScale, kLengths, kH0, kOwn };
constexpr int kRowsOfGroup = 8;  // of the batch: ek_plan

float const* floats(Tensor const& tensor) {
    return is_there(tensor) ? static_cast<float const*>(tensor.data) : nullptr;
}

// What the shapes of a call say.
struct Sizes {
    long long steps = kUnknown, batch = kUnknown, directions, hidden, rows, packed;
};

// What each operator has for itself.
struct Lstm {
    using Problem = ek_lstm;
    static constexpr char const* kName = "EdgekitLSTM";
    static constexpr int kGates = 4, kOutputs = 3;
    static std::vector<char const*> inputs() { return {"xproj", "r", "r_scale", "lengths", "h0", "c0"}; }
    static Field field() { return {}; }
    static void set(ek_lstm&, Fields const&, std::string&) {}
    static std::string fit_own(Tensor const* inputs, Sizes& s) {
        return fit("c0", inputs[kOwn], {&s.directions, &s.batch, &s.hidden});
    }
    static void place(ek_lstm& p, Call const& call) {
        p.c0 = floats(call.inputs[kOwn]);
        p.c_n = static_cast<float*>(call.outputs[2]);
    }
};

struct Gru {
    using Problem = ek_gru;
    static constexpr char const* kName = "EdgekitGRU";
    static constexpr int kGates = 3, kOutputs = 2;
    static std::vector<char const*> inputs() { return {"xproj", "r", "r_scale", "lengths", "h0", "rb_h"}; }
    static Field field() { return {"linear_before_reset", FieldType::kInt}; }
    static void set(ek_gru& p, Fields const& fields, std::string& why) {
        p.linear_before_reset = fields.flag("linear_before_reset", why);
    }
    static std::string fit_own(Tensor const* inputs, Sizes& s) {
        return fit("rb_h", inputs[kOwn], {&s.directions, &s.hidden});
    }
    static void place(ek_gru& p, Call const& call) { p.rb_h = floats(call.inputs[kOwn]); }
};

struct Rnn {
    using Problem = ek_rnn;
    static constexpr char const* kName = "EdgekitRNN";
    static constexpr int kGates = 1, kOutputs = 2;
    static std::vector<char const*> inputs() { return {"xproj", "r", "r_scale", "lengths", "h0"}; }
    static Field field() { return {"activation", FieldType::kText, false, 0, 0, "tanh"}; }
    static void set(ek_rnn& p, Fields const& fields, std::string& why) {
        p.activation = fields.choice("activation", {"tanh", "relu"}, why);
    }
    static std::string fit_own(Tensor const*, Sizes&) { return {}; }
    static void place(ek_rnn&, Call const&) {}
};

// INT8 as such, or four in one INT32.
bool is_int8(Type type) { return type == Type::kInt8 || type == Type::kInt32; }

template <typename Op>
class Recurrent final : public PluginOperator {
  public:
    using Problem = typename Op::Problem;

    std::unique_ptr<PluginOperator> clone() const override { return std::make_unique<Recurrent>(*this); }
    char const* name() const override { return Op::kName; }
    std::vector<char const*> const& inputs() const override {
        static std::vector<char const*> const names = Op::inputs();
        return names;
    }
    int outputs() const override { return Op::kOutputs; }
    Fields const& fields() const override { return fields_; }

    std::string set(GivenField const* given, int count) override {
        std::string why = fields_.read(given, count);
        if (!why.empty()) return why;
        config_.hidden = fields_.number("hidden_size");
        config_.clip = fields_.real("clip");
        if (config_.hidden < 1) why = "expected hidden_size of at least 1, found " + std::to_string(config_.hidden);
        if (!(config_.clip >= 0)) why = "expected a clip of 0 (none) or more, found " + std::to_string(config_.clip);
        config_.direction = fields_.choice("direction", {"forward", "reverse", "bidirectional"}, why);
        Op::set(config_, fields_, why);
        return why;
    }

    bool accepts(int position, Tensor const* tensors) const override {
        Tensor const& tensor = tensors[position];
        if (!tensor.linear) return false;
        if (position == kR) return accepts_r(tensor);
        if (position == kLengths) return tensor.type == Type::kInt32;
        if (position == kScale && is_there(tensor) != is_int8(tensors[kR].type)) return false;
        return tensor.type == Type::kFloat32;
    }

    Type output_type(int, Type const*) const override { return Type::kFloat32; }

    Outcome output_shapes(Tensor const* inputs, Shape* outputs) const override {
        Sizes sizes;
        std::string why = fit_all(inputs, sizes);
        Extent const directions = constant(sizes.directions), hidden = constant(sizes.hidden);
        outputs[0] = {4, {axis(kXproj, 0), directions, axis(kXproj, 1), hidden}};
        for (int state = 1; state < Op::kOutputs; ++state) outputs[state] = {3, {directions, axis(kXproj, 1), hidden}};
        return invalid(std::move(why));
    }

    Outcome check(Tensor const* inputs, Tensor const* largest, ek_device const& device) const override {
        ek_plan plan;
        std::string why = misfit(inputs);
        return why.empty() ? told(plan_of(problem(largest), device, plan)) : invalid(std::move(why));
    }

    Outcome workspace(Tensor const* largest, ek_device const& device, size_t& bytes) const override {
        ek_plan plan;
        Problem p = problem(largest);
        bytes = 0;
        // A smaller batch may be cut into larger pieces: each number of groups has a plan of its own.
        for (; p.batch > 0; p.batch -= kRowsOfGroup) {
            if (int const status = plan_of(p, device, plan)) return told(status);
            bytes = std::max(bytes, plan.workspace);
        }
        return {};
    }

    Outcome launch(Call const& call, ek_device const& device) const override {
        std::string why = misfit(call.inputs);
        if (!why.empty()) return invalid(std::move(why));
        Problem p = problem(call.inputs);
        Tensor const* const inputs = call.inputs;
        p.xproj = floats(inputs[kXproj]);
        p.r = inputs[kR].data;
        p.r_scale = floats(inputs[kScale]);
        p.lengths = is_there(inputs[kLengths]) ? static_cast<int const*>(inputs[kLengths].data) : nullptr;
        p.h0 = floats(inputs[kH0]);
        p.y = static_cast<float*>(call.outputs[0]);
        p.h_n = static_cast<float*>(call.outputs[1]);
        Op::place(p, call);
        return told(enqueue(p, device, call));
    }

  private:
    bool accepts_r(Tensor const& r) const {
        bool const packed = r.type == Type::kInt32;
        long long const units = r.rank == 3 ? r.dims[2] : kUnknown;
        if (units != kUnknown && units != (packed ? config_.hidden / 4 : config_.hidden)) return false;
        if (packed) return config_.hidden % 4 == 0;
        return r.type == Type::kFloat32 || r.type == Type::kFloat16 || r.type == Type::kInt8;
    }

    // Each shape against the others, as far as they are known.
    std::string fit_all(Tensor const* inputs, Sizes& s) const {
        s.directions = config_.direction == EK_BIDIRECTIONAL ? 2 : 1;
        s.hidden = config_.hidden;
        s.rows = Op::kGates * s.hidden;
        s.packed = s.hidden / 4;
        // Where shapes are asked for, types are not told.
        Tensor const& r = inputs[kR];
        bool const packed = r.type == Type::kInt32 || (r.type == Type::kOther && r.rank == 3 && r.dims[2] == s.packed);
        std::string why = fit("xproj", inputs[kXproj], {&s.steps, &s.batch, &s.directions, &s.rows});
        if (why.empty()) why = fit("r", r, {&s.directions, &s.rows, packed ? &s.packed : &s.hidden});
        if (why.empty() && is_there(inputs[kScale])) why = fit("r_scale", inputs[kScale], {&s.directions, &s.rows});
        if (why.empty() && is_there(inputs[kLengths])) why = fit("lengths", inputs[kLengths], {&s.batch});
        if (why.empty() && is_there(inputs[kH0])) why = fit("h0", inputs[kH0], {&s.directions, &s.batch, &s.hidden});
        bool const own = why.empty() && this->inputs().size() > kOwn && is_there(inputs[kOwn]);
        return own ? Op::fit_own(inputs, s) : why;
    }

    std::string misfit(Tensor const* inputs) const {
        Sizes sizes;
        std::string why = wrong_type(*this, inputs);
        return why.empty() ? fit_all(inputs, sizes) : why;
    }

    // The problem of these inputs, without pointers.
    Problem problem(Tensor const* inputs) const {
        Problem p = config_;
        p.steps = int(inputs[kXproj].dims[0]), p.batch = int(inputs[kXproj].dims[1]);
        Type const type = inputs[kR].type;
        p.weights = is_int8(type) ? EK_INT8 : type == Type::kFloat16 ? EK_FLOAT16 : EK_FLOAT32;
        return p;
    }

    static Fields made() {
        std::vector<Field> fields = {{"hidden_size", FieldType::kInt, true},
                                     {"direction", FieldType::kText, false, 0, 0, "forward"},
                                     {"clip", FieldType::kFloat}};
        if (Op::field().name) fields.push_back(Op::field());
        return Fields(std::move(fields));
    }

    Problem config_{};
    Fields fields_ = made();
};

}  // namespace

std::unique_ptr<PluginOperator> lstm_plugin() { return std::make_unique<Recurrent<Lstm>>(); }
std::unique_ptr<PluginOperator> gru_plugin() { return std::make_unique<Recurrent<Gru>>(); }
std::unique_ptr<PluginOperator> rnn_plugin() { return std::make_unique<Recurrent<Rnn>>(); }

}  // namespace ek::logic
