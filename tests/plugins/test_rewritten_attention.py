"""Whole networks with EdgekitAttention in them, by definition and by the emulated kernels.

onnxruntime runs each network as it was, and is the oracle; of ONNX's own cases it is the stored output. All but
edgekit's operators is ONNX's reference implementation.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
transformers = pytest.importorskip("transformers")

from edgekit.configs import ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.models.language import cache_names  # noqa: E402
from edgekit.plugins.operators import OPERATORS  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.rewrite.attention_to_plugin import Candidate, attention_to_plugin  # noqa: E402
from edgekit.rewrite.recurrent_to_plugin import recurrent_to_plugin  # noqa: E402
from tests.export.cases import CASES  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402
from tests.plugins.attention_cases import attention_of_node  # noqa: E402
from tests.plugins.emulated_ops import emulated_evaluator  # noqa: E402
from tests.plugins.node_cases import sqnr_db  # noqa: E402
from tests.plugins.op_runs import evaluator  # noqa: E402
from tests.plugins.test_attention_onnx import COMPUTED, REFUSED, TOLERANCE, TYPES, stored  # noqa: E402
from tests.plugins.test_rewritten import all_runs, close  # noqa: E402

ROOT = Path(__file__).parents[2]
ATTENDING = [name for name, case in CASES.items() if case.attention and name != "vit_b_16"]
QUICK = ("bert_classifier", "gpt2_cached")
# ONNX's reference of the INT8 network as it was is at 42 dB: a Q in FP16 falls to the other side.
SMALL_DB = 40
DECODERS = ("gpt2", "gpt2_cached")
OPSETS = (20, 23)


def settings(name: str) -> tuple[str, ...]:
    """ONNX's reference GatherElements, of a BERT's positions, takes fewer than 64 rows."""
    fewer = "positions=48" if name == "bert_classifier" else "positions=64"
    return tuple(item.replace("positions=64", fewer) for item in CASES[name].settings)


@pytest.fixture(scope="module")
def nets(shared) -> Callable[[str], Path]:
    """A folder with an architecture, tiny, at each opset in FP32 and FP16: `20.fp32.onnx` and so on."""

    def make(name: str, where: Path) -> None:
        for opset in OPSETS:
            path = where / f"{opset}.fp32.onnx"
            export(name, path, ExportConfig(set=settings(name), opset=opset))
            quantize(path, where / f"{opset}.fp16.onnx", QuantizeConfig("fp16"))

    return lambda name: shared(f"attending-{name}", lambda where: make(name, where))


def taken(model: Any, count: int) -> tuple[Any, list[Candidate]]:
    """A copy in which every attention is edgekit's, and what was asked about each."""
    copy, seen = onnx.ModelProto.FromString(model.SerializeToString()), list[Candidate]()
    made = attention_to_plugin(copy, lambda item: seen.append(item) or "")
    assert made.notes == (f"{count} of {count} attentions became EdgekitAttention",)
    kinds = collections.Counter(node.op_type for node in copy.graph.node)
    assert (kinds["EdgekitAttention"], kinds["Attention"], kinds["Softmax"]) == (count, 0, 0)
    # ONNX's reference GRU and LSTM do not read lengths.
    return recurrent_to_plugin(made.model, lambda item: "").model, seen


def feeds_of(name: str, batch: int, size: int) -> dict[str, np.ndarray]:
    examples = load_network(name, None, settings(name)).examples
    made = CASES[name].inputs(examples, batch, size, torch.Generator().manual_seed(batch * 1000 + size))
    return {key: value.numpy() for key, value in made.items()}


def test_every_architecture_with_attention_is_among_them():
    assert ATTENDING == [
        "vit_small", "bert_classifier", "gpt2", "gpt2_cached", "cnn_bigru_ctc", "seq2seq", "seq2seq_decoder",
        "transformer_encoder",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ATTENDING]
)
def test_an_architecture(nets, emulator, name):
    """At both opsets, in FP32 and FP16, at batches 1 and 3 and two lengths."""
    case, folder = CASES[name], nets(name)
    given = [feeds_of(name, batch, size) for batch in (1, 3) for size in case.sizes]
    if name == "vit_small":
        given = given[:1]  # 197 steps in each of 8 layers
    for opset in OPSETS:
        for precision in ("fp32", "fp16"):
            path = folder / f"{opset}.{precision}.onnx"
            model, seen = taken(onnx.load(path), case.attention)
            assert {item.causal for item in seen} == {name in DECODERS}
            assert {item.has_cache for item in seen} == {name == "gpt2_cached"}
            assert {item.form for item in seen} == {"products" if opset == 20 else "node"}
            wanted = all_runs(plain_session(str(path)), given)
            close(all_runs(evaluator(model), given), wanted, precision)
            if name != "vit_small" or (opset, precision) == (20, "fp16"):
                close(all_runs(emulated_evaluator(model, emulator), given), wanted, precision)


def test_masks_become_causal_or_short(nets):
    """No mask is left of a decoder's; a BERT's is [N,1,1,T], also where the exporter expands it to [N,1,T,T]."""
    for opset in OPSETS:
        made, _ = taken(onnx.load(nets("gpt2_cached") / f"{opset}.fp32.onnx"), 2)
        assert not {"LessOrEqual", "Where", "Trilu", "ReduceMax"} & {node.op_type for node in made.graph.node}
        made, _ = taken(onnx.load(nets("bert_classifier") / f"{opset}.fp32.onnx"), 2)
        (where,) = [node for node in made.graph.node if node.op_type == "Where"]
        bias = {node.input[3] for node in made.graph.node if node.op_type == "EdgekitAttention"}
        assert bias == {where.output[0]}
        (maker,) = [node for node in made.graph.node if where.input[0] in node.output]
        assert maker.op_type == "Greater"


@pytest.mark.parametrize("opset", OPSETS)
def test_a_text_is_written_token_by_token(nets, emulator, opset):
    """A prompt behind an empty cache, then three steps of one token, each with the cache of the one before."""
    path = nets("gpt2_cached") / f"{opset}.fp32.onnx"
    model, _ = taken(onnx.load(path), 2)
    names = [value.name for value in model.graph.output]
    start = {name: value[:, :, :0] for name, value in feeds_of("gpt2_cached", 2, 6).items() if name != "tokens"}
    texts = [
        generated(lambda feeds, run=runner.run: dict(zip(names, run(names, feeds), strict=True)), start)
        for runner in (plain_session(str(path)), evaluator(model), emulated_evaluator(model, emulator))
    ]
    wanted, *found = texts
    for logits, tokens in found:
        assert np.array_equal(tokens, wanted[1])
        np.testing.assert_allclose(logits, wanted[0], rtol=0, atol=2e-6)


def generated(run: Callable[..., dict[str, np.ndarray]], start: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N,T+3,V], and the tokens [N,T+3] of the greatest."""
    tokens, state, logits = np.array([[1, 5, 2, 8], [3, 3, 9, 0]]), start, []
    for _ in range(4):
        made = run({"tokens": tokens, **state})
        logits.append(made["logits"])
        state = {name: made[name.replace("past", "present")] for name in start}
        tokens = made["logits"][:, -1:].argmax(-1)
    whole = np.concatenate(logits, 1)
    return whole, whole.argmax(-1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("opset", OPSETS)
def test_torchs_own_exporter(tmp_path, emulator, opset):
    """A Llama with a cache and two heads of q for each of k, as torch alone exports it: masks, NaN, repeated heads."""
    path = tmp_path / "llama.onnx"
    past = [torch.randn(2, 2, 5, 8) for _ in range(4)]
    names = ["tokens", *cache_names("past", 2)]
    sizes = ({0: "batch", 1: "time"}, tuple({0: "batch", 2: "past"} for _ in past))
    example = (torch.randint(11, (2, 3)), *past)
    torch.onnx.export(
        Llama().eval(), example, path, input_names=names, output_names=["logits", *cache_names("present", 2)],
        dynamo=True, opset_version=opset, verbose=False, dynamic_shapes=sizes,
    )  # fmt: skip
    model, seen = taken(onnx.load(path), 2)
    assert {(item.heads, item.kv_heads, item.has_cache, item.causal) for item in seen} == {(4, 2, True, True)}
    random = np.random.default_rng(0)
    # onnxruntime's RotaryEmbedding of opset 23 refuses more than one row.
    for batch, time, before in ((1, 4, 3), (1, 1, 9)) if opset == 23 else ((1, 4, 3), (3, 1, 9)):
        feeds = {name: random.normal(size=(batch, 2, before, 8)).astype(np.float32) for name in names[1:]}
        feeds["tokens"] = random.integers(0, 11, (batch, time))
        wanted = all_runs(plain_session(str(path)), [feeds])
        for runner in (evaluator(model), emulated_evaluator(model, emulator)):
            close(all_runs(runner, [feeds]), wanted, "fp32")


class Llama(torch.nn.Module):
    """tokens [N,T] behind a cache [N,2,P,8] -> logits, the cache."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers.LlamaConfig(
            vocab_size=11, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2,
            intermediate_size=32, attn_implementation="sdpa",
        )  # fmt: skip
        torch.manual_seed(0)
        self.network = transformers.LlamaForCausalLM(config)

    def forward(self, tokens: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cache = transformers.DynamicCache()
        for layer in range(2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        steps, before = tokens.shape[1], past[0].shape[2]
        at = torch.arange(steps) + before
        seen = (torch.arange(before + steps) <= at[:, None])[None, None]
        made = self.network(tokens, seen, at[None], cache, use_cache=True)
        return made.logits, *(state for layer in made.past_key_values.layers for state in (layer.keys, layer.values))


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
def test_int8_around_it(nets, emulator, tmp_path, precision):
    """Our quantizer leaves attention itself in floats: Q and DQ stand around the dense layers alone."""
    np.savez(tmp_path / "data.npz", **feeds_of("bert_classifier", 8, 37))
    for opset in OPSETS:
        path = tmp_path / f"{opset}.onnx"
        quantize(
            nets("bert_classifier") / f"{opset}.fp32.onnx",
            path,
            QuantizeConfig(precision, data=str(tmp_path / "data.npz")),
        )
        model, _ = taken(onnx.load(path), 2)
        assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        given = [feeds_of("bert_classifier", batch, 37) for batch in (1, 3)]
        wanted = all_runs(plain_session(str(path)), given)
        for runner in (evaluator(model), emulated_evaluator(model, emulator)):
            found, expected = (np.concatenate([*map(np.ravel, runs[0])]) for runs in (all_runs(runner, given), wanted))
            assert sqnr_db(expected, found) >= SMALL_DB


def test_pooling_by_attention_is_left(shared, tmp_path):
    """lstm_attention scores its steps with one vector of weights, and turns the scores: no product of q and k."""
    case = CASES["lstm_attention"]
    export("lstm_attention", tmp_path / "a.onnx", ExportConfig(set=case.settings))
    made = attention_to_plugin(onnx.load(tmp_path / "a.onnx"), lambda item: "")
    assert (made.modified, made.notes) == (
        False, ("1 of 1 attentions stay as they are: Transpose stands before its softmax",),
    )  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_onnxs_own_cases(emulator, name):
    model, (node, given, wanted) = stored_cases()[name].model, stored(name)
    made, (item,) = taken(model, 1)
    onnx.checker.check_model(made)
    op = attention_of_node(node, given)
    assert (item.heads, item.kv_heads, item.head_size) == (op.q.shape[1], op.k.shape[1], op.q.shape[3])
    assert (item.has_cache, item.causal) == (op.past_k is not None, op.causal)
    kind = TYPES[given["Q"].dtype.name]
    for runner in (evaluator(made), emulated_evaluator(made, emulator)):
        found = dict(zip(wanted, runner.run(list(wanted), given), strict=True))
        for output, value in wanted.items():
            assert (found[output].shape, found[output].dtype) == (value.shape, value.dtype)
            one, other = found[output].astype(np.float32), value.astype(np.float32)
            np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[kind])


def test_onnxs_own_cases_that_are_left():
    """All that ask for the scores, and no others."""
    assert (len(COMPUTED), len(REFUSED)) == (75, 18)
    for name in REFUSED:
        model = stored_cases()[name].model
        before = model.SerializeToString()
        made = attention_to_plugin(model, lambda item: "")
        assert (made.modified, model.SerializeToString()) == (False, before)
        assert len(made.notes) == 1
        reasons = ("the scores are an output of it", "its softmax is of double precision")
        assert made.notes[0].startswith("1 of 1 attentions stay as they are: ")
        assert made.notes[0].endswith(reasons)


@pytest.mark.parametrize("opset", OPSETS)
def test_tensorrt_rtxs_parser_finds_it(nets, tmp_path, opset):
    """The whole network up to the first of edgekit's nodes: each field has the type and the value that it should."""
    pytest.importorskip("tensorrt_rtx", reason="the parser is TensorRT-RTX's")
    wanted = {}
    for name in QUICK:
        for precision in ("fp32", "fp16"):
            model, _ = taken(onnx.load(nets(name) / f"{opset}.{precision}.onnx"), 2)
            path = tmp_path / f"{name}.{precision}.onnx"
            onnx.save(model, path)
            wanted[str(path)] = next(node.name for node in model.graph.node if node.op_type == "EdgekitAttention")
    command = [sys.executable, "-m", "tests.plugins.parser_probe", *wanted]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for path, report in json.loads(ran.stdout).items():
        (call,) = report["calls"]
        assert (call["op"], call["node"]) == ("EdgekitAttention", wanted[path])
        assert call["fields"] == {
            "scale": ["FLOAT32", 0.25],
            "causal": ["INT32", int("gpt2" in path)],
            "at_end": ["INT32", 0],
            "window_left": ["INT32", -1],
            "window_right": ["INT32", -1],
            "softcap": ["FLOAT32", 0.0],
            "in_place": ["INT32", 0],
        }
        assert report["errors"] == ["Assertion failed: plugin: Could not create the plugin."]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTENDING if name not in QUICK])
def test_tensorrt_rtxs_parser_finds_it_in_the_others_too(nets, tmp_path, name):
    """Attention alone is rewritten, so that the parser, which stops at the first plugin, comes to it."""
    pytest.importorskip("tensorrt_rtx", reason="the parser is TensorRT-RTX's")
    wanted = {}
    for opset in OPSETS:
        for precision in ("fp32", "fp16"):
            made = attention_to_plugin(onnx.load(nets(name) / f"{opset}.{precision}.onnx"), lambda item: "").model
            node = next(node for node in made.graph.node if node.op_type == "EdgekitAttention")
            path = tmp_path / f"{opset}.{precision}.onnx"
            onnx.save(made, path)
            wanted[str(path)] = node
    command = [sys.executable, "-m", "tests.plugins.parser_probe", *wanted]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    reports = json.loads(ran.stdout)
    assert any(report["calls"] for report in reports.values())
    for path, report in reports.items():
        if not report["calls"]:
            # FP16 with lengths: the parser refuses the recurrence in front of it, which a build would take as well.
            assert name.startswith("seq2seq") or name == "cnn_bigru_ctc"
            continue
        (call,) = report["calls"]
        told = {item.name: onnx.helper.get_attribute_value(item) for item in wanted[path].attribute}
        assert (call["op"], call["node"]) == ("EdgekitAttention", wanted[path].name)
        assert {key: value for key, (_, value) in call["fields"].items()} == pytest.approx(
            {key: told[key] for key in OPERATORS["EdgekitAttention"].attributes}
        )
