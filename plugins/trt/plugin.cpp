#include "trt/plugin.h"

#include "trt/convert.h"
#include "trt/logger.h"

namespace ek::trt {
namespace {

using logic::Outcome;

Outcome current(ek_device& device) {
    int const status = ek_device_current(&device);
    return {status, status == EK_OK ? "" : ek_last_error()};
}

Outcome checked(logic::PluginOperator const& op, Tensors const& inputs, Tensors const& largest) {
    ek_device device;
    Outcome const found = current(device);
    return found.status == EK_OK ? op.check(inputs.data(), largest.data(), device) : found;
}

}  // namespace

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
    switch (type) {
        case nvinfer1::PluginCapabilityType::kCORE:
            return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case nvinfer1::PluginCapabilityType::kBUILD:
            return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
        case nvinfer1::PluginCapabilityType::kRUNTIME:
            return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept {
    Plugin* made = nullptr;
    guarded(op_->name(), "clone", [&]() -> Outcome {
        made = new Plugin(op_->clone());
        return {};
    });
    return made;
}

int32_t Plugin::getOutputDataTypes(nvinfer1::DataType* outputs, int32_t output_count, nvinfer1::DataType const* inputs,
                                   int32_t input_count) const noexcept {
    return guarded(op_->name(), "getOutputDataTypes", [&] {
        Outcome outcome = counted(input_count, output_count);
        if (outcome.status != EK_OK) return outcome;
        std::vector<logic::Type> types;
        for (int32_t i = 0; i < input_count; ++i) types.push_back(type_of(inputs[i]));
        for (int32_t i = 0; i < output_count; ++i) {
            logic::Type const type = op_->output_type(i, types.data());
            if (type == logic::Type::kOther) return logic::invalid("expected inputs of a type that it takes");
            outputs[i] = type_of(type);
        }
        return outcome;
    });
}

int32_t Plugin::getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t input_count, nvinfer1::DimsExprs const*,
                                int32_t, nvinfer1::DimsExprs* outputs, int32_t output_count,
                                nvinfer1::IExprBuilder& builder) noexcept {
    return guarded(op_->name(), "getOutputShapes", [&] {
        Outcome outcome = counted(input_count, output_count);
        std::vector<logic::Shape> shapes(static_cast<size_t>(op_->outputs()));
        if (outcome.status == EK_OK)
            outcome = op_->output_shapes(tensors_of(inputs, input_count).data(), shapes.data());
        if (outcome.status == EK_OK)
            for (auto const& shape : shapes) *outputs++ = shape_of(shape, inputs, builder);
        return outcome;
    });
}

bool Plugin::supportsFormatCombination(int32_t position, Range const* tensors, int32_t input_count,
                                       int32_t output_count) noexcept {
    bool accepts = false;
    guarded(op_->name(), "supportsFormatCombination", [&] {
        Outcome outcome = counted(input_count, output_count);
        // What is behind `position` is not valid yet.
        if (outcome.status == EK_OK) accepts = op_->accepts(position, tensors_of(tensors, position + 1).data());
        return outcome;
    });
    return accepts;
}

int32_t Plugin::configurePlugin(Range const* inputs, int32_t input_count, Range const*, int32_t output_count) noexcept {
    return guarded(op_->name(), "configurePlugin", [&] {
        Outcome const outcome = counted(input_count, output_count);
        if (outcome.status != EK_OK) return outcome;
        return checked(*op_, tensors_of(inputs, input_count), largest_of(inputs, input_count));
    });
}

size_t Plugin::getWorkspaceSize(Range const* inputs, int32_t input_count, Range const*,
                                int32_t output_count) const noexcept {
    size_t bytes = 0;
    guarded(op_->name(), "getWorkspaceSize", [&] {
        ek_device device;
        Outcome outcome = counted(input_count, output_count);
        if (outcome.status == EK_OK) outcome = current(device);
        if (outcome.status != EK_OK) return outcome;
        return op_->workspace(largest_of(inputs, input_count).data(), device, bytes);
    });
    return bytes;
}

int32_t Plugin::onShapeChange(Desc const* inputs, int32_t input_count, Desc const*, int32_t output_count) noexcept {
    return guarded(op_->name(), "onShapeChange", [&] {
        Outcome const outcome = counted(input_count, output_count);
        if (outcome.status != EK_OK) return outcome;
        Tensors const tensors = tensors_of(inputs, input_count);
        return checked(*op_, tensors, tensors);
    });
}

int32_t Plugin::enqueue(Desc const* input_descs, Desc const*, void const* const* inputs, void* const* outputs,
                        void* workspace, cudaStream_t stream) noexcept {
    return guarded(op_->name(), "enqueue", [&] {
        ek_device device;
        Outcome const found = current(device);
        if (found.status != EK_OK) return found;
        Tensors tensors = tensors_of(input_descs, int32_t(op_->inputs().size()));
        for (auto& tensor : tensors) tensor.data = *inputs++;
        return op_->launch({tensors.data(), outputs, workspace, stream}, device);
    });
}

nvinfer1::PluginFieldCollection const* Plugin::getFieldsToSerialize() noexcept {
    int32_t const status = guarded(op_->name(), "getFieldsToSerialize", [&]() -> Outcome {
        fields_.clear();
        for (auto const& field : op_->fields().all())
            fields_.emplace_back(field.name, field.data(), type_of(field.type), field.length());
        return {};
    });
    collection_ = {int32_t(fields_.size()), fields_.data()};
    return status == EK_OK ? &collection_ : nullptr;
}

Outcome Plugin::counted(int32_t inputs, int32_t outputs) const {
    int32_t const takes = int32_t(op_->inputs().size());
    if (inputs == takes && outputs == op_->outputs()) return {};
    return logic::invalid("expected " + std::to_string(takes) + " inputs and " + std::to_string(op_->outputs()) +
                          " outputs, found " + std::to_string(inputs) + " and " + std::to_string(outputs));
}

}  // namespace ek::trt
