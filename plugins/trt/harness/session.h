// The calls that TensorRT makes to a plugin, from a node's fields to launches, in its order.
#pragma once
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "trt/harness/case.h"
#include "trt/harness/fakes.h"

namespace ek::harness {

// A plugin said that something is wrong.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using PluginPtr = std::unique_ptr<nvinfer1::IPluginV3>;

// A plugin of these fields; throws Refused when there is none.
PluginPtr create(nvinfer1::IPluginCreatorV3One& creator, std::vector<Field> const& fields,
                 nvinfer1::TensorRTPhase phase);
// A copy of what an engine would keep of it.
std::vector<Field> serialized(nvinfer1::IPluginV3& plugin);

template <typename Capability>
Capability& capability(nvinfer1::IPluginV3& plugin, nvinfer1::PluginCapabilityType type) {
    return *static_cast<Capability*>(plugin.getCapabilityInterface(type));
}
inline nvinfer1::IPluginV3OneBuildV2& build_of(nvinfer1::IPluginV3& plugin) {
    return capability<nvinfer1::IPluginV3OneBuildV2>(plugin, nvinfer1::PluginCapabilityType::kBUILD);
}
inline nvinfer1::IPluginV3OneRuntime& runtime_of(nvinfer1::IPluginV3& plugin) {
    return capability<nvinfer1::IPluginV3OneRuntime>(plugin, nvinfer1::PluginCapabilityType::kRUNTIME);
}

class Session {
  public:
    Session(nvinfer1::IPluginCreatorV3One& creator, Case const& asked);

    // The types that all tensors together may have, a line each.
    std::string formats();
    // Shapes, types, format, configuration and workspace, then every run: by the plugin, and again by one that was
    // made from its serialised fields. Returns the outputs of all runs; throws Refused.
    std::string run();

  private:
    using Range = nvinfer1::DynamicPluginTensorDesc;

    void infer_shapes();
    void list_formats(int position, std::string line, std::string& lines);
    void configure();
    std::vector<HostTensor> launch(nvinfer1::IPluginV3& plugin, int run);
    // An input over all runs: its shape with -1 where it changes, the smallest and the largest.
    Range range(size_t input) const;

    nvinfer1::IPluginCreatorV3One& creator_;
    Case const& case_;
    PluginPtr plugin_;
    size_t inputs_, outputs_, workspace_ = 0;
    std::vector<Range> tensors_;                        // inputs, then outputs
    std::vector<std::vector<nvinfer1::Dims>> results_;  // [run][output]
};

}  // namespace ek::harness
