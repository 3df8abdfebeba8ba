#include "picture.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <iterator>

#include "refusal.h"

namespace edgekit {
namespace {

constexpr int kLargestSide = 1 << 15;

// Which source rows make an output row, and how much each counts.
struct Taps {
    int first;
    std::vector<float> weights;
};

double triangle(double x) { return std::max(1.0 - x, 0.0); }

// Keys 1981, equation 15, with a = -0.5.
double cubic(double x) {
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// The windows of Pillow's `Image.resize`: the filter sits on the output row's centre, is widened by the scale when
// shrinking, cut at the border, and its weights sum to one. `count` rows from `offset` on are those that the crop
// keeps.
std::vector<Taps> taps(int source, std::int64_t resized, int crop, bool bicubic) {
    double const scale = static_cast<double>(source) / static_cast<double>(resized);
    double const stretch = std::max(scale, 1.0);
    double const reach = stretch * (bicubic ? 2 : 1);
    // Halves to even, as torchvision's center_crop and Python round; so does nearbyint unless someone changed its mode.
    double const offset = std::nearbyint(static_cast<double>(resized - crop) / 2);
    std::vector<Taps> found;
    for (int row = 0; row < crop; ++row) {
        double const centre = (offset + row + 0.5) * scale;
        int const low = std::max(static_cast<int>(centre - reach + 0.5), 0);
        int const high = std::min(static_cast<int>(centre + reach + 0.5), source);
        std::vector<double> weights;
        double sum = 0;
        for (int from = low; from < high; ++from) {
            double const distance = std::abs(from + 0.5 - centre) / stretch;
            weights.push_back(bicubic ? cubic(distance) : triangle(distance));
            sum += weights.back();
        }
        for (double& weight : weights) weight /= sum;
        found.push_back({low, {weights.begin(), weights.end()}});
    }
    return found;
}

int number(std::string const& bytes, std::size_t& at) {
    while (at < bytes.size() && (std::isspace(static_cast<unsigned char>(bytes[at])) || bytes[at] == '#')) {
        if (bytes[at] == '#')
            while (at < bytes.size() && bytes[at] != '\n') ++at;
        else
            ++at;
    }
    int found = -1;
    for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; ++at)
        found = std::min(std::max(found, 0) * 10 + (bytes[at] - '0'), 1 << 20);
    return found;
}

std::vector<float> floats(Json const& list) {
    std::vector<float> found;
    for (Json const& item : list.list()) found.push_back(static_cast<float>(item.number()));
    return found;
}

// The index of a text among those that the key may have.
int choice(Json const& spec, char const* key, std::vector<std::string> const& known) {
    auto const found = std::find(known.begin(), known.end(), spec.at(key).text());
    if (found == known.end()) throw BadJson(std::string(key) + ": expected another text, found " + spec.at(key).text());
    return static_cast<int>(found - known.begin());
}

}  // namespace

Picture read_ppm(std::filesystem::path const& path) {
    std::ifstream file(path, std::ios::binary);
    std::string const bytes{std::istreambuf_iterator<char>(file), {}};
    std::size_t at = 2;
    Picture picture;
    if (bytes.compare(0, 2, "P6") == 0) {
        picture.width = number(bytes, at);
        picture.height = number(bytes, at);
    }
    int const largest = picture.width > 0 ? number(bytes, at) : 0;
    ++at;  // one space ends the header
    bool const sizes =
        0 < std::min(picture.width, picture.height) && std::max(picture.width, picture.height) <= kLargestSide;
    auto const count = sizes ? std::size_t{3} * picture.width * picture.height : 0;
    if (!sizes || largest != 255 || bytes.size() < at || bytes.size() - at != count)
        throw Refusal(kFailed, "expected a PPM (P6) of 8 bits at " + path.string() +
                                   ", found none; next: Image.open(photo).convert('RGB').save('photo.ppm')");
    picture.rgb.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end());
    return picture;
}

Preprocess Preprocess::of(Json const& spec) try {
    if (spec.at("kind").text() != "image")
        throw Refusal(
            kTarget, "expected preprocessing of pictures, found " + spec.at("kind").text() + "; next: edgekit.runtime");
    Preprocess made;
    made.input = spec.at("input").text();
    double const resize = spec.at("resize").number(), crop = spec.at("crop").number();
    bool const whole = resize == std::floor(resize) && crop == std::floor(crop);
    if (!(whole && crop >= 1 && crop <= resize && resize <= kLargestSide))
        throw BadJson("expected 0 < crop <= resize, found others");
    made.resize = static_cast<int>(resize), made.crop = static_cast<int>(crop);
    made.bicubic = choice(spec, "interpolation", {"bilinear", "bicubic"});
    made.channels_last = choice(spec, "layout", {"NCHW", "NHWC"});
    switch (choice(spec, "colour", {"RGB", "BGR", "GRAY"})) {
        case 0:
            made.colours = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
            break;
        case 1:
            made.colours = {{0, 0, 1}, {0, 1, 0}, {1, 0, 0}};
            break;
        default:
            made.colours = {{0.299F, 0.587F, 0.114F}};
    }
    made.mean = floats(spec.at("mean")), made.std = floats(spec.at("std"));
    if (made.mean.size() != made.colours.size() || made.std.size() != made.colours.size())
        throw BadJson("expected a mean and a std for each channel, found another number");
    auto const usable = [](float value) { return std::isfinite(value); };
    if (!std::all_of(made.mean.begin(), made.mean.end(), usable) ||
        !std::all_of(made.std.begin(), made.std.end(), usable) || std::count(made.std.begin(), made.std.end(), 0.0F))
        throw BadJson("expected finite means and stds other than 0, found others");
    return made;
} catch (BadJson const& error) {
    throw Refusal(kIntegrity, std::string("expected preprocessing as edgekit writes it, found: ") + error.what());
}

std::vector<float> Preprocess::tensor(Picture const& picture) const {
    // The shorter side becomes `resize`, the longer one keeps the ratio, rounded down.
    int const shorter = std::min(picture.height, picture.width);
    auto const resized = [&](int size) { return std::int64_t{resize} * size / shorter; };
    auto const rows = taps(picture.height, resized(picture.height), crop, bicubic);
    auto const columns = taps(picture.width, resized(picture.width), crop, bicubic);
    std::vector<float> band(std::size_t{3} * picture.width);
    std::vector<float> made(colours.size() * crop * crop);
    for (int y = 0; y < crop; ++y) {
        std::fill(band.begin(), band.end(), 0.0F);
        for (std::size_t tap = 0; tap < rows[y].weights.size(); ++tap) {
            auto const* row = picture.rgb.data() + (rows[y].first + tap) * band.size();
            for (std::size_t i = 0; i < band.size(); ++i) band[i] += rows[y].weights[tap] * row[i];
        }
        for (int x = 0; x < crop; ++x) {
            std::array<float, 3> rgb = {};
            for (std::size_t tap = 0; tap < columns[x].weights.size(); ++tap)
                for (int c = 0; c < 3; ++c) rgb[c] += columns[x].weights[tap] * band[3 * (columns[x].first + tap) + c];
            for (std::size_t c = 0; c < colours.size(); ++c) {
                float value = colours[c][0] * rgb[0] + colours[c][1] * rgb[1] + colours[c][2] * rgb[2];
                if (bicubic) value = std::clamp(value, 0.0F, 255.0F);  // it overshoots
                auto const at =
                    channels_last ? (std::size_t{1} * y * crop + x) * colours.size() + c : (c * crop + y) * crop + x;
                made[at] = (value - mean[c]) / std[c];
            }
        }
    }
    return made;
}

}  // namespace edgekit
