"""edgekit's operators for ONNX's ReferenceEvaluator, so that a rewritten graph can be run whole.

Every call is held against `edgekit.plugins.operators` first: the number of inputs, their types, and the attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgekit import reference
from edgekit.plugins.operators import DOMAIN, FLOAT, INT, NAMESPACE, OPERATORS, PLUGIN_VERSION
from edgekit.reference import GRU, LSTM, RNN, Attention, AttentionOutputs, Recurrent

Array = Any
KINDS: dict[str, type[Recurrent]] = {"EdgekitLSTM": LSTM, "EdgekitGRU": GRU, "EdgekitRNN": RNN}
PYTHON_TYPES = {INT: int, FLOAT: np.float32}
WHOLE = ("lengths", "key_lengths", "past_length")  # INT32; all others are numbers


class Cache(NamedTuple):
    """How EdgekitAttention's cache lies: `capacity` is that of one in place, 0 for copies."""

    capacity: int


RunRecurrent = Callable[[Recurrent], tuple[Array, ...]]
RunAttention = Callable[[Attention, Cache], AttentionOutputs]


def by_definition(op: Recurrent) -> tuple[Array, ...]:
    """edgekit.reference, whichever of the three it is."""
    return getattr(reference, type(op).__name__.lower())(op)


def attention_by_definition(op: Attention, cache: Cache) -> AttentionOutputs:
    """edgekit.reference; a cache in place is as long as its capacity, and 0 behind what it holds."""
    o, *presents = reference.attention(op)
    if cache.capacity:
        presents = [np.pad(rows, ((0, 0), (0, 0), (0, cache.capacity - rows.shape[2]), (0, 0))) for rows in presents]
    return AttentionOutputs(o, *presents)


def evaluator(
    model: onnx.ModelProto, recurrent: RunRecurrent = by_definition, attention: RunAttention = attention_by_definition
) -> ReferenceEvaluator:
    """One that knows edgekit's operators, whoever computes them."""
    return ReferenceEvaluator(model, new_ops=op_runs(recurrent, attention))


def op_runs(recurrent: RunRecurrent, attention: RunAttention = attention_by_definition) -> list[type[OpRun]]:
    """A class for each of the four operators."""
    return [_recurrent_run(name, recurrent) for name in KINDS] + [_attention_run(attention)]


def _recurrent_run(name: str, run: RunRecurrent) -> type[OpRun]:
    def _run(self: OpRun, *inputs: Array, **attributes: Any) -> tuple[Array, ...]:
        given = _checked(name, inputs, attributes)
        r, r_scale = given["r"], given.pop("r_scale")
        assert (r_scale is not None) == (r.dtype == np.int8)
        more = {key: value for key, value in attributes.items() if key not in ("hidden_size", *PLUGIN)}
        if "linear_before_reset" in more:
            more["linear_before_reset"] = bool(more["linear_before_reset"])
        op = KINDS[name](**given, r_scale=r_scale, **{**more, "clip": float(more["clip"])})
        steps, batch, directions, hidden = op.shape
        assert r.shape == (directions, op.gates * hidden, hidden)
        assert hidden == attributes["hidden_size"]
        assert directions == (2 if op.direction == "bidirectional" else 1)
        assert op.r_scale is None or op.r_scale.shape == r.shape[:2]
        assert op.lengths is None or op.lengths.shape == (batch,)
        for state in (op.h0, getattr(op, "c0", None)):
            assert state is None or state.shape == (directions, batch, hidden)
        outputs = tuple(output.astype(np.float32) for output in run(op))
        assert outputs[0].shape == (steps, directions, batch, hidden)
        assert len(self.output) == len(OPERATORS[name].outputs)
        return outputs

    return type(name, (OpRun,), {"op_domain": DOMAIN, "_run": _run})


def _attention_run(run: RunAttention) -> type[OpRun]:
    def _run(self: OpRun, *inputs: Array, **attributes: Any) -> tuple[Array, ...]:
        given = _checked("EdgekitAttention", inputs, attributes)
        q, past, length = given["q"], given["past_k"], given.pop("past_length")
        assert given["k"].dtype == given["v"].dtype == q.dtype
        assert (length is not None) == bool(attributes["in_place"])
        cache = Cache(past.shape[2] if attributes["in_place"] else 0)
        if cache.capacity:
            for name in ("past_k", "past_v"):
                given[name] = given[name][:, :, : int(length[0])]
        more = {key: value for key, value in attributes.items() if key not in ("in_place", *PLUGIN)}
        for name in ("causal", "at_end"):
            more[name] = bool(more[name])
        op = Attention(**given, **{**more, "scale": float(more["scale"]), "softcap": float(more["softcap"])})
        found = run(op, cache)
        outputs = [np.zeros(0, q.dtype) if output is None else output.astype(q.dtype) for output in found]
        assert len(self.output) == len(OPERATORS["EdgekitAttention"].outputs)
        return tuple(outputs)

    return type("EdgekitAttention", (OpRun,), {"op_domain": DOMAIN, "_run": _run})


PLUGIN = ("plugin_version", "plugin_namespace")


def _checked(name: str, inputs: tuple[Array, ...], attributes: dict[str, Any]) -> dict[str, Array]:
    """The inputs by name, None for one of no elements, if node and operator agree."""
    operator = OPERATORS[name]
    assert [attributes[key] for key in PLUGIN] == [PLUGIN_VERSION, NAMESPACE]
    assert set(attributes) == {*operator.attributes, *PLUGIN}
    for key, kind in operator.attributes.items():
        assert type(attributes[key]) is PYTHON_TYPES.get(kind, str), key
    assert len(inputs) == len(operator.inputs), "all inputs are always there"
    given = dict(zip(operator.inputs, inputs, strict=True))
    for key, value in given.items():
        kinds = ("int32",) if key in WHOLE else ("float32",)
        if name == "EdgekitAttention" and key not in WHOLE:
            kinds = ("float32", "float16", "bfloat16")
        elif key == "r":
            kinds = ("float32", "float16", "int8")
        assert str(value.dtype) in kinds, (key, value.dtype)
        assert value.size or value.shape == (0,) or key in ("xproj", "past_k", "past_v", "q", "k", "v"), key
    return {key: value if value.shape != (0,) else None for key, value in given.items()}
