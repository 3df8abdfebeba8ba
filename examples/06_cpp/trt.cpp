// The bundle's engine on the first GPU: standard TensorRT or TensorRT-RTX, which have the same C++ API. EDGEKIT_FLAVOUR
// says which of them the program is linked with.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>

#include "backend.h"
#include "refusal.h"

namespace edgekit {
namespace {

class Log final : public nvinfer1::ILogger {
  public:
    void log(Severity severity, char const* text) noexcept override {
        if (severity <= Severity::kERROR) std::fprintf(stderr, "TensorRT: %s\n", text);
    }
};

void check(cudaError_t code, char const* what) {
    if (code != cudaSuccess) throw Refusal(kTarget, std::string(what) + " failed: " + cudaGetErrorString(code));
}

void require(bool done, std::string const& what) {
    if (!done) throw Refusal(kTarget, EDGEKIT_FLAVOUR " " + what + "; next: edgekit_run BUNDLE IMAGE.ppm ort");
}

class Stream {
  public:
    Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(Stream const&) = delete;
    Stream& operator=(Stream const&) = delete;
    operator cudaStream_t() const { return stream_; }

  private:
    cudaStream_t stream_ = nullptr;
};

class DeviceMemory {
  public:
    explicit DeviceMemory(std::size_t bytes) { check(cudaMalloc(&at_, bytes), "cudaMalloc"); }
    ~DeviceMemory() { cudaFree(at_); }
    DeviceMemory(DeviceMemory const&) = delete;
    DeviceMemory& operator=(DeviceMemory const&) = delete;
    void* get() const { return at_; }

  private:
    void* at_ = nullptr;
};

nvinfer1::Dims dims(std::vector<std::int64_t> const& shape) {
    nvinfer1::Dims made{};
    require(shape.size() <= std::size_t{nvinfer1::Dims::MAX_DIMS}, "takes fewer axes");
    made.nbDims = static_cast<std::int32_t>(shape.size());
    for (std::size_t axis = 0; axis < shape.size(); ++axis) made.d[axis] = shape[axis];
    return made;
}

class TrtBackend final : public Backend {
  public:
    TrtBackend(std::string const& content, Bundle const& bundle)
        : input_(bundle.input),
          output_(bundle.output),
          device_input_(input_.count() * sizeof(float)),
          device_output_(output_.count() * sizeof(float)) {
        runtime_.reset(nvinfer1::createInferRuntime(log_));
        require(runtime_ != nullptr, "does not start");
        // An engine may carry host code; nothing of ours needs it, so nothing may bring it.
        runtime_->setEngineHostCodeAllowed(false);
        engine_.reset(runtime_->deserializeCudaEngine(content.data(), content.size()));
        require(engine_ != nullptr, "does not load the engine");
        // No buffer is too small only where the tensors of the engine are those of the manifest.
        require(engine_->getNbIOTensors() == 2 && holds(input_, nvinfer1::TensorIOMode::kINPUT) &&
                    holds(output_, nvinfer1::TensorIOMode::kOUTPUT),
                "has other tensors than the manifest says");
        context_.reset(engine_->createExecutionContext());
        require(context_ != nullptr, "makes no execution context");
        require(context_->setInputShape(input_.name.c_str(), dims(input_.shape)), "refuses the input's shape");
        auto const shape = context_->getTensorShape(output_.name.c_str());
        auto const wanted = dims(output_.shape);
        require(shape.nbDims == wanted.nbDims && std::equal(shape.d, shape.d + shape.nbDims, wanted.d),
                "has an output of another shape than the manifest says");
        require(context_->setTensorAddress(input_.name.c_str(), device_input_.get()) &&
                    context_->setTensorAddress(output_.name.c_str(), device_output_.get()),
                "takes no address");
    }

    std::vector<float> run(std::vector<float> const& input) override {
        require(input.size() == input_.count(), "expected as many floats as the input has");
        std::vector<float> made(output_.count());
        check(cudaMemcpyAsync(device_input_.get(), input.data(), input.size() * sizeof(float), cudaMemcpyHostToDevice,
                              stream_),
              "cudaMemcpyAsync");
        require(context_->enqueueV3(stream_), "could not enqueue the inference");
        check(cudaMemcpyAsync(made.data(), device_output_.get(), made.size() * sizeof(float), cudaMemcpyDeviceToHost,
                              stream_),
              "cudaMemcpyAsync");
        check(cudaStreamSynchronize(stream_), "the inference");
        return made;
    }

  private:
    bool holds(Tensor const& tensor, nvinfer1::TensorIOMode mode) const {
        char const* name = tensor.name.c_str();
        return engine_->getTensorIOMode(name) == mode &&
               engine_->getTensorDataType(name) == nvinfer1::DataType::kFLOAT &&
               engine_->getTensorLocation(name) == nvinfer1::TensorLocation::kDEVICE;
    }

    Log log_;
    Tensor input_, output_;
    Stream stream_;
    DeviceMemory device_input_, device_output_;
    // Destroyed in the reverse order: context, engine, runtime, and memory last.
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

std::string compute_capability() {
    int count = 0, major = 0, minor = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return "";
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "cudaDeviceGetAttribute");
    return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

std::unique_ptr<Backend> open_trt(std::string const& engine, Bundle const& bundle) {
    return std::make_unique<TrtBackend>(engine, bundle);
}

Engine const* find_engine(Bundle const& bundle, std::string& why) {
    std::string const here = compute_capability();
    if (here.empty()) return why = "no GPU here", nullptr;
    for (Engine const& engine : bundle.engines) {
        auto const& built = engine.compute_capabilities;
        if (engine.flavour != EDGEKIT_FLAVOUR || std::find(built.begin(), built.end(), here) == built.end()) continue;
        if (engine.plugins.empty()) return &engine;
        why = engine.file + " needs plugins, which this program does not load";
    }
    if (why.empty()) why = "no engine of " EDGEKIT_FLAVOUR " for compute capability " + here;
    return nullptr;
}

}  // namespace edgekit
