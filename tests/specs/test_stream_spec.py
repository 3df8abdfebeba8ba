"""What a stream carries, held against the tensors of its model."""

from __future__ import annotations

import pytest

from edgekit.errors import ShapeError
from edgekit.specs import Stream, TensorSpec

TOKENS = TensorSpec("tokens", "int64", ("N", "T"))
LOGITS = TensorSpec("logits", "float32", ("N", "T", 7))


def named(*specs: TensorSpec) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}


def cache(name: str, axis: str) -> TensorSpec:
    return TensorSpec(name, "float32", ("N", 2, axis, 4))


INPUTS = named(TOKENS, cache("key", "past"), cache("value", "past"))
OUTPUTS = named(LOGITS, cache("new_key", "past + T"), cache("new_value", "past + T"))


def test_the_axis_that_grows_is_the_one_that_is_called_otherwise_behind():
    assert Stream(("key=new_key", "value=new_value"), "tokens", "logits").growth(INPUTS, OUTPUTS) == "past"
    state = TensorSpec("h", "float32", (1, "N", 8))
    assert Stream(("h=h_out",)).growth(named(state), named(TensorSpec("h_out", "float32", (1, "N", 8)))) == ""


def test_a_cache_that_is_forgotten_is_named():
    with pytest.raises(ShapeError, match="expected value among the states"):
        Stream(("key=new_key",), "tokens", "logits").growth(INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (TensorSpec("new_key", "float16", ("N", 2, "past + T", 4)), "expected new_key as key"),
        (TensorSpec("new_key", "float32", ("N", 2, "past + T")), "expected new_key as key"),
        (TensorSpec("new_key", "float32", ("M", 2, "past + T", 4)), "expected new_key as key"),
        (TensorSpec("new_key", "float32", ("N", 3, "past", 4)), "expected one open axis that grows"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused(changed, says):
    stream = Stream(("key=new_key", "value=new_value"), "tokens", "logits")
    with pytest.raises(ShapeError, match=says):
        stream.growth(INPUTS, OUTPUTS | named(changed))
