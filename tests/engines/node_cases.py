"""docs/operators.md: who takes the LSTM, GRU, RNN and Attention nodes that the onnx package keeps as tests of backends.

`python -m tests.engines.node_cases` makes it: TensorRT-RTX is asked by building, edgekit's passes by running them. That
what the passes make is the same function is what tests/rewrite and tests/plugins prove, on these very cases.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgekit.build import trial
from edgekit.configs import BuildConfig
from edgekit.errors import EdgekitError
from edgekit.rewrite.attention_to_plugin import attention_to_plugin
from edgekit.rewrite.reading import read_onnx_file
from edgekit.rewrite.recurrent_to_plugin import recurrent_to_plugin
from tests.engines.matrix import versions
from tests.onnx_cases import stored_cases

PAGE = Path(__file__).parents[2] / "docs/operators.md"
OPERATORS = ("LSTM", "GRU", "RNN", "Attention")
HEAD = """# Operators: who takes which node

Made by `python -m tests.engines.node_cases`, not by hand. Each row is a node case of the onnx package, with its stored
outputs the judge of every backend: LSTM, GRU and RNN, and Attention of opsets 23 to 25.

- **TensorRT**: whether TensorRT-RTX builds it for compute capability 8.6, as edgekit hands it over: of a recurrence it
  makes a loop, and an Attention node that its importer has no kernel for is taken apart first, for the reason that
  stands here. Nothing has run on a GPU.
- **edgekit's kernel**: whether EdgekitLSTM, EdgekitGRU, EdgekitRNN or EdgekitAttention can stand in its place, on a
  target that takes plugins; else why not. What is taken gives the stored outputs, through the definition in NumPy and
  through the kernels on the emulator: tests/rewrite and tests/plugins hold that on these cases.
- The weights of the recurrent cases are constants here, as in any network; the onnx package feeds them.
- A case that neither takes runs on onnxruntime alone.
"""


@dataclass(frozen=True)
class Row:
    """One case; `tensorrt` is how it is taken, or begins with "refused"; `kernel` is empty where it is taken."""

    name: str
    operator: str
    tensorrt: str
    kernel: str

    @property
    def native(self) -> bool:
        """Whether TensorRT takes it, in whatever form."""
        return not self.tensorrt.startswith("refused")

    def __str__(self) -> str:
        kernel = f"no: {self.kernel}" if self.kernel else "yes"
        return f"| `{self.name}` | {self.operator} | {self.tensorrt} | {kernel} |"


def cases() -> Iterator[tuple[str, str, onnx.ModelProto]]:
    """Name, operator and model of the cases of one such node; the expanded forms have other nodes."""
    for name, case in sorted(stored_cases().items()):
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS and not nodes[0].domain:
            yield name.removeprefix("test_"), nodes[0].op_type, _with_weights(case)


def _with_weights(case: Any) -> onnx.ModelProto:
    """The case's model with W, R, B and P as initializers."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    node = model.graph.node[0]
    if node.op_type == "Attention":
        return model
    fed = dict(zip([value.name for value in model.graph.input], case.data_sets[0][0], strict=True))
    for name in (*node.input[1:4], *node.input[7:]):
        if name:
            model.graph.initializer.append(onnx.numpy_helper.from_array(fed[name], name))
            model.graph.input.remove(next(value for value in model.graph.input if value.name == name))
    return model


def row_of(name: str, operator: str, model: onnx.ModelProto) -> Row:
    """Ask both."""
    return Row(name, operator, _tensorrt(model), _kernel(operator, model))


def _tensorrt(model: onnx.ModelProto) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.onnx")
        onnx.save(model, path)
        try:
            made, _ = trial(path, read_onnx_file(path), BuildConfig("rtx", ("8.6",)))
        except EdgekitError as error:
            return f"refused: {_short(error.problem)}"
    apart = next((line.partition("decomposed: ")[2] for line in made.warnings if "decomposed: " in line), "")
    if apart:
        return f"taken apart: {apart}"
    return "one node" if model.graph.node[0].op_type == "Attention" else "a loop"


def _kernel(operator: str, model: onnx.ModelProto) -> str:
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    copy.graph.node[0].name = "node"
    run = attention_to_plugin if operator == "Attention" else recurrent_to_plugin
    done = run(copy, lambda item: "")
    reasons = [note for note in done.notes if "stay" in note]
    return "" if done.modified else _short(reasons[0].partition(": ")[2])


def _short(text: str) -> str:
    return text.replace("|", "/").partition(" In ")[0][:160]


def page(rows: list[Row]) -> str:
    """The whole page, with the counts."""
    lines = [HEAD, f"Made with {', '.join(versions())}.", ""]
    for operator in OPERATORS:
        of = [row for row in rows if row.operator == operator]
        both = sum(row.native and not row.kernel for row in of)
        alone = sum(not row.native and not row.kernel for row in of)
        neither = sum(not row.native and bool(row.kernel) for row in of)
        lines.append(
            f"- {operator}: {len(of)} cases; both take {both}, edgekit's kernel alone {alone}, TensorRT alone "
            f"{len(of) - both - alone - neither}, neither {neither}."
        )
    lines += ["", "| case | operator | TensorRT | edgekit's kernel |", "|---|---|---|---|", *map(str, rows), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page([row_of(*case) for case in cases()]), encoding="utf-8")
