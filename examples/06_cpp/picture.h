// A PPM becomes the input tensor as the bundle's preprocess.json says: what edgekit.preprocess.image does, in C++.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "json.h"

namespace edgekit {

struct Picture {
    int height = 0, width = 0;
    std::vector<std::uint8_t> rgb;  // [H,W,3]
};

// Binary PPM (P6) of 8 bits: `Image.open(...).convert("RGB").save("x.ppm")`. Throws a Refusal (kFailed).
Picture read_ppm(std::filesystem::path const& path);

// The keys of edgekit/specs/image.py, [preprocess] of a recipe.
struct Preprocess {
    std::string input;
    int resize, crop;
    bool bicubic;  // else bilinear
    bool channels_last;
    // Weights of R, G and B in each channel, and that channel's mean and std: RGB, BGR or gray by ITU-R BT.601.
    std::vector<std::array<float, 3>> colours;
    std::vector<float> mean, std;

    // Throws a Refusal (kIntegrity) for what is no such spec, kTarget for one of sounds or texts.
    static Preprocess of(Json const& spec);
    // float32 [C,crop,crop], or [crop,crop,C].
    std::vector<float> tensor(Picture const& picture) const;
};

}  // namespace edgekit
