#include "trt/harness/session.h"

#include <algorithm>
#include <cstring>

#include "trt/harness/memory.h"

namespace ek::harness {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

void expect(int32_t status, char const* what) {
    if (status != 0) throw Refused(std::string(what) + " " + std::to_string(status));
}

bool equal(std::vector<Field> const& a, std::vector<Field> const& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](Field const& one, Field const& other) {
        return one.name == other.name && one.type == other.type && one.bytes == other.bytes;
    });
}

}  // namespace

PluginPtr create(nvinfer1::IPluginCreatorV3One& creator, std::vector<Field> const& fields,
                 nvinfer1::TensorRTPhase phase) {
    std::vector<nvinfer1::PluginField> given;
    for (auto const& field : fields)
        given.emplace_back(field.name.c_str(), field.bytes.data(), field.type, field.length);
    nvinfer1::PluginFieldCollection const all{int32_t(given.size()), given.data()};
    PluginPtr plugin(creator.createPlugin("a node", &all, phase));
    if (!plugin) throw Refused("createPlugin");
    return plugin;
}

std::vector<Field> serialized(nvinfer1::IPluginV3& plugin) {
    auto const* const all = runtime_of(plugin).getFieldsToSerialize();
    std::vector<Field> fields;
    for (int32_t i = 0; all && i < all->nbFields; ++i) {
        auto const& one = all->fields[i];
        size_t const bytes = size_t(one.length) * (one.type == nvinfer1::PluginFieldType::kCHAR ? 1 : 4);
        fields.push_back({one.name, one.type, {static_cast<char const*>(one.data), bytes}, one.length});
    }
    return fields;
}

Session::Session(nvinfer1::IPluginCreatorV3One& creator, Case const& asked)
    : creator_(creator), case_(asked), plugin_(create(creator, asked.fields, nvinfer1::TensorRTPhase::kBUILD)) {
    if (asked.runs.empty()) throw std::runtime_error("expected a run, found none");
    inputs_ = asked.runs[0].inputs.size();
    for (size_t i = 0; i < inputs_; ++i) tensors_.push_back(range(i));
    infer_shapes();
}

Session::Range Session::range(size_t input) const {
    HostTensor const& first = case_.runs[0].inputs[input];
    Range made{{first.dims, first.type, TensorFormat::kLINEAR, -1}, first.dims, first.dims, first.dims};
    for (auto const& run : case_.runs)
        for (int i = 0; i < first.dims.nbDims; ++i) {
            auto const size = run.inputs.at(input).dims.d[i];
            if (size != first.dims.d[i]) made.desc.dims.d[i] = -1;
            made.min.d[i] = std::min(made.min.d[i], size);
            made.max.d[i] = std::max(made.max.d[i], size);
        }
    return made;
}

void Session::infer_shapes() {
    ExpressionBuilder builder;
    std::vector<nvinfer1::DimsExprs> inputs;
    for (size_t input = 0; input < inputs_; ++input) {
        auto const& dims = tensors_[input].desc.dims;
        nvinfer1::DimsExprs made{dims.nbDims, {}};
        for (int i = 0; i < dims.nbDims; ++i)
            made.d[i] = builder.make([=, this](int run) { return case_.runs[size_t(run)].inputs[input].dims.d[i]; },
                                     dims.d[i] != -1);
        inputs.push_back(made);
    }
    auto& build = build_of(*plugin_);
    outputs_ = size_t(build.getNbOutputs());
    std::vector<nvinfer1::DimsExprs> outputs(outputs_);
    int32_t const ins = int32_t(inputs_), outs = int32_t(outputs_);
    expect(build.getOutputShapes(inputs.data(), ins, nullptr, 0, outputs.data(), outs, builder), "getOutputShapes");
    std::vector<DataType> types(outputs_), given;
    for (auto const& tensor : tensors_) given.push_back(tensor.desc.type);
    expect(build.getOutputDataTypes(types.data(), outs, given.data(), ins), "getOutputDataTypes");
    for (size_t run = 0; run < case_.runs.size(); ++run) {
        auto& results = results_.emplace_back();
        for (auto const& shape : outputs) {
            nvinfer1::Dims dims{shape.nbDims, {}};
            for (int i = 0; i < dims.nbDims; ++i) dims.d[i] = static_cast<Expression const*>(shape.d[i])->in(int(run));
            results.push_back(dims);
        }
    }
    for (size_t i = 0; i < outputs_; ++i)
        tensors_.push_back({{results_[0][i], types[i], TensorFormat::kLINEAR, -1}, {}, {}, {}});
}

std::string Session::formats() {
    std::string lines;
    list_formats(0, "", lines);
    return lines;
}

void Session::list_formats(int position, std::string line, std::string& lines) {
    if (size_t(position) == tensors_.size()) {
        lines += line + "\n";
        return;
    }
    for (auto const type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8, DataType::kINT32,
                            DataType::kBOOL, DataType::kINT64})
        for (auto const format : {TensorFormat::kLINEAR, TensorFormat::kCHW32}) {
            tensors_[size_t(position)].desc.type = type;
            tensors_[size_t(position)].desc.format = format;
            // What lies behind is not valid yet, and must not be looked at.
            for (size_t i = size_t(position) + 1; i < tensors_.size(); ++i)
                tensors_[i].desc.type = static_cast<DataType>(-7);
            if (build_of(*plugin_).supportsFormatCombination(position, tensors_.data(), int(inputs_), int(outputs_)))
                list_formats(position + 1,
                             line + (position ? " " : "") + name_of(type) +
                                 (format == TensorFormat::kLINEAR ? "" : " not linear"),
                             lines);
        }
}

void Session::configure() {
    auto& build = build_of(*plugin_);
    int32_t const ins = int32_t(inputs_), outs = int32_t(outputs_);
    for (int position = 0; position < ins + outs; ++position)
        if (!build.supportsFormatCombination(position, tensors_.data(), ins, outs))
            throw Refused("supportsFormatCombination " + std::to_string(position));
    expect(build.configurePlugin(tensors_.data(), ins, &tensors_[inputs_], outs), "configurePlugin");
    workspace_ = build.getWorkspaceSize(tensors_.data(), ins, &tensors_[inputs_], outs);
}

std::vector<HostTensor> Session::launch(nvinfer1::IPluginV3& plugin, int run) {
    auto& runtime = runtime_of(plugin);
    std::vector<nvinfer1::PluginTensorDesc> descs;
    std::vector<DeviceMemory> given, made;
    std::vector<void const*> inputs;
    std::vector<void*> outputs;
    for (auto const& input : case_.runs[size_t(run)].inputs) {
        descs.push_back({input.dims, input.type, TensorFormat::kLINEAR, -1});
        inputs.push_back(given.emplace_back(input.bytes).get());
    }
    for (size_t i = 0; i < outputs_; ++i) {
        auto const& dims = results_[size_t(run)][i];
        descs.push_back({dims, tensors_[inputs_ + i].desc.type, TensorFormat::kLINEAR, -1});
        made.emplace_back(bytes_of(descs.back().type, dims));
        int32_t const aliased = case_.aliased ? build_of(*plugin_).getAliasedInput(int32_t(i)) : -1;
        outputs.push_back(aliased < 0 ? made.back().get() : given[size_t(aliased)].get());
    }
    auto const* const out = descs.data() + inputs_;
    expect(runtime.onShapeChange(descs.data(), int(inputs_), out, int(outputs_)), "onShapeChange");
    DeviceMemory const workspace(workspace_);
    expect(runtime.enqueue(descs.data(), out, inputs.data(), outputs.data(), workspace.get(), nullptr), "enqueue");
    std::vector<HostTensor> results;
    for (size_t i = 0; i < outputs_; ++i) {
        size_t const bytes = bytes_of(out[i].type, out[i].dims);
        std::string const copied(bytes ? static_cast<char const*>(outputs[i]) : "", bytes);
        results.push_back({out[i].type, out[i].dims, copied});
    }
    return results;
}

std::string Session::run() {
    configure();
    auto const fields = serialized(*plugin_);
    PluginPtr const again = create(creator_, fields, nvinfer1::TensorRTPhase::kRUNTIME);
    PluginPtr const context(runtime_of(*again).attachToContext(nullptr)), copy(plugin_->clone());
    if (!equal(fields, serialized(*context)) || !equal(fields, serialized(*copy)))
        throw std::runtime_error("expected a clone with the fields of its plugin, found others");
    std::string text = "workspace " + std::to_string(workspace_) + "\n";
    for (size_t run = 0; run < case_.runs.size(); ++run) {
        if (!case_.runs[run].runs) continue;
        auto const first = launch(*copy, int(run)), second = launch(*context, int(run));
        for (size_t i = 0; i < outputs_; ++i)
            if (first[i].bytes != second[i].bytes)
                throw std::runtime_error("expected the same bits from a plugin made anew, found others");
        write_tensors(text, first);
    }
    return text;
}

}  // namespace ek::harness
