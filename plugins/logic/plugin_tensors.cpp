#include "logic/plugin_tensors.h"

namespace ek::logic {
namespace {

template <typename Next>
std::string listed(int count, Next next) {
    std::string text = "[";
    for (int i = 0; i < count; ++i) text.append(i ? "," : "").append(std::to_string(next()));
    return text + "]";
}

}  // namespace

std::string text_of(Tensor const& tensor) {
    return listed(tensor.rank, [dim = tensor.dims]() mutable { return *dim++; });
}

char const* text_of(Type type) {
    constexpr char const* names[] = {"FP32", "FP16", "BF16", "INT8", "INT32", "another type"};
    return names[int(type)];
}

std::string fit(char const* name, Tensor const& tensor, std::initializer_list<long long*> sizes) {
    bool fits = tensor.rank == int(sizes.size());
    int i = 0;
    for (long long* size : sizes) {
        if (!fits) break;
        long long const found = tensor.dims[i++];
        if (*size == kUnknown) *size = found;
        fits = found == kUnknown || found == *size;
    }
    if (fits) return {};
    std::string const wanted = listed(int(sizes.size()), [size = sizes.begin()]() mutable { return **size++; });
    return std::string("expected ") + name + " of " + wanted + ", found " + text_of(tensor);
}

}  // namespace ek::logic
