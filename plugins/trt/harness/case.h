// What a test hands to the harness and gets back: lines of text, and the bytes of tensors between them.
//
//   op EdgekitLSTM              the operator
//   device 87 16                the emulated SM and its multiprocessors
//   field clip float 1.5        a field of the node: int (or several, as 1,2), float or text
//   run                         the tensors that follow are its inputs; `bound` instead: they only widen the profile
//   tensor FP32 5,2,1,16 640    type, shape, bytes; the bytes follow, and a line break
//   aliased 0                   do not give an output the memory of its input, though the plugin asks for it
#pragma once
#include <string>
#include <vector>

#include "trt/version.h"

namespace ek::harness {

struct HostTensor {
    nvinfer1::DataType type;
    nvinfer1::Dims dims;
    std::string bytes;
};

struct Field {
    std::string name;
    nvinfer1::PluginFieldType type;
    std::string bytes;
    int length;
};

struct Run {
    bool runs;  // or only widens the profile
    std::vector<HostTensor> inputs;
};

struct Case {
    std::string op;
    int sm = 87, multiprocessors = 16;
    bool aliased = true;
    std::vector<Field> fields;
    std::vector<Run> runs;
};

// Throws std::runtime_error for what is not as above.
Case read_case(char const* path);
// Appends tensors as they are read.
void write_tensors(std::string& text, std::vector<HostTensor> const& tensors);

char const* name_of(nvinfer1::DataType type);
char const* name_of(nvinfer1::PluginFieldType type);
size_t bytes_of(nvinfer1::DataType type, nvinfer1::Dims const& dims);

}  // namespace ek::harness
