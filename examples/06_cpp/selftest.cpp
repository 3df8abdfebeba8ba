// The parts that need no onnxruntime, one at a time, for the tests to hold against Python's.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "answer.h"
#include "bundle.h"
#include "picture.h"
#include "refusal.h"
#include "sha256.h"

namespace {

using namespace edgekit;

std::string bytes_of(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string quoted(std::string const& text) {
    std::string made = "\"";
    for (char const letter : text) {
        char code[8];
        std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(letter)));
        bool const plain = static_cast<unsigned char>(letter) >= 0x20 && letter != '"' && letter != '\\';
        made += plain ? std::string(1, letter) : code;
    }
    return made + '"';
}

std::string written(Json const& json) {
    std::string made;
    char number[32];
    switch (json.kind()) {
        case Json::kNull:
            return "null";
        case Json::kBool:
            return json.flag() ? "true" : "false";
        case Json::kNumber:
            std::snprintf(number, sizeof number, "%.17g", json.number());
            return number;
        case Json::kText:
            return quoted(json.text());
        case Json::kList:
            for (Json const& item : json.list()) made += (made.empty() ? "" : ",") + written(item);
            return "[" + made + "]";
        default:
            for (auto const& [key, item] : json.table())
                made += (made.empty() ? "" : ",") + quoted(key) + ":" + written(item);
            return "{" + made + "}";
    }
}

void answer(std::string const& what, std::string const& first, std::string const& second) {
    if (what == "json") {
        std::puts(written(JsonReader(bytes_of(first)).read()).c_str());
    } else if (what == "sha256") {
        std::puts(Sha256::of(bytes_of(first)).c_str());
    } else if (what == "read") {  // BUNDLE NAME: the size of a file that was verified
        std::printf("%zu\n", Bundle(first).read(second).size());
    } else if (what == "engines") {  // BUNDLE
        for (Engine const& engine : Bundle(first).engines)
            for (auto const& capability : engine.compute_capabilities)
                std::printf("%s %s %s\n", engine.file.c_str(), engine.flavour.c_str(), capability.c_str());
    } else if (what == "tensor") {  // SPEC.json IMAGE.ppm: the floats themselves
        auto const tensor = Preprocess::of(JsonReader(bytes_of(first)).read()).tensor(read_ppm(second));
        std::fwrite(tensor.data(), sizeof(float), tensor.size(), stdout);
    } else if (what == "label") {  // SPEC.json LOGITS, raw floats
        std::string const bytes = bytes_of(second);
        auto const* logits = reinterpret_cast<float const*>(bytes.data());
        auto const best =
            Labels::of(JsonReader(bytes_of(first)).read()).best({logits, logits + bytes.size() / sizeof(float)});
        std::printf("%s %.9f\n", best.label.c_str(), best.probability);
    } else {
        throw Refusal(kUsage, "expected json, sha256, read, engines, tensor or label, found " + what);
    }
}

}  // namespace

int main(int count, char** arguments) try {
    if (count < 3) throw Refusal(kUsage, "expected selftest WHAT PATH [MORE], found too few arguments");
    answer(arguments[1], arguments[2], count > 3 ? arguments[3] : "");
    return 0;
} catch (edgekit::Refusal const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.code;
} catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
