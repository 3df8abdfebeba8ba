#include "bundle.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>

#include "refusal.h"
#include "sha256.h"

namespace edgekit {
namespace {

constexpr char const* kManifest = "manifest.json";
constexpr std::uint64_t kLargestManifest = 1 << 20;
constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 33;
constexpr char const* kAgain = "; next: get the bundle again";
// TensorRT's engines run on the platform alone that they were built on.
#ifdef _WIN32
constexpr char const* kOs = "windows";
#else
constexpr char const* kOs = "linux";
#endif
#ifdef __aarch64__
constexpr char const* kArchitecture = "aarch64";
#else
constexpr char const* kArchitecture = "x86_64";
#endif

bool is_or_unknown(std::string const& said, char const* here) { return said.empty() || said == here; }

Refusal damaged(std::string const& line) { return Refusal(kIntegrity, line); }

// At most `most` bytes and one more, which tells that there are too many. Links, pipes and devices are refused unread.
std::string bytes_of(std::filesystem::path const& path, std::uint64_t most) {
    std::error_code none;
    if (std::filesystem::symlink_status(path, none).type() != std::filesystem::file_type::regular)
        throw damaged("expected " + path.string() + ", found no such file" + kAgain);
    std::ifstream file(path, std::ios::binary);
    std::string bytes;
    bytes.resize(std::min<std::uint64_t>(std::filesystem::file_size(path, none), most) + 1);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(file.gcount()));
    return bytes;
}

bool plain(std::string const& name) {
    // Letters, digits and _.- in parts that do not begin with a dot or a dash: no way out of the folder.
    char before = '/';
    for (char const letter : name) {
        bool const word = std::isalnum(static_cast<unsigned char>(letter)) || letter == '_';
        bool const inside = letter == '.' || letter == '-' || letter == '/';
        if (!word && !(inside && before != '/')) return false;
        before = letter;
    }
    return before != '/';
}

std::int64_t whole(Json const& value, double most) {
    double const number = value.number();
    if (!(number >= 0 && number <= most) || number != std::floor(number))
        throw BadJson("expected a whole number from 0 to " + std::to_string(most) + ", found " +
                      std::to_string(number));
    return static_cast<std::int64_t>(number);
}

// The digest is that of the manifest without the line that holds it. A line break cannot be part of a JSON string, and
// only keys of the outermost table are indented by one space: there is one such line, or the manifest is not ours.
void check_digest(std::string text) {
    static std::string const kBefore = "\n \"manifest_sha256\": \"";
    auto const start = text.find(kBefore);
    auto const end = start == text.npos ? start : text.find('\n', start + 1);
    std::string line = start == text.npos || end == text.npos ? "" : text.substr(start, end - start);
    if (!line.empty()) text.erase(start, end - start);
    if (line != kBefore + Sha256::of(text) + "\",")
        throw damaged(std::string("expected ") + kManifest + " to match its own SHA-256, found that it was changed" +
                      kAgain);
}

// Of an open axis, the smallest size for which the network was built.
std::int64_t least(Json const& ranges, std::string const& axis) {
    auto const found = ranges.table().find(axis);
    if (found == ranges.table().end()) return 1;
    if (found->second.list().size() != 3) throw BadJson("expected three sizes for " + axis + ", found another number");
    return whole(found->second.list()[0], 1 << 30);
}

Tensor only(Json const& tensors, Json const& ranges, char const* what) {
    if (tensors.list().size() != 1)
        throw Refusal(kTarget,
                      std::string("expected one ") + what + ", found " + std::to_string(tensors.list().size()));
    Json const& found = tensors.list()[0];
    Tensor tensor{found.at("name").text(), {}};
    for (Json const& axis : found.at("shape").list()) {
        bool const open = axis.kind() == Json::kText;
        std::int64_t const size = open ? std::max<std::int64_t>(1, least(ranges, axis.text())) : whole(axis, 1 << 30);
        if (tensor.shape.empty() ? size != 1 : open || size == 0)
            throw Refusal(kTarget,
                          tensor.name + ": expected a batch of one and fixed sizes otherwise, found another shape");
        tensor.shape.push_back(size);
    }
    if (tensor.shape.empty() || found.at("dtype").text() != "float32")
        throw Refusal(kTarget, tensor.name + ": expected float32, found " + found.at("dtype").text());
    return tensor;
}

}  // namespace

std::size_t Tensor::count() const {
    std::size_t product = 1;
    for (auto const size : shape) product *= static_cast<std::size_t>(size);
    return product;
}

Bundle::Bundle(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::error_code none;
    if (!std::filesystem::is_directory(folder_, none))
        throw Refusal(kFailed, "expected a bundle folder at " + folder_.string() +
                                   ", found none; next: edgekit deploy MODEL OUT --target T");
    std::string const text = bytes_of(folder_ / kManifest, kLargestManifest);
    if (text.size() > kLargestManifest)
        throw damaged(std::string("expected ") + kManifest + " of at most 1 MiB, found more");
    check_digest(text);
    try {
        take(JsonReader(text).read());
    } catch (BadJson const& error) {
        throw damaged(std::string("expected ") + kManifest + " as edgekit writes it, found: " + error.what());
    }
}

void Bundle::take(Json const& manifest) {
    if (manifest.at("schema").number() != 3)
        throw damaged("expected a bundle manifest of schema 3, found another; next: an edgekit_run of its age");
    for (auto const& [name, entry] : manifest.at("files").table()) {
        if (!plain(name) || name == kManifest) throw damaged("expected plain file names, found " + name);
        auto const size = static_cast<std::uint64_t>(whole(entry.at("size"), kLargestFile));
        files_[name] = {size, entry.at("sha256").text()};
    }
    if (!manifest.at("stream").text().empty())
        throw Refusal(kTarget, "expected a network without states, found a stream; next: edgekit.runtime");
    model = manifest.at("model").at("file").text();
    optimize = manifest.at("model").at("optimization").text() == "all";
    preprocess = manifest.at("preprocess").text();
    postprocess = manifest.at("postprocess").text();
    if (preprocess.empty() || postprocess.empty())
        throw Refusal(kTarget,
                      "expected preprocessing and labels in the bundle, found none; next: deploy with a recipe");
    for (auto const& name : {model, preprocess, postprocess}) check_listed(name);
    for (Json const& entry : manifest.at("engines").list()) {
        if (!is_or_unknown(entry.at("os").text(), kOs)) continue;
        if (!is_or_unknown(entry.at("architecture").text(), kArchitecture)) continue;
        Engine engine{entry.at("file").text(),
                      entry.at("flavour").text(),
                      entry.at("version").text(),
                      entry.at("plugins").text(),
                      {}};
        for (Json const& item : entry.at("compute_capabilities").list())
            engine.compute_capabilities.push_back(item.text());
        check_listed(engine.file);
        engines.push_back(std::move(engine));
    }
    input = only(manifest.at("inputs"), manifest.at("ranges"), "input");
    output = only(manifest.at("outputs"), manifest.at("ranges"), "output");
}

void Bundle::check_listed(std::string const& name) const {
    if (!files_.count(name)) throw damaged("expected " + name + " among the files of the manifest, found none");
}

std::string Bundle::read(std::string const& name) const {
    check_listed(name);
    FileEntry const& entry = files_.at(name);
    auto const path = folder_ / name;
    std::string bytes = bytes_of(path, entry.size);
    if (bytes.size() != entry.size)
        throw damaged("expected " + std::to_string(entry.size) + " bytes in " + path.string() + ", found " +
                      (bytes.size() > entry.size ? "more" : std::to_string(bytes.size())) + kAgain);
    std::string const found = Sha256::of(bytes);
    if (found != entry.sha256)
        throw damaged("expected SHA-256 " + entry.sha256.substr(0, 12) + "... of " + path.string() + ", found " +
                      found.substr(0, 12) + "...: it was changed" + kAgain);
    return bytes;
}

Json Bundle::spec(std::string const& name) const {
    try {
        return JsonReader(read(name)).read();
    } catch (BadJson const& error) {
        throw damaged("expected a spec as JSON in " + name + ", found: " + error.what());
    }
}

}  // namespace edgekit
