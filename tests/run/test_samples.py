"""A bundle on arrays of changing shape: every value arrives, whatever the order of the inputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.configs import DeployConfig, RunConfig
from edgekit.deploy import deploy
from edgekit.errors import DataError, UsageError
from edgekit.run import run
from edgekit.runtime import Session
from tests.runtime.sources.sounds import write_wav


def test_two_inputs_of_other_lengths_than_the_sessions(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceSum", ["a"], ["sa"], keepdims=1),
        helper.make_node("ReduceSum", ["b"], ["sb"], keepdims=1),
        helper.make_node("Sub", ["sa", "sb"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(name, 1, ["batch", f"{name}_time"]) for name in "ab"]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, [1, 1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    a, b = np.full((3, 5), 2, np.float32), np.full((3, 7), 3, np.float32)
    np.savez(tmp_path / "x.npz", a=a, b=b)
    config = DeployConfig("cpu", str(tmp_path / "x.npz"), precision="fp32", shape=("a:1x1:1x2:4x9", "b:1x1:1x2:4x9"))
    deploy(str(tmp_path / "m.onnx"), tmp_path / "out", config)
    seen = []
    real = Session.execute

    def spy(session):
        timing = real(session)
        seen.append(float(session.output("y")[0, 0]))
        return timing

    monkeypatch.setattr(Session, "execute", spy)
    report = run(tmp_path / "out" / "bundle", RunConfig(source=str(tmp_path / "x.npz")))
    assert seen[-3:] == [5 * 2 - 7 * 3] * 3
    assert [frame.name for frame in report.frames] == ["sample 0", "sample 1", "sample 2"]


def test_nothing_to_run_on(small_bundle):
    with pytest.raises(UsageError, match="found no source"):
        run(small_bundle, RunConfig())


def test_a_sound_is_one_sample_and_must_have_the_bundles_rate(tmp_path):
    """The network gives the mean of a second of sound, at 8000 samples a second."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    node = helper.make_node("ReduceMean", ["x"], ["y"], keepdims=1)
    sound = helper.make_tensor_value_info("x", 1, [1, 8000])
    graph = helper.make_graph([node], "g", [sound], [helper.make_tensor_value_info("y", 1, [1, 1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    (tmp_path / "recipe.toml").write_text('[preprocess]\nkind = "audio"\ninput = "x"\nrate = 8000\nlength = 8000\n')
    np.savez(tmp_path / "x.npz", x=np.ones((1, 8000), np.float32))
    config = DeployConfig(
        "cpu", str(tmp_path / "x.npz"), precision="fp32", recipe=str(tmp_path / "recipe.toml"), shape=("x:1x8000",)
    )
    deploy(str(tmp_path / "m.onnx"), tmp_path / "out", config)
    half = np.full((4000, 1), 1 << 14)  # a half of full scale, for half a second
    bundle = tmp_path / "out" / "bundle"
    seen = []

    class Spying(Session):
        def execute(self):
            timing = super().execute()
            seen.append(float(self.output("y")[0, 0]))
            return timing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgekit.run.Session", Spying)
        report = run(bundle, RunConfig(source=str(write_wav(tmp_path / "half.wav", half, 2, 8000))))
    assert [frame.name for frame in report.frames] == ["half.wav"]
    assert seen[-1] == pytest.approx(0.25)
    with pytest.raises(DataError, match="at 8000 Hz, found 16000 Hz"):
        run(bundle, RunConfig(source=str(write_wav(tmp_path / "fast.wav", half, 2, 16000))))
    with pytest.raises(DataError, match=r"expected samples in .*empty\.wav, found none"):
        run(bundle, RunConfig(source=str(write_wav(tmp_path / "empty.wav", half[:0], 2, 8000))))


def test_each_line_of_a_text_is_a_sample(tmp_path):
    """The network gives the mean of a text's token ids."""
    onnx, tokenizers = pytest.importorskip("onnx"), pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"no": 0, "yes": 1, "maybe": 5}, unk_token="no"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["ids"], ["f"], to=1),
        helper.make_node("ReduceMean", ["f"], ["y"], keepdims=1),
    ]
    ids = helper.make_tensor_value_info("ids", 7, ["batch", "time"])
    graph = helper.make_graph(nodes, "g", [ids], [helper.make_tensor_value_info("y", 1, [1, 1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    recipe = '[preprocess]\nkind = "text"\ninput = "ids"\ntokenizer = "tokenizer.json"\n'
    (tmp_path / "recipe.toml").write_text(recipe)
    np.savez(tmp_path / "x.npz", ids=np.ones((1, 4), np.int64))
    config = DeployConfig(
        "cpu",
        str(tmp_path / "x.npz"),
        precision="fp32",
        recipe=str(tmp_path / "recipe.toml"),
        shape=("ids:1x1:1x4:2x9",),
    )
    deploy(str(tmp_path / "m.onnx"), tmp_path / "out", config)
    (tmp_path / "lines.txt").write_text("yes maybe\n\nmaybe\n")
    report = run(tmp_path / "out" / "bundle", RunConfig(source=str(tmp_path / "lines.txt")))
    assert [frame.name for frame in report.frames] == ["yes maybe", "maybe"]
    for content, said in ((b"\n\n", "found none"), (b"\xff\xfe", "expected a text in UTF-8")):
        (tmp_path / "lines.txt").write_bytes(content)
        with pytest.raises(DataError, match=said):
            run(tmp_path / "out" / "bundle", RunConfig(source=str(tmp_path / "lines.txt")))
