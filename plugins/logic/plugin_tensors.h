// What a plugin is told of its inputs and asked about its outputs, without TensorRT's types.
#pragma once
#include <initializer_list>
#include <string>

namespace ek::logic {

enum class Type { kFloat32, kFloat16, kBFloat16, kInt8, kInt32, kOther };

constexpr int kMostAxes = 8;
constexpr long long kUnknown = -1;

struct Tensor {
    Type type = Type::kOther;
    bool linear = true;  // dense, in the order of its shape
    int rank = 0;
    long long dims[kMostAxes] = {};  // kUnknown while an engine is built
    void const* data = nullptr;
};

// An operator's input that is not there is a constant of shape [0].
inline bool is_there(Tensor const& tensor) { return tensor.rank != 1 || tensor.dims[0] != 0; }

// A dimension of an output: a constant, plus axes of inputs.
struct Extent {
    long long constant = 0;
    struct {
        int input = -1, axis = 0;
    } of[2] = {};
};

struct Shape {
    int rank = 0;
    Extent dims[kMostAxes] = {};
};

inline Extent constant(long long value) { return {value, {}}; }
inline Extent axis(int input, int axis) { return {0, {{input, axis}, {}}}; }
inline Extent sum(int input, int first, int other, int second) { return {0, {{input, first}, {other, second}}}; }

// "[2,-1,8]"
std::string text_of(Tensor const& tensor);
char const* text_of(Type type);

// Compares a shape with sizes that other tensors have set: a size of kUnknown is set by this one, and an unknown
// dimension fits. What is wrong in one line, else an empty text.
std::string fit(char const* name, Tensor const& tensor, std::initializer_list<long long*> sizes);

}  // namespace ek::logic
