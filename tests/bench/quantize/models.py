"""The networks of the bench: how each is made, what real data it is calibrated and judged on, and what it decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.configs import ExportConfig
from edgekit.judge import outputs_of

Arrays = dict[str, np.ndarray]
Sets = tuple[Arrays, Arrays]
Outputs = list[np.ndarray]  # over all samples held out, in the model's order

CNN, RECURRENT, TRANSFORMER = "cnn", "recurrent", "transformer"
OUT = Path(__file__).parents[3] / "out/bench-quantize"
# Attention is one node there, which the target fuses; at opset 20 it is written out.
ONE_NODE = ExportConfig(target="rtx", precision="int8+fp16")
_CALIBRATED_ON = 256  # digits and pieces of text
_BATCH = 16


@dataclass(frozen=True)
class Network:
    """`make` writes model.onnx (and model.opset20.onnx) to a folder and returns the samples of both sets.

    `decide` turns outputs into integers, such as classes, which are compared with FP32's and, where `labels` are,
    with those.
    """

    name: str
    title: str
    kind: str
    make: Callable[[Path], Sets]
    decide: Callable[[Outputs, Path], np.ndarray]
    labels: Callable[[], np.ndarray] | None = None

    @property
    def folder(self) -> Path:
        """Where the model and its data lie."""
        return OUT / "models" / self.name

    @property
    def model(self) -> Path:
        """The FP32 model that all are judged against; of a transformer, with Attention nodes."""
        return self.folder / "model.onnx"

    @property
    def sources(self) -> list[Path]:
        """All forms of the model, for peers to choose from."""
        return [file for file in (self.folder / "model.opset20.onnx", self.model) if file.exists()]

    @property
    def calibration(self) -> Path:
        """Samples that ranges may be found on."""
        return self.folder / "calibration.npz"

    @property
    def held_out(self) -> Path:
        """Samples that no tool sees."""
        return self.folder / "heldout.npz"

    @property
    def ranges(self) -> tuple[str, ...]:
        """A batch of 1 to 8 samples as they are."""
        shapes = {name: "x".join(map(str, value.shape[1:])) for name, value in arrays(self.calibration).items()}
        return tuple(f"{name}:1x{rest}:1x{rest}:8x{rest}" for name, rest in shapes.items())

    def prepare(self, fresh: bool) -> None:
        """Make the model and its data, unless they are there."""
        if not fresh and self.held_out.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        calibration, held_out = self.make(self.folder)
        np.savez(self.calibration, **calibration)
        np.savez(self.held_out, **held_out)


def arrays(file: Path) -> Arrays:
    """All arrays of an .npz."""
    with np.load(file) as archive:
        return {name: archive[name] for name in archive.files}


def outputs_on(model: Path, data: Path) -> Outputs:
    """What a model answers to all samples of an .npz, in batches of 16; ModelError where onnxruntime refuses it."""
    samples = arrays(data)
    count = len(next(iter(samples.values())))
    batches = [
        {name: value[at : at + _BATCH] for name, value in samples.items()} for at in range(0, count, _BATCH)
    ]  # fmt: skip
    found = [list(outputs.values()) for outputs in outputs_of(model, batches)]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _exported(source: str, folder: Path, transformer: bool = False) -> Path:
    """Export to model.onnx, and a transformer to model.opset20.onnx too."""
    from edgekit.export import export

    if transformer:
        export(source, folder / "model.opset20.onnx")
    return export(source, folder / "model.onnx", ONE_NODE if transformer else ExportConfig()).path


def _trained(name: str, title: str, kind: str) -> Network:
    """One of train.py that reads digits."""

    def make(folder: Path) -> Sets:
        from tests.bench.quantize import train

        _exported(f"tests.bench.quantize.train:{name}", folder, kind == TRANSFORMER)
        key, images = ("rows", train.digits()[0]) if name == "lstm" else ("image", train.pictures())
        return {key: images[:_CALIBRATED_ON]}, {key: images[train.TRAINED_ON :]}

    def labels() -> np.ndarray:
        from tests.bench.quantize import train

        return train.digits()[1][train.TRAINED_ON :]

    return Network(name, title, kind, make, _classes, labels)


def _gpt() -> Network:
    """Predicts the next character."""

    def make(folder: Path) -> Sets:
        _exported("tests.bench.quantize.train:gpt", folder, True)
        return _pieces(0), _pieces(1)

    def labels() -> np.ndarray:
        return _pieces(1)["characters"][:, 1:]

    def decide(outputs: Outputs, _: Path) -> np.ndarray:
        return outputs[0][:, :-1].argmax(-1)

    return Network("gpt", "char GPT", TRANSFORMER, make, decide, labels)


def _pieces(part: int) -> Arrays:
    from tests.bench.quantize import train

    text = train.text()[part]
    starts = np.linspace(0, len(text) - train.SPAN - 1, _CALIBRATED_ON, dtype=int)
    return {"characters": np.stack([text[start : start + train.SPAN] for start in starts])}


def _lite0() -> Network:
    def make(folder: Path) -> Sets:
        from tests.bench.quantize import pretrained

        return pretrained.squares(_exported("efficientnet_lite0", folder))

    return Network("lite0", "EfficientNet-Lite0, pretrained", CNN, make, _classes)


def _minilm() -> Network:
    """Decides which of the other sentences is nearest."""

    def make(folder: Path) -> Sets:
        from tests.bench.quantize import pretrained

        source = pretrained.minilm_source(folder / "source.py")
        return pretrained.sentences(_exported(source, folder, True))

    def decide(outputs: Outputs, _: Path) -> np.ndarray:
        cosines = outputs[0] @ outputs[0].T
        np.fill_diagonal(cosines, -np.inf)
        return cosines.argmax(1)

    return Network("minilm", "MiniLM-L6, pretrained", TRANSFORMER, make, decide)


def _resemblyzer() -> Network:
    """Decides which woman speaks: the nearer of two voices, enrolled by FP32 on the calibration set."""

    def make(folder: Path) -> Sets:
        from tests.bench.quantize import pretrained

        source = pretrained.resemblyzer_source(folder / "source.py")
        return pretrained.voices(_exported(source, folder))

    def decide(outputs: Outputs, folder: Path) -> np.ndarray:
        who, enrolled = _speakers(0), outputs_on(folder / "model.onnx", folder / "calibration.npz")[0]
        voices = np.stack([enrolled[who == number].mean(0) for number in (0, 1)])
        return (outputs[0] @ (voices / np.linalg.norm(voices, axis=1, keepdims=True)).T).argmax(1)

    return Network("resemblyzer", "Resemblyzer, pretrained", RECURRENT, make, decide, lambda: _speakers(1))


def _speakers(part: int) -> np.ndarray:
    """Whose each piece is, 0 or 1."""
    from tests.bench.quantize import pretrained

    return np.concatenate([np.full(len(pieces), index) for index, (_, pieces) in enumerate(pretrained.spoken()[part])])


def _silero() -> Network:
    """Decides whether there is speech in a chunk."""

    def make(folder: Path) -> Sets:
        from tests.bench.quantize import pretrained

        source = pretrained.silero_source(folder / "source.py")
        return pretrained.chunks(_exported(source, folder))

    def decide(outputs: Outputs, _: Path) -> np.ndarray:
        return (outputs[0][:, 0] > 0.5).astype(int)

    def labels() -> np.ndarray:
        from tests.bench.quantize import pretrained

        return pretrained.spoken_chunks()

    return Network("silero", "silero-vad, pretrained", RECURRENT, make, decide, labels)


def _classes(outputs: Outputs, _: Path) -> np.ndarray:
    return outputs[0].argmax(-1)


NETWORKS = {
    network.name: network
    for network in (
        _trained("resnet", "small ResNet", CNN),
        _trained("efficientnet", "MBConv + SiLU + SE", CNN),
        _lite0(),
        _trained("vit", "small ViT", TRANSFORMER),
        _gpt(),
        _minilm(),
        _trained("lstm", "LSTM", RECURRENT),
        _resemblyzer(),
        _silero(),
    )
}
