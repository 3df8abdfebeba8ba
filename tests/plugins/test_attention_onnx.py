"""ONNX's own Attention: the cases that its package stores, through the definition and through the kernels.

Of 93 cases 75 are computed, with their stored outputs as the oracle: with three and four axes, grouped heads, masks of
every rank, caches, lengths, windows, FP32, FP16 and BF16. The others ask for the scores, which no kernel keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit import reference  # noqa: E402
from edgekit.errors import EdgekitError  # noqa: E402
from edgekit.plugins.abi import Unsupported  # noqa: E402
from edgekit.plugins.attention import How, attention  # noqa: E402
from edgekit.plugins.emulator import Emulator  # noqa: E402
from edgekit.reference import Attention, AttentionOutputs  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402
from tests.plugins.attention_cases import attention_of_node, outputs_of_node  # noqa: E402
from tests.plugins.node_cases import emulated  # noqa: E402

TYPES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16"}
# Numbers of about 1, and outputs that the package computed step by step in the same type.
TOLERANCE = {"FP32": 1e-6, "FP16": 2e-3, "BF16": 2e-2}
DEVICES = {"orin": (87, 16), "turing": (75, 40)}
Run = Callable[[Attention, How], AttentionOutputs]


def names() -> list[str]:
    """Every stored case that has an Attention node."""
    return sorted(
        name for name, case in stored_cases().items() if any(n.op_type == "Attention" for n in case.model.graph.node)
    )


REFUSED = [name for name in names() if stored_cases()[name].model.graph.node[0].output[3:]]
COMPUTED = [name for name in names() if name not in REFUSED]


def stored(name: str) -> tuple[Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The one node of a stored case, the arrays that go in, and those that come out, by name."""
    case = stored_cases()[name]
    graph, ((inputs, outputs),) = case.model.graph, case.data_sets
    given = {item.name: value for item, value in zip(graph.input, inputs, strict=True)}
    return graph.node[0], given, {item.name: value for item, value in zip(graph.output, outputs, strict=True)}


@pytest.fixture(params=["definition", *DEVICES])
def run(request: pytest.FixtureRequest, emulator: Emulator) -> Any:
    """EdgekitAttention -> its outputs: in NumPy, and by the kernels on two devices."""
    if request.param == "definition":
        yield lambda op, how: reference.attention(op)
        return
    with emulated(emulator, *DEVICES[request.param]):
        yield lambda op, how: attention(emulator, op, how)


def test_these_are_all_the_cases_that_onnx_stores():
    assert (len(COMPUTED), len(REFUSED)) == (75, 18)


@pytest.mark.parametrize("name", COMPUTED)
def test_stored_outputs(run: Run, emulator: Emulator, name: str):
    node, given, wanted = stored(name)
    op, kind = attention_of_node(node, given), TYPES[given["Q"].dtype.name]
    how = How(kind, narrow_bias=op.bias is not None and op.bias.dtype == np.float16)
    if kind == "BF16" and emulator.chosen.sm < 80:
        with pytest.raises(Unsupported, match=r"expected SM 8\.0 or newer for BF16, found 7\.5"):
            attention(emulator, op, how)
        return
    found = outputs_of_node(node, run(op, how), given["Q"].ndim)
    assert set(found) == set(wanted)
    for output, value in wanted.items():
        assert found[output].shape == value.shape
        np.testing.assert_allclose(found[output], value.astype(np.float32), rtol=0, atol=TOLERANCE[kind])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str):
    node, given, _ = stored(name)
    with pytest.raises(EdgekitError) as refusal:
        attention_of_node(node, given)
    assert str(refusal.value) == "expected an Attention without its fourth output, found qk_matmul_output"


def test_a_softmax_in_double_is_refused():
    node, given, _ = stored("test_attention_4d")
    node = onnx.helper.make_node("Attention", list(node.input), ["Y"], softmax_precision=11)
    with pytest.raises(EdgekitError, match=r"found softmax_precision 11 \(FP64\)"):
        attention_of_node(node, given)
