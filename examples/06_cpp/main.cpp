// edgekit_run BUNDLE IMAGE.ppm [auto|ort|trt]: what is on a picture. Nothing is loaded that was not verified.
#include <chrono>
#include <cstdio>

#include "answer.h"
#include "backend.h"
#include "picture.h"
#include "refusal.h"

namespace {

using namespace edgekit;

struct Opened {
    std::string name;
    std::unique_ptr<Backend> backend;
};

// An engine for this very GPU where the bundle has one that loads, else the ONNX; `wanted` may ask for either.
Opened open([[maybe_unused]] Bundle const& bundle, std::string const& wanted) {
    std::string why = "a program compiled without TensorRT";
#ifdef EDGEKIT_FLAVOUR
    why.clear();
    Engine const* engine = wanted == "ort" ? nullptr : find_engine(bundle, why);
    if (engine) {
        try {
            return {"trt", open_trt(bundle.read(engine->file), bundle)};
        } catch (Refusal const& error) {
            if (error.code != kTarget) throw;
            why = error.what();
        }
    }
    if (wanted == "auto") std::fprintf(stderr, "edgekit_run: onnxruntime, since %s\n", why.c_str());
#endif
    if (wanted == "trt") throw Refusal(kTarget, "expected an engine that runs here, found: " + why);
#ifdef EDGEKIT_ORT
    return {"ort", open_ort(bundle.read(bundle.model), bundle)};
#else
    throw Refusal(kTarget,
                  "expected onnxruntime, found a program without it; next: cmake with "
                  "-DONNXRUNTIME_INCLUDE and -DONNXRUNTIME_LIBRARY");
#endif
}

void run(std::string const& folder, std::string const& image, std::string const& wanted) {
    Bundle const bundle(folder);
    auto const preprocess = Preprocess::of(bundle.spec(bundle.preprocess));
    auto const labels = Labels::of(bundle.spec(bundle.postprocess));
    auto const input = preprocess.tensor(read_ppm(image));
    if (preprocess.input != bundle.input.name || labels.output != bundle.output.name ||
        input.size() != bundle.input.count())
        throw Refusal(kIntegrity, "expected preprocessing and labels for the network's tensors, found others");
    auto const [name, backend] = open(bundle, wanted);
    backend->run(input);  // the first run is slower than every other
    auto const start = std::chrono::steady_clock::now();
    auto const best = labels.best(backend->run(input));
    std::chrono::duration<double, std::milli> const took = std::chrono::steady_clock::now() - start;
    std::printf("%s %.4f in %.1f ms on %s\n", best.label.c_str(), best.probability, took.count(), name.c_str());
}

int refused(int code, char const* line) {
    std::fprintf(stderr, "edgekit_run: error: %s\n", line);
    return code;
}

}  // namespace

int main(int count, char** arguments) try {
    std::string const wanted = count == 4 ? arguments[3] : "auto";
    if (count < 3 || count > 4 || (wanted != "auto" && wanted != "ort" && wanted != "trt"))
        return refused(kUsage, "expected edgekit_run BUNDLE IMAGE.ppm [auto|ort|trt], found other arguments");
    run(arguments[1], arguments[2], wanted);
    return 0;
} catch (Refusal const& error) {
    return refused(error.code, error.what());
} catch (std::exception const& error) {
    return refused(kFailed, error.what());
}
