"""Names that no tensor and no node of a model has: foreign files have an `x_scale` beside their `x` too."""

from __future__ import annotations

import onnx


class Names:
    """Call it with a wanted name for that one or the first free of `name_1`, `name_2` …, taken from then on."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._taken = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
        self._taken |= {name for node in graph.node for name in (node.name, *node.input, *node.output)}

    def __call__(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name
