"""What tests hand to the program that plays TensorRT (plugins/trt/harness), and what they read from it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.plugins.attention import stored, widened
from edgekit.reference import Attention

NUMPY = {"FP32": np.float32, "FP16": np.float16, "BF16": np.uint16, "INT8": np.int8, "INT32": np.int32}
NOTHING = np.zeros(0)
Tensor = tuple[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A node's operator and fields, and the inputs of each run; `bounds` only widen the profile."""

    op: str
    fields: dict[str, Any]
    runs: Sequence[Sequence[Tensor]]
    bounds: Sequence[Sequence[Tensor]] = ()
    device: tuple[int, int] = (87, 16)
    more: Sequence[str] = field(default=())

    def written(self) -> bytes:
        """As plugins/trt/harness/case.h has it."""
        names = {int: "int", tuple: "int", float: "float", str: "text"}
        fields = [
            f"field {name} {names[type(value)]} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
            for name, value in self.fields.items()
        ]
        text = "\n".join([f"op {self.op}", "device {} {}".format(*self.device), *self.more, *fields, ""]).encode()
        for word, runs in (("run", self.runs), ("bound", self.bounds)):
            for run in runs:
                text += f"{word}\n".encode() + b"".join(written(tensor) for tensor in run)
        return text


def written(tensor: Tensor) -> bytes:
    kind, array = tensor
    dense = np.ascontiguousarray(stored(array, kind) if kind == "BF16" else array, NUMPY[kind])
    dims = ",".join(map(str, array.shape)) or "-"
    return f"tensor {kind} {dims} {dense.nbytes}\n".encode() + dense.tobytes() + b"\n"


def read(path: Path) -> tuple[int, list[np.ndarray]]:
    """The bytes of the workspace, and all outputs of all runs."""
    head, _, rest = path.read_bytes().partition(b"\n")
    arrays = []
    while rest:
        line, _, rest = rest.partition(b"\n")
        _, kind, dims, size = line.decode().split(" ")
        array = np.frombuffer(rest[: int(size)], NUMPY[kind]).reshape([int(dim) for dim in dims.split(",")])
        arrays.append(widened(array, kind))
        rest = rest[int(size) + 1 :]
    return int(head.split()[1]), arrays


@dataclass(frozen=True)
class Harness:
    folder: Path
    tmp: Path

    def ask(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [self.folder / "trt_harness", self.folder / "libedgekit_trt.so", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def file(self, case: Case) -> Path:
        path = self.tmp / "case"
        path.write_bytes(case.written())
        return path

    def run(self, case: Case) -> tuple[int, list[np.ndarray]]:
        results = self.tmp / "results"
        done = self.ask("run", self.file(case), results)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return read(results)

    def refusal(self, case: Case) -> tuple[str, str]:
        """The call that refused, and what was logged."""
        done = self.ask("run", self.file(case), self.tmp / "results")
        assert done.returncode == 3, done.stdout + done.stderr
        log, refused = done.stdout.splitlines()
        return refused.removeprefix("refused: "), log.removeprefix("log: ")


def recurrent(op: Any, weights: str = "FP32") -> list[Tensor]:
    """The inputs of a node, what is absent as constants of no elements."""
    own = {"LSTM": ["c0"], "GRU": ["rb_h"], "RNN": []}[type(op).__name__]
    r = (weights, op.r) if weights != "packed" else ("INT32", op.r.view(np.int32))
    floats = [("FP32", NOTHING if (array := getattr(op, name)) is None else array) for name in ("h0", *own)]
    scale = ("FP32", NOTHING if op.r_scale is None else op.r_scale)
    return [("FP32", op.xproj), r, scale, ("INT32", NOTHING if op.lengths is None else op.lengths), *floats]


def recurrent_case(*ops: Any, weights: str = "FP32", **more: Any) -> Case:
    op = ops[0]
    fields = {"hidden_size": op.shape[3], "direction": op.direction, "clip": float(op.clip)}
    own = {"GRU": ["linear_before_reset"], "RNN": ["activation"]}.get(type(op).__name__, [])
    fields |= {n: int(v) if isinstance(v := getattr(op, n), bool) else v for n in own}
    return Case(f"Edgekit{type(op).__name__}", fields, [recurrent(one, weights) for one in ops], **more)


def attention(op: Attention, kind: str, *, bias: str = "FP32", capacity: int = 0) -> list[Tensor]:
    past = [(kind, NOTHING if array is None else array) for array in (op.past_k, op.past_v)]
    if capacity:
        pad = [(0, 0), (0, 0), (0, capacity - op.past), (0, 0)]
        past = [(kind, np.pad(array, pad, constant_values=np.nan)) for _, array in past]
    lengths = NOTHING if op.key_lengths is None else op.key_lengths
    filled = np.array([op.past] if capacity else [])
    return [
        *((kind, array) for array in (op.q, op.k, op.v)), (bias, NOTHING if op.bias is None else op.bias),
        ("INT32", lengths), *past, ("INT32", filled),
    ]  # fmt: skip


def attention_case(ops: Sequence[Attention], kind: str, *, bias: str = "FP32", capacity: int = 0, **more: Any) -> Case:
    op = ops[0]
    fields: dict[str, Any] = {"causal": int(op.causal), "at_end": int(op.at_end), "softcap": float(op.softcap)}
    fields |= {"window_left": op.window_left, "window_right": op.window_right, "in_place": int(bool(capacity))}
    if op.scale is not None:
        fields["scale"] = op.scale
    runs = [attention(one, kind, bias=bias, capacity=capacity) for one in ops]
    return Case("EdgekitAttention", fields, runs, **more)


def query(batch: int, queries: int, keys: int, heads: tuple[int, int] = (4, 2), past: int | None = None, **more: Any):
    """Seeded numbers; heads of 16 and values of 24."""
    random = np.random.default_rng([batch, queries, keys, past or 0])
    shapes = [(batch, heads[0], queries, 16), (batch, heads[1], keys, 16), (batch, heads[1], keys, 24)]
    shapes += [] if past is None else [(batch, heads[1], past, size) for size in (16, 24)]
    arrays = [random.normal(size=shape).astype(np.float16).astype(np.float32) for shape in shapes]
    return Attention(*arrays[:3], **dict(zip(("past_k", "past_v"), arrays[3:], strict=False)), **more)


def changed(index: int, kind: str, array: np.ndarray, inputs: list[Tensor]) -> list[Tensor]:
    return [*inputs[:index], (kind, array), *inputs[index + 1 :]]


F = np.float32
TOKEN = query(1, 1, 1, past=3)
LENGTH = ("INT32", np.ones(1))

# What goes wrong with one input of an LSTM of 2 steps, 3 rows, 12 units and INT8 weights, and in which call.
WRONG_INPUTS = [
    (0, "FP32", np.zeros((2, 3, 1, 40), F), "getOutputShapes 2", "expected xproj of [2,3,1,48], found [2,3,1,40]"),
    (0, "FP32", np.zeros((2, 3, 48), F), "getOutputShapes 2", "expected xproj of [-1,-1,1,48], found [2,3,48]"),
    (1, "INT8", np.zeros((2, 48, 12), F), "getOutputShapes 2", "expected r of [1,48,12], found [2,48,12]"),
    (2, "FP32", np.zeros((1, 47), F), "getOutputShapes 2", "expected r_scale of [1,48], found [1,47]"),
    (3, "INT32", np.zeros(2, F), "getOutputShapes 2", "expected lengths of [3], found [2]"),
    (4, "FP32", np.zeros((1, 2, 12), F), "getOutputShapes 2", "expected h0 of [1,3,12], found [1,2,12]"),
    (5, "FP32", np.zeros((3, 12), F), "getOutputShapes 2", "expected c0 of [1,3,12], found [3,12]"),
    (0, "FP16", np.zeros((2, 3, 1, 48), F), "supportsFormatCombination 0", ""),
    (1, "FP16", np.zeros((1, 48, 12), F), "supportsFormatCombination 2", ""),
    (2, "FP32", NOTHING, "supportsFormatCombination 2", ""),
    (4, "FP16", np.zeros((1, 3, 12), F), "supportsFormatCombination 4", ""),
]
WRONG_ATTENTIONS = [
    (attention_case([query(1, 1, 1, (3, 2))], "FP32"), "configurePlugin 2",
     "expected heads that are a multiple of kv_heads, found 3 and 2"),
    (attention_case([query(1, 1, 1, at_end=True)], "FP32"), "getOutputShapes 2",
     "expected key_lengths with at_end 1, found none"),
    (attention_case([query(1, 2, 3, bias=np.zeros((2, 2), F))], "FP32"), "getOutputShapes 2",
     "expected a bias that broadcasts to [1,4,2,3], found [2,2]"),
    (attention_case([replace(TOKEN, past_v=None)], "FP32"), "getOutputShapes 2",
     "expected past_v of [1,2,3,24], found [0]"),
    (attention_case([replace(TOKEN, past_k=None)], "FP32"), "getOutputShapes 2",
     "expected past_v of [1,2,0,24], found [1,2,3,24]"),
    (replace(attention_case([TOKEN], "FP32"), runs=[[*attention(TOKEN, "FP32")[:7], LENGTH]]), "getOutputShapes 2",
     "expected no past_length with in_place 0, found one"),
    (attention_case([TOKEN], "FP32", capacity=8, more=["aliased 0"]), "enqueue 2",
     "expected a cache in place in one memory as input and output, found two; "
     "next: build the engine with PreviewFeature::kALIASED_PLUGIN_IO_10_03"),
    (attention_case([TOKEN], "BF16", device=(75, 30)), "configurePlugin 1",
     "expected SM 8.0 or newer for BF16, found 7.5"),
    (attention_case([TOKEN, TOKEN], "FP32", device=(88, 1)), "configurePlugin 2",
     "expected an SM such as 87 and at least 1 multiprocessor, found SM 88 and 1"),
]  # fmt: skip
ATTENTIONS: dict[str, tuple[list[Attention], int]] = {
    "plain": ([query(2, 5, 5), query(1, 1, 9)], 0),
    "causal, one head for all": ([query(2, 5, 7, (3, 1), causal=True, scale=0.5), query(1, 1, 2, (3, 1))], 0),
    "lengths from the end": (
        [query(2, 3, 7, at_end=True, causal=True, key_lengths=np.array([7, 4], np.int32)),
         query(1, 2, 5, at_end=True, key_lengths=np.array([3], np.int32))], 0),
    "bias of two axes": (
        [query(2, 3, 5, bias=np.linspace(-2, 2, 15, dtype=np.float32).reshape(3, 5), softcap=1.5),
         query(1, 2, 4, bias=np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4))], 0),
    "bias of a batch and its keys": (
        [query(2, 3, 5, past=2, bias=np.arange(14, dtype=np.float32).reshape(2, 1, 1, 7)),
         query(1, 1, 2, past=4, bias=np.arange(6, dtype=np.float32).reshape(1, 1, 1, 6))], 0),
    "cache, copied": ([query(2, 3, 3, past=6, causal=True), query(1, 1, 1, past=0)], 0),
    "cache, in place": (
        [query(2, 3, 3, past=6, causal=True, window_left=4), query(1, 1, 1, past=0, window_left=4)], 11),
}  # fmt: skip

# TensorRT-RTX's own registry, parser and logger, which no stand-in of ours replaces. Its networks take no plugins: it
# ends the process when one is added, so that a node is followed only until its plugin is there.
REAL = """
import json, sys, tensorrt_rtx as trt
from onnx import TensorProto, helper
class Logger(trt.ILogger):
    def __init__(self): trt.ILogger.__init__(self)
    def log(self, severity, text): print(text, flush=True)
logger = Logger()
trt.get_plugin_registry().load_library(sys.argv[1])
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, 1, 48))
same = {"domain": "edgekit", "plugin_version": "1", "plugin_namespace": "edgekit"}
node = helper.make_node("EdgekitLSTM", ["x"], ["y"], name="a node", **same, **json.loads(sys.argv[2]))
model = helper.make_model(helper.make_graph([node], "graph", [value("x")], [value("y")]),
    opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("edgekit", 1)])
builder = trt.Builder(logger)
network = builder.create_network(0)
print("parsed", trt.OnnxParser(network, logger).parse(model.SerializeToString()))
"""
