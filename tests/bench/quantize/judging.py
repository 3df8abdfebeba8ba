"""What a quantized file is worth: how exact it is, and whether TensorRT takes it. Judgements are kept by content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from edgekit.build import BuildReport, build
from edgekit.configs import BuildConfig
from edgekit.errors import EdgekitError
from edgekit.metrics import Sqnr
from edgekit.quantize.legal import breaches, is_quantized
from tests.bench.quantize.models import OUT, Network, outputs_on

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
# The code that a judgement depends on, and that a quantized model does.
_JUDGES = ("judge.py", "metrics.py", "build", "rewrite", "quantize/legal", "shapes.py")
_QUANTIZERS = ("quantize", "data", "rewrite", "judge.py", "metrics.py", "preprocess.py", "specs.py", "configs.py")
QUANTIZER = [ROOT / "edgekit" / name for name in _QUANTIZERS]


@dataclass(frozen=True)
class Judged:
    """One file against FP32 on the samples held out.

    `sqnr_db` is that of the worst output, `agreement` the share of FP32's decisions that are the same, `score` the
    share of right ones where there are labels. `refused` says why TensorRT-RTX does not build it, or which rules it
    breaks; empty for a legal file. `fused_attention` counts the engine's layers that are one whole attention.
    """

    sqnr_db: float
    agreement: float
    score: float | None
    quantized: bool
    refused: str
    weight_bytes: int
    fused_attention: int

    @property
    def legal(self) -> bool:
        """Whether it counts."""
        return self.quantized and not self.refused


def judged(file: Path, network: Network, fresh: bool = False) -> Judged:
    """Judge `file`, or read what was said of this very file."""
    parts = [file, network.model, network.held_out, HERE / "judging.py", HERE / "models.py"]
    parts += [ROOT / "edgekit" / name for name in _JUDGES]
    key = digest(parts, [version("tensorrt-rtx-cu13"), version("onnxruntime"), network.name])
    kept = OUT / "judged" / f"{file.name}.{key[:16]}.json"
    if fresh or not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(asdict(_judge(file, network))))
    return Judged(**json.loads(kept.read_text()))


def score_of(network: Network) -> float | None:
    """The share of right decisions in FP32; None without labels."""
    if network.labels is None:
        return None
    return _share(network.decide(outputs_on(network.model, network.held_out), network.folder), network.labels())


def digest(parts: Iterable[Path], words: Iterable[str] = ()) -> str:
    """SHA-256 of files, of all code in folders, and of words."""
    total = hashlib.sha256(repr(list(words)).encode())
    for part in parts:
        files = [part] if part.is_file() else sorted([*part.rglob("*.py"), *part.rglob("*.toml")])
        for file in files:
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _judge(file: Path, network: Network) -> Judged:
    reference = outputs_on(network.model, network.held_out)
    model = onnx.load(file)
    engine = _built(file, network)
    refused = engine if isinstance(engine, str) else _broken(model)
    fused = 0 if isinstance(engine, str) else sum("mha" in layer.name for layer in engine.layers)
    try:
        found = outputs_on(file, network.held_out)
    except EdgekitError as error:
        return Judged(-np.inf, 0.0, None, is_quantized(model), str(error), 0, 0)
    # By place: some tools rename outputs.
    meters = [Sqnr() for _ in reference]
    for meter, wanted, got in zip(meters, reference, found, strict=True):
        meter.add(wanted, got)
    decisions = network.decide(found, network.folder)
    return Judged(
        sqnr_db=round(min(meter.db() for meter in meters), 2),
        agreement=_share(decisions, network.decide(reference, network.folder)),
        score=_share(decisions, network.labels()) if network.labels else None,
        quantized=is_quantized(model),
        refused=refused,
        weight_bytes=sum(tensor.ByteSize() for tensor in model.graph.initializer),
        fused_attention=fused,
    )


def _built(file: Path, network: Network) -> BuildReport | str:
    """What TensorRT-RTX makes of it for SM 8.6, or why it does not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return build(file, Path(folder) / "engine", BuildConfig("rtx", ("8.6",), shape=network.ranges))
        except EdgekitError as error:
            return f"TensorRT-RTX: {str(error)[:200]}"


def _broken(model: onnx.ModelProto) -> str:
    """The rules of TensorRT that are broken, each with the number of places."""
    found = [item.rule.id for item in breaches(model) if item.is_error]
    return ", ".join(f"{rule} {found.count(rule)}x" for rule in dict.fromkeys(found))


def _share(found: np.ndarray, wanted: np.ndarray) -> float:
    return round(float((found == wanted).mean()), 4)
