// An operator as a plugin: all that is to be judged about it. trt/ forwards what TensorRT asks to here.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "edgekit_kernels.h"
#include "logic/plugin_fields.h"
#include "logic/plugin_tensors.h"

namespace ek::logic {

// How a call ended: EK_OK, or another ek_status and why, in one line.
struct Outcome {
    int status = EK_OK;
    std::string why = {};
};

inline Outcome invalid(std::string why) { return {why.empty() ? EK_OK : EK_INVALID, std::move(why)}; }

// What is enqueued; inputs have data.
struct Call {
    Tensor const* inputs;
    void* const* outputs;
    void* workspace;
    void* stream;
};

class PluginOperator {
  public:
    virtual ~PluginOperator() = default;
    virtual std::unique_ptr<PluginOperator> clone() const = 0;

    virtual char const* name() const = 0;
    virtual std::vector<char const*> const& inputs() const = 0;
    virtual int outputs() const = 0;

    // Take the fields of a node or of an engine; what is wrong with them, else an empty text.
    virtual std::string set(GivenField const* given, int count) = 0;
    virtual Fields const& fields() const = 0;

    // Whether a tensor's type and layout go with those before it: inputs, then outputs.
    virtual bool accepts(int position, Tensor const* tensors) const = 0;
    virtual Type output_type(int output, Type const* inputs) const = 0;
    virtual Outcome output_shapes(Tensor const* inputs, Shape* outputs) const = 0;
    // The input whose memory an output is; -1: none.
    virtual int aliased_input(int /*output*/) const { return -1; }

    // Whether a device can run inputs of these types and shapes: each goes with the others as far as they are known,
    // and the kernels take sizes up to the largest ones. Those are not held against each other: an engine's bounds of
    // two tensors need not come from one run.
    virtual Outcome check(Tensor const* inputs, Tensor const* largest, ek_device const& device) const = 0;
    // The bytes that inputs of up to these shapes need.
    virtual Outcome workspace(Tensor const* largest, ek_device const& device, size_t& bytes) const = 0;
    virtual Outcome launch(Call const& call, ek_device const& device) const = 0;
};

// The first input whose type or layout the operator does not take, in one line; else an empty text.
std::string wrong_type(PluginOperator const& op, Tensor const* inputs);

// Each with its fields as they are when none is given.
std::unique_ptr<PluginOperator> lstm_plugin();
std::unique_ptr<PluginOperator> gru_plugin();
std::unique_ptr<PluginOperator> rnn_plugin();
std::unique_ptr<PluginOperator> attention_plugin();

}  // namespace ek::logic
