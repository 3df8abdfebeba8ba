// An operator of logic/ as TensorRT's IPluginV3. All that is judged is judged there; here it is forwarded.
#pragma once
#include <memory>
#include <vector>

#include "logic/plugin_operator.h"
#include "trt/version.h"

namespace ek::trt {

constexpr char const* kVersion = "1";
constexpr char const* kNamespace = "edgekit";

class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuildV2,
                     public nvinfer1::IPluginV3OneRuntime {
  public:
    using Desc = nvinfer1::PluginTensorDesc;
    using Range = nvinfer1::DynamicPluginTensorDesc;

    explicit Plugin(std::unique_ptr<logic::PluginOperator> op) : op_(std::move(op)) {}

    // IPluginV3
    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
    nvinfer1::IPluginV3* clone() noexcept override;

    // IPluginV3OneCore
    char const* getPluginName() const noexcept override { return op_->name(); }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }

    // IPluginV3OneBuildV2
    int32_t getNbOutputs() const noexcept override { return op_->outputs(); }
    int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t output_count, nvinfer1::DataType const* inputs,
                               int32_t input_count) const noexcept override;
    int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t input_count, nvinfer1::DimsExprs const*, int32_t,
                            nvinfer1::DimsExprs* outputs, int32_t output_count,
                            nvinfer1::IExprBuilder& builder) noexcept override;
    bool supportsFormatCombination(int32_t position, Range const* tensors, int32_t input_count,
                                   int32_t output_count) noexcept override;
    int32_t configurePlugin(Range const* inputs, int32_t input_count, Range const* outputs,
                            int32_t output_count) noexcept override;
    // For the device that is current, and any smaller problem. 0 and a line in the log where there is no answer.
    size_t getWorkspaceSize(Range const* inputs, int32_t input_count, Range const* outputs,
                            int32_t output_count) const noexcept override;
    int32_t getAliasedInput(int32_t output) noexcept override { return op_->aliased_input(output); }

    // IPluginV3OneRuntime
    int32_t onShapeChange(Desc const* inputs, int32_t input_count, Desc const* outputs,
                          int32_t output_count) noexcept override;
    int32_t enqueue(Desc const* input_descs, Desc const* output_descs, void const* const* inputs, void* const* outputs,
                    void* workspace, cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override;

  private:
    // How many tensors it is told of.
    logic::Outcome counted(int32_t inputs, int32_t outputs) const;

    std::unique_ptr<logic::PluginOperator> op_;
    // What getFieldsToSerialize has given away.
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace ek::trt
