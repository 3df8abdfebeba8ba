// The ONNX on onnxruntime's CPU, with the options of edgekit/runtime/ort.py.
#include <onnxruntime_cxx_api.h>
#include <stdlib.h>  // setenv, which is POSIX's

#include "backend.h"
#include "refusal.h"

namespace edgekit {
namespace {

class OrtBackend final : public Backend {
  public:
    OrtBackend(std::string const& model, Bundle const& bundle)
        : input_(bundle.input), output_(bundle.output), env_(ORT_LOGGING_LEVEL_FATAL, "edgekit") {
        Ort::SessionOptions options;
        options.SetGraphOptimizationLevel(bundle.optimize ? ORT_ENABLE_ALL : ORT_DISABLE_ALL);
        // A spinning pool steals the cores that the robot's other threads need.
        options.AddConfigEntry("session.intra_op.allow_spinning", "0");
        session_ = Ort::Session(env_, model.data(), model.size(), options);
    }

    std::vector<float> run(std::vector<float> const& input) override try {
        auto const memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        // onnxruntime only reads it; its signature does not say so.
        auto const given = Ort::Value::CreateTensor<float>(memory, const_cast<float*>(input.data()), input.size(),
                                                           input_.shape.data(), input_.shape.size());
        char const *in = input_.name.c_str(), *out = output_.name.c_str();
        auto const made = session_.Run(Ort::RunOptions{nullptr}, &in, &given, 1, &out, 1);
        auto const found = made.at(0).GetTensorTypeAndShapeInfo();
        if (found.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || found.GetShape() != output_.shape)
            throw Refusal(kFailed, output_.name + ": expected the shape of the manifest, found another");
        auto const* values = made[0].GetTensorData<float>();
        return {values, values + output_.count()};
    } catch (Ort::Exception const& error) {
        throw Refusal(kFailed, std::string("onnxruntime failed: ") + error.what());
    }

  private:
    Tensor input_, output_;
    Ort::Env env_;
    Ort::Session session_{nullptr};
};

}  // namespace

std::unique_ptr<Backend> open_ort(std::string const& model, Bundle const& bundle) {
    // A library that is older than the headers has no such API; asking for it anyway would crash.
    if (!OrtGetApiBase()->GetApi(ORT_API_VERSION))
        throw Refusal(kTarget, std::string("expected onnxruntime 1.") + std::to_string(ORT_API_VERSION) +
                                   " or later, as its headers were, found " + OrtGetApiBase()->GetVersionString());
    // From 1.29 on its builds for Linux tell Microsoft of every model that is loaded, unless this is set before.
    ::setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    try {
        return std::make_unique<OrtBackend>(model, bundle);
    } catch (Ort::Exception const& error) {
        throw Refusal(kTarget, std::string("onnxruntime refuses the model: ") + error.what());
    }
}

}  // namespace edgekit
