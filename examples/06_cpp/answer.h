// Logits become the best label, as the bundle's postprocess.json says.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "json.h"
#include "refusal.h"

namespace edgekit {

struct Answer {
    std::string label;
    double probability;  // its softmax, computed in double
};

struct Labels {
    std::string output;
    std::vector<std::string> names;  // none at all, or one a class

    static Labels of(Json const& spec) try {
        if (spec.at("kind").text() != "classify")
            throw Refusal(kTarget, "expected labels, found " + spec.at("kind").text() + "; next: edgekit.runtime");
        Labels made{spec.at("output").text(), {}};
        for (Json const& name : spec.at("labels").list()) made.names.push_back(name.text());
        return made;
    } catch (BadJson const& error) {
        throw Refusal(kIntegrity, std::string("expected labels as edgekit writes them, found: ") + error.what());
    }

    Answer best(std::vector<float> const& logits) const {
        if (!names.empty() && names.size() != logits.size())
            throw Refusal(kFailed, "expected a label for each of " + std::to_string(logits.size()) +
                                       " classes, found " + std::to_string(names.size()));
        if (!std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); }))
            throw Refusal(kFailed, "expected finite logits, found NaN or infinity");
        auto const most = std::max_element(logits.begin(), logits.end());
        double sum = 0;
        for (double const logit : logits) sum += std::exp(logit - *most);
        auto const index = static_cast<std::size_t>(most - logits.begin());
        bool const named = !names.empty() && !names[index].empty();
        return {named ? names[index] : std::to_string(index), 1 / sum};
    }
};

}  // namespace edgekit
