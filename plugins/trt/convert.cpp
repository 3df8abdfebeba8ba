#include "trt/convert.h"

#include <stdexcept>

namespace ek::trt {
namespace {

using logic::FieldType;
using logic::Type;
using nvinfer1::DataType;
using nvinfer1::PluginFieldType;

struct {
    DataType theirs;
    Type ours;
} constexpr kTypes[] = {{DataType::kFLOAT, Type::kFloat32},
                        {DataType::kHALF, Type::kFloat16},
                        {DataType::kBF16, Type::kBFloat16},
                        {DataType::kINT8, Type::kInt8},
                        {DataType::kINT32, Type::kInt32}};

struct {
    PluginFieldType theirs;
    FieldType ours;
} constexpr kFieldTypes[] = {{PluginFieldType::kINT32, FieldType::kInt},
                             {PluginFieldType::kFLOAT32, FieldType::kFloat},
                             {PluginFieldType::kCHAR, FieldType::kText}};

static_assert(nvinfer1::Dims::MAX_DIMS <= logic::kMostAxes);

logic::Tensor tensor_of(nvinfer1::PluginTensorDesc const& desc, nvinfer1::Dims const& dims) {
    logic::Tensor tensor;
    tensor.type = type_of(desc.type);
    tensor.linear = desc.format == nvinfer1::TensorFormat::kLINEAR;
    tensor.rank = dims.nbDims;
    for (int axis = 0; axis < dims.nbDims; ++axis) tensor.dims[axis] = dims.d[axis];
    return tensor;
}

nvinfer1::IDimensionExpr const* expression(logic::Extent const& extent, nvinfer1::DimsExprs const* inputs,
                                           nvinfer1::IExprBuilder& builder) {
    nvinfer1::IDimensionExpr const* made = nullptr;
    for (auto const& [input, axis] : extent.of) {
        if (input < 0) continue;
        auto const* const one = inputs[input].d[axis];
        made = made ? builder.operation(nvinfer1::DimensionOperation::kSUM, *made, *one) : one;
    }
    return made ? made : builder.constant(extent.constant);
}

}  // namespace

logic::Type type_of(DataType type) {
    for (auto const& [theirs, ours] : kTypes)
        if (theirs == type) return ours;
    return Type::kOther;
}

DataType type_of(Type type) {
    for (auto const& [theirs, ours] : kTypes)
        if (ours == type) return theirs;
    throw std::logic_error("expected a type that TensorRT has");
}

FieldType type_of(PluginFieldType type) {
    for (auto const& [theirs, ours] : kFieldTypes)
        if (theirs == type) return ours;
    return FieldType::kOther;
}

PluginFieldType type_of(FieldType type) {
    for (auto const& [theirs, ours] : kFieldTypes)
        if (ours == type) return theirs;
    return PluginFieldType::kUNKNOWN;
}

Tensors tensors_of(nvinfer1::PluginTensorDesc const* tensors, int32_t count) {
    Tensors made;
    for (int32_t i = 0; i < count; ++i) made.push_back(tensor_of(tensors[i], tensors[i].dims));
    return made;
}

Tensors tensors_of(nvinfer1::DynamicPluginTensorDesc const* tensors, int32_t count) {
    Tensors made;
    for (int32_t i = 0; i < count; ++i) made.push_back(tensor_of(tensors[i].desc, tensors[i].desc.dims));
    return made;
}

Tensors largest_of(nvinfer1::DynamicPluginTensorDesc const* tensors, int32_t count) {
    Tensors made;
    for (int32_t i = 0; i < count; ++i) made.push_back(tensor_of(tensors[i].desc, tensors[i].max));
    return made;
}

Tensors tensors_of(nvinfer1::DimsExprs const* tensors, int32_t count) {
    Tensors made(static_cast<size_t>(count));
    for (auto& tensor : made) {
        nvinfer1::DimsExprs const& dims = *tensors++;
        tensor.rank = dims.nbDims;
        for (int axis = 0; axis < dims.nbDims; ++axis)
            tensor.dims[axis] = dims.d[axis]->isConstant() ? dims.d[axis]->getConstantValue() : logic::kUnknown;
    }
    return made;
}

nvinfer1::DimsExprs shape_of(logic::Shape const& shape, nvinfer1::DimsExprs const* inputs,
                             nvinfer1::IExprBuilder& builder) {
    nvinfer1::DimsExprs made{};
    made.nbDims = shape.rank;
    for (int axis = 0; axis < shape.rank; ++axis) made.d[axis] = expression(shape.dims[axis], inputs, builder);
    return made;
}

}  // namespace ek::trt
