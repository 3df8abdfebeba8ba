// Who computes: onnxruntime or TensorRT, each compiled where its headers were found.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"

namespace edgekit {

class Backend {
  public:
    virtual ~Backend() = default;
    // One inference: the input's floats in, the output's floats out.
    virtual std::vector<float> run(std::vector<float> const& input) = 0;
};

// Both take bytes that Bundle::read verified, and throw a Refusal (kTarget) for what they cannot load.
std::unique_ptr<Backend> open_ort(std::string const& model, Bundle const& bundle);
std::unique_ptr<Backend> open_trt(std::string const& engine, Bundle const& bundle);

// The bundle's engine for the first GPU here and the TensorRT that this program is linked with; null, with `why`, where
// there is none.
Engine const* find_engine(Bundle const& bundle, std::string& why);

}  // namespace edgekit
