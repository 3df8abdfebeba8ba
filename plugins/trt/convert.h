// TensorRT's types as those of logic/.
#pragma once
#include <vector>

#include "logic/plugin_operator.h"
#include "trt/version.h"

namespace ek::trt {

using Tensors = std::vector<logic::Tensor>;

logic::Type type_of(nvinfer1::DataType type);
nvinfer1::DataType type_of(logic::Type type);
logic::FieldType type_of(nvinfer1::PluginFieldType type);
nvinfer1::PluginFieldType type_of(logic::FieldType type);

Tensors tensors_of(nvinfer1::PluginTensorDesc const* tensors, int32_t count);
// Of the shapes that a network has, -1 where they are dynamic.
Tensors tensors_of(nvinfer1::DynamicPluginTensorDesc const* tensors, int32_t count);
// Of the largest shapes of a profile.
Tensors largest_of(nvinfer1::DynamicPluginTensorDesc const* tensors, int32_t count);
// Without types; -1 for what is no constant.
Tensors tensors_of(nvinfer1::DimsExprs const* tensors, int32_t count);

// A shape of an output in terms of the inputs' dimensions.
nvinfer1::DimsExprs shape_of(logic::Shape const& shape, nvinfer1::DimsExprs const* inputs,
                             nvinfer1::IExprBuilder& builder);

}  // namespace ek::trt
