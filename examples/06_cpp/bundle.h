// A bundle of edgekit, schema 3: its manifest, and the bytes of its files once they were verified.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "json.h"

namespace edgekit {

struct FileEntry {
    std::uint64_t size;  // bytes
    std::string sha256;
};

struct Engine {
    std::string file, flavour, version, plugins;
    std::vector<std::string> compute_capabilities;
};

// float32 [1, ...]: this program computes one picture at a time.
struct Tensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::size_t count() const;
};

// Everything throws a Refusal: kIntegrity for what is damaged, missing or no bundle of ours, kTarget for a sound bundle
// that needs more than this program has.
class Bundle {
  public:
    // Reads manifest.json and holds it against its own digest.
    explicit Bundle(std::filesystem::path folder);

    // The file's bytes: the very ones whose size and SHA-256 were compared, so that no one can swap them after.
    std::string read(std::string const& name) const;
    // The same, read as JSON.
    Json spec(std::string const& name) const;

    std::string model, preprocess, postprocess;
    bool optimize;  // the level of onnxruntime's optimisation at which the model was judged: all, or none
    std::vector<Engine> engines;
    // The one input and the one output that a classifier of pictures has; refused where they are others.
    Tensor input, output;

  private:
    void take(Json const& manifest);
    void check_listed(std::string const& name) const;

    std::filesystem::path folder_;
    std::map<std::string, FileEntry> files_;
};

}  // namespace edgekit
