"""Writes corpus/ anew, from a bundle that edgekit made and from what the other tests hold for real or hostile.

    make demo-digits && .venv/bin/python -m tests.fuzz.seeds out/digits/demo/bundle

Only for a new form of the files: what fuzzing found stays in crashes/.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import helper

from edgekit.bundle import archive, make_keys
from edgekit.data.arrays import write_npz
from tests.bundle import hostile, hostile_archive, hostile_onnx
from tests.device import test_tegrastats as lines
from tests.fuzz.targets import HERE

RECIPES = ("bert_classifier", "efficientnet_lite0_int8", "stream", "cnn_bigru_ctc")
BUDGETS = ("sqnr_db>=30", "top1_drop<=0.01,p99_ms<=20,deadline_miss<=0.001", " cosine >= 9.9e-1 , perplexity<=1.5E3",
           "worst_slice_drop<=0.05,cold_start_s<=2.5,peak_rss_mib<=512")  # fmt: skip
SHAPES = ("x:1x3x224", "x:1x3x32:4x3x64:8x3x64\na:1:1:2:8", "a:1:4", "x:1x3x32\nx:2x3x64", "a:1:0:1:9")
COMPANIES = ("out/demo/bundle", "model.onnx@30", "m@0.5", "user@host/model.onnx@1e3")
ARCHIVES = ("a gap", "deflated", "a file too many, outside", "a size of zip64", "a directory elsewhere",
            "another CRC in the header alone")  # fmt: skip
MODELS = ("functions nested 100 deep", "a constant elsewhere, in a branch", "data in two forms", "types nested 70 deep",
          "sparse weights without end", "dimensions without data", "a length behind its message",
          "where weights are, without being elsewhere")  # fmt: skip
LINES = {"xavier": lines.XAVIER, "orin_6": lines.ORIN_6, "orin_7": lines.ORIN_7, "thor": lines.THOR}


def main(bundle: Path) -> None:
    """Replace the corpus."""
    shutil.rmtree(HERE / "corpus", ignore_errors=True)
    for target, files in {**_of_texts(), **_of_bundle(bundle), **_of_tests()}.items():
        for name, data in files.items():
            path = HERE / "corpus" / target / name.replace(" ", "_").replace(",", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _of_texts() -> dict[str, dict[str, bytes]]:
    recipes = HERE.parents[1] / "calibration/recipes"
    texts = {"budget": BUDGETS, "shape": SHAPES, "company": COMPANIES}
    return {
        **{name: {str(at): text.encode() for at, text in enumerate(found)} for name, found in texts.items()},
        "recipe": {f"{name}.toml": (recipes / f"{name}.toml").read_bytes() for name in RECIPES},
        "tegrastats": {name: line.encode() for name, line in LINES.items()},
    }


def _of_bundle(bundle: Path) -> dict[str, dict[str, bytes]]:
    engine = next(bundle.glob("*.engine")).read_bytes()
    manifest = (bundle / "manifest.json").read_bytes()
    small = {path.name: path.read_bytes() for path in bundle.glob("*process.json")}
    return {
        "manifest": {"real.json": manifest, "demo.json": b"{}", **_changed(manifest)},
        "engine": {"real_ends": engine[:512] + engine[-4:], "made": hostile.engine_bytes(),
                   "standard": b"ftrt" + bytes(20) + bytes((10, 13, 3, 9)) + bytes(16), "older": b"ptrt" + bytes(60)},
        "golden": {"real.npz": (bundle / "golden.npz").read_bytes(), **_arrays()},
        "spec": {**small, **{f"{name}.json": json.dumps(table).encode() for name, table in _specs().items()}},
        "strict_json": {**small, "numbers.json": b'[0, -1.5e3, 9223372036854775807, "\\u00e9\\ud83d\\ude00", null]',
                        "large.json": b"[9223372036854775808]", "infinite.json": b'{"a": -1e999}'},
    }  # fmt: skip


def _changed(manifest: bytes) -> dict[str, bytes]:
    """Manifests with what the real one has not: several files in folders, assets, a stream, axes without names."""
    table = json.loads(manifest)
    entry = {"sha256": "0" * 64, "size": 1}
    table["files"] |= dict.fromkeys(("a/b/c.json", "vocabulary.txt", "stream.json"), entry)
    table |= {"assets": ["vocabulary.txt", "a/b/c.json"], "stream": "stream.json", "ranges": {"T": [0, 1, 9]}}
    table["inputs"].append({"dtype": "int4", "name": "tokens", "shape": [1, "T", 0]})
    changes = {
        "assets": {},
        "half_a_range": {"ranges": {"T": [0, 1, 1.5]}},
        "outside": {"files": {**table["files"], "../outside": entry}},
    }
    # The target brings them into a bundle's form.
    return {f"{name}.json": json.dumps({**table, **change}).encode() for name, change in changes.items()}


def _specs() -> dict[str, object]:
    return {
        "image": hostile.PREPROCESS,
        "classify": hostile.POSTPROCESS,
        "list": [{"kind": "image"}],
        "stream": {"states": ["h=h_out", "c=c_out"], "tokens": "ids", "logits": "logits", "stop": [2]},
    }


def _arrays() -> dict[str, bytes]:
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([[1, 2]], dtype=">i8")
    return {
        "two.npz": _npz({"inputs/x": x, "inputs/t": np.array("text"), "outputs/y": np.asfortranarray(y)}),
        "deflated.npz": _npz({"inputs/x": x, "outputs/y": x}, np.savez_compressed),
    }


def _npz(arrays: dict[str, np.ndarray], write: object = None) -> bytes:
    out = io.BytesIO()
    write(out, **arrays) if callable(write) else write_npz(out, arrays)
    return out.getvalue()


def _of_tests() -> dict[str, dict[str, bytes]]:
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_keys(folder / "key")
        weights = helper.make_tensor("w", 1, [2, 2], [1.0, 2.0, 3.0, 4.0])
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        ends = [helper.make_tensor_value_info(end, 1, ["batch", 2]) for end in ("x", "y")]
        model = hostile_onnx.serialized(helper.make_graph([node], "g", ends[:1], ends[1:], [weights]))
        (folder / "model.onnx").write_bytes(model)
        good = hostile.make_good(folder, folder / "model.onnx", folder / "key")
        archive(good, folder / "a.ekb")
        signed = (folder / "a.ekb").read_bytes()
        signature = (good / "signatures.json").read_bytes()
        files = hostile_archive.contents(good)
    called = hostile_onnx.function("a", "If", tensors=[hostile_onnx.plain()])
    names = sorted(files.keys() - {"manifest.json", "signatures.json"})
    return {
        "archive": {"signed.ekb": signed, **{kind: hostile_archive.KINDS[kind](signed) for kind in ARCHIVES}},
        "contents": {Path(name).name: bytes([at]) + files[name] for at, name in enumerate(names)},
        "signatures": {"one.json": signature, "none.json": b'{"schema": 1, "signatures": []}'},
        "onnx_bounds": {
            "small": model,
            "function": hostile_onnx.serialized(hostile_onnx.calling("a"), [called]),
            "branches": hostile_onnx.nested_graphs(19),
            **{name: hostile_onnx.FILES[name] for name in MODELS},
        },
        "samples": {"plain.npz": _npz({"x": x}), "deflated.npz": _npz({"x": x}, np.savez_compressed),
                    "fortran.npz": _npz({"x": np.asfortranarray(x)}), "text.npz": _npz({"x": np.array(["a"])})},
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
