#include "trt/harness/case.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace ek::harness {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginFieldType;

struct {
    DataType type;
    char const* name;
    size_t bytes;
} constexpr kTypes[] = {{DataType::kFLOAT, "FP32", 4}, {DataType::kHALF, "FP16", 2},   {DataType::kBF16, "BF16", 2},
                        {DataType::kINT8, "INT8", 1},  {DataType::kINT32, "INT32", 4}, {DataType::kBOOL, "BOOL", 1},
                        {DataType::kINT64, "INT64", 8}};

struct {
    PluginFieldType type;
    char const* name;
} constexpr kFieldTypes[] = {
    {PluginFieldType::kINT32, "int"}, {PluginFieldType::kFLOAT32, "float"}, {PluginFieldType::kCHAR, "text"}};

DataType type_named(std::string const& name) {
    for (auto const& known : kTypes)
        if (name == known.name) return known.type;
    throw std::runtime_error("expected a type of a tensor, found " + name);
}

nvinfer1::Dims dims_of(std::string const& text) {
    nvinfer1::Dims dims{};
    std::stringstream numbers(text == "-" ? "" : text);
    for (std::string number; std::getline(numbers, number, ',');) dims.d[dims.nbDims++] = std::stol(number);
    return dims;
}

template <typename T>
std::string bytes_in(T value) {
    return {reinterpret_cast<char const*>(&value), sizeof value};
}

Field read_field(std::stringstream& words) {
    Field field;
    std::string type, value;
    words >> field.name >> type >> value;
    field.length = 1;
    if (type == "int") {
        field.type = PluginFieldType::kINT32;
        std::stringstream numbers(value);
        for (std::string number; std::getline(numbers, number, ',');) field.bytes += bytes_in(std::stoi(number));
        field.length = int(field.bytes.size() / sizeof(int));
    } else if (type == "float") {
        field.type = PluginFieldType::kFLOAT32;
        field.bytes = bytes_in(std::stof(value));
    } else {
        // With a zero at its end, as the ONNX parser hands it over.
        field.type = PluginFieldType::kCHAR;
        field.bytes = value + '\0';
        field.length = int(field.bytes.size());
    }
    return field;
}

HostTensor read_tensor(std::stringstream& words, std::istream& file) {
    std::string type, dims;
    size_t size = 0;
    words >> type >> dims >> size;
    HostTensor tensor{type_named(type), dims_of(dims), std::string(size, '\0')};
    file.read(tensor.bytes.data(), std::streamsize(size));
    file.get();
    if (!file || size != bytes_of(tensor.type, tensor.dims))
        throw std::runtime_error("expected a tensor's bytes, found " + std::to_string(size));
    return tensor;
}

}  // namespace

Case read_case(char const* path) {
    std::ifstream file(path, std::ios::binary);
    Case made;
    for (std::string line, word; std::getline(file, line);) {
        std::stringstream words(line);
        words >> word;
        if (word == "op")
            words >> made.op;
        else if (word == "device")
            words >> made.sm >> made.multiprocessors;
        else if (word == "field")
            made.fields.push_back(read_field(words));
        else if (word == "run" || word == "bound")
            made.runs.push_back({word == "run", {}});
        else if (word == "tensor" && !made.runs.empty())
            made.runs.back().inputs.push_back(read_tensor(words, file));
        else if (word == "aliased")
            words >> made.aliased;
        else
            throw std::runtime_error("expected a line of a case, found " + line);
    }
    if (made.op.empty()) throw std::runtime_error(std::string("expected a case, found none in ") + path);
    return made;
}

void write_tensors(std::string& text, std::vector<HostTensor> const& tensors) {
    for (auto const& tensor : tensors) {
        text += std::string("tensor ") + name_of(tensor.type) + " ";
        for (int i = 0; i < tensor.dims.nbDims; ++i) text += (i ? "," : "") + std::to_string(tensor.dims.d[i]);
        text += " " + std::to_string(tensor.bytes.size()) + "\n" + tensor.bytes + "\n";
    }
}

char const* name_of(DataType type) {
    for (auto const& known : kTypes)
        if (type == known.type) return known.name;
    return "other";
}

char const* name_of(PluginFieldType type) {
    for (auto const& known : kFieldTypes)
        if (type == known.type) return known.name;
    return "other";
}

size_t bytes_of(DataType type, nvinfer1::Dims const& dims) {
    size_t bytes = 0;
    for (auto const& known : kTypes)
        if (type == known.type) bytes = known.bytes;
    for (int i = 0; i < dims.nbDims; ++i) bytes *= size_t(dims.d[i]);
    return bytes;
}

}  // namespace ek::harness
