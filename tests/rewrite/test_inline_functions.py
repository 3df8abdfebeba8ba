"""Functions of a file are written out; the oracle is onnxruntime, which runs the file with them."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.errors import ModelError  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite import inline_functions as room  # noqa: E402
from edgekit.rewrite.inline_functions import inline_functions  # noqa: E402
from tests.build.foreign_graphs import a_function  # noqa: E402


@pytest.mark.parametrize("opset", [18, 20])
def test_the_same_numbers_without_functions(opset):
    """Also where the bodies were written for an older opset, whose LeakyRelu and Add are the same."""
    made = inline_functions(a_function(opset))
    assert made.modified
    assert not made.model.functions
    assert [item.op_type for item in made.model.graph.node] == ["LeakyRelu", "Add", "Neg"]
    onnx.checker.check_model(made.model)
    for batch in (1, 3):
        x = {"x": np.random.default_rng(batch).normal(size=(batch, 4)).astype(np.float32)}
        want, got = (plain_session(item.SerializeToString()).run(None, x) for item in (a_function(opset), made.model))
        np.testing.assert_array_equal(got, want)
        assert len(np.sign(want[0]).ravel()) > abs(np.sign(want[0]).sum())


def test_the_attribute_that_is_handed_on_counts():
    (leaky,) = (item for item in inline_functions(a_function()).model.graph.node if item.op_type == "LeakyRelu")
    assert leaky.attribute[0].f == pytest.approx(0.3)


def test_what_onnx_cannot_write_out_is_one_line(monkeypatch):
    def fail(*_):
        raise RuntimeError("inliner.cc:418: first\nsecond")

    monkeypatch.setattr(room.onnx.inliner, "inline_local_functions", fail)
    with pytest.raises(ModelError, match=r"found house::Once, house::Twice: inliner.cc:418: first; next: ") as error:
        inline_functions(a_function())
    assert "\n" not in str(error.value)


def test_a_call_that_is_left_is_refused(monkeypatch):
    monkeypatch.setattr(room.onnx.inliner, "inline_local_functions", lambda made, *_: made)
    with pytest.raises(ModelError, match=r"expected a function house::Twice .* at node 'call'"):
        inline_functions(a_function())


def test_a_model_without_functions_stays(small_onnx):
    made = onnx.load(small_onnx)
    done = inline_functions(made)
    assert (done.model, done.modified) == (made, False)
