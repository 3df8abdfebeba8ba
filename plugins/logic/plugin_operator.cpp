#include "logic/plugin_operator.h"

namespace ek::logic {

std::string wrong_type(PluginOperator const& op, Tensor const* inputs) {
    for (size_t i = 0; i < op.inputs().size(); ++i)
        if (!op.accepts(int(i), inputs))
            return std::string("expected an input ") + op.inputs()[i] + " of a type that goes with the others, found " +
                   text_of(inputs[i].type) + " " + text_of(inputs[i]) +
                   (inputs[i].linear ? "" : ", not in linear order");
    return {};
}

}  // namespace ek::logic
