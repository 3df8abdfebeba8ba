"""Every knob of every stage, written once: the command line and the recipes both read these.

Frozen dataclasses of the standard library only, so that `edgekit --help` stays quick. A field's metadata holds the
help text, the allowed values and the placeholder that the help page shows. Units stand in the names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgekit.errors import UsageError

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8+fp16", "fp8", "int4")
# These need real inputs to calibrate on.
CALIBRATED = ("int8", "int8+fp16", "fp8")
METHODS = ("auto", "max", "mse", "percentile")
BACKENDS = ("auto", "ort", "trt", "rtx")
# When the requests of a latency measurement arrive.
MODES = ("closed", "fixed-rate", "poisson", "offline", "soak")
JUDGES = ("loadgen",)
_LARGEST = 1e9
TARGETS = ("cpu", "rtx", "desktop", "jetpack6", "jetpack7.0", "jetpack7.2")


def knob(default: Any, help: str, *, choices: tuple[str, ...] = (), metavar: str = "", least: float = -math.inf) -> Any:
    """A config field with what the command line needs to show and check it; `least` is the smallest value allowed."""
    return field(default=default, metadata={"help": help, "choices": choices, "metavar": metavar, "least": least})


@dataclass(frozen=True)
class Config:
    """The base of all configs: a value that a field does not allow is a UsageError, wherever it came from."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, choices = getattr(self, item.name), item.metadata["choices"]
            if choices and value is not None and value not in choices:
                raise UsageError(f"{item.name}: expected one of {', '.join(choices)}, found {value!r}", "one of those")
            least = item.metadata["least"]
            if type(value) in (int, float) and not least <= value <= _LARGEST:
                bounds = f"{least:g} or more, up to {_LARGEST:g}"
                raise UsageError(f"{item.name}: expected {bounds}, found {value:g}", "such a number")


@dataclass(frozen=True)
class ExportConfig(Config):
    """torch -> ONNX."""

    weights: Path | None = knob(None, "Weights to load: .safetensors, or .pt holding tensors only.", metavar="FILE")
    opset: int | None = knob(None, "ONNX opset version; else 23 where target and precision have Attention, or 20.")
    target: str | None = knob(None, "What the model is for; with the precision it decides the opset.", choices=TARGETS)
    precision: str = knob("fp32", "The precision that it will be computed in.", choices=PRECISIONS)
    set: tuple[str, ...] = knob((), "Change the architecture, such as hidden_size=256. Repeatable.", metavar="K=V")
    dynamic: tuple[str, ...] = knob((), "Leave an axis open: input:axis=name. Repeatable.", metavar="NAME:AXIS=DIM")
    tolerance: float = knob(1e-4, "Largest |torch - onnx|, relative to the largest |torch| of that output.")
    allow_legacy: bool = knob(False, "Where torch's exporter fails, try its older one, which traces.")
    save_examples: bool = knob(False, "Also write the example inputs as OUT.examples.npz.")


@dataclass(frozen=True)
class QuantizeConfig(Config):
    """ONNX -> ONNX at another precision."""

    precision: str = knob("fp16", "The precision to compute in.", choices=PRECISIONS[1:])
    keep_ops: tuple[str, ...] = knob((), "Operator types left as they are. Repeatable.", metavar="OP_TYPE")
    data: str | None = knob(None, "Real inputs to calibrate on: an .npz, a folder, or module:callable.", metavar="D")
    recipe: str | None = knob(None, "The recipe by which pictures become inputs: a name or a file.", metavar="R")
    samples: int = knob(512, "How many samples to calibrate on at the most, evenly spaced.", least=1)
    method: str = knob("auto", "How scales follow from the data; auto tries all on samples held back.", choices=METHODS)
    per_channel: bool = knob(True, "One scale an output channel of a weight, not one a weight.")
    residual: bool = knob(False, "Also quantize the skip input of residual adds: a fusion, for some accuracy.")
    keep_layers: str | int | None = knob(
        None, "Leave the costliest layers as they are: a number, or auto.", metavar="N"
    )
    min_sqnr_db: float | None = knob(None, "What --keep-layers auto has to reach on the samples held back.")
    max_drop: float | None = knob(None, "The drop of top-1, a fraction, that --keep-layers auto may leave.", least=0)
    labels: Path | None = knob(None, "What the samples are, for --max-drop: an .npy or a CSV.", metavar="L")
    scales: Path | None = knob(None, "A scale table to take instead of data, or to go on from.", metavar="FILE")
    calibration_cache: Path | None = knob(None, "Also write ranges as TensorRT's calibration cache.", metavar="FILE")
    relegalize: bool = knob(False, "Mend the Q/DQ of a model that another tool quantized; needs no data.")


@dataclass(frozen=True)
class BuildConfig(Config):
    """ONNX -> engine."""

    target: str = knob("rtx", "What the engine is for.", choices=TARGETS)
    compute_capability: tuple[str, ...] = knob((), "GPU to build for, such as 8.6. Repeatable.", metavar="X.Y")
    shape: tuple[str, ...] = knob(
        (), "Range of an input: name:min:opt:max, or name:shape. Repeated for one input: another profile.", metavar="S"
    )
    workspace_mib: int | None = knob(None, "Scratch memory that the engine may use, in MiB.", least=0)
    timing_cache: Path | None = knob(None, "What TensorRT measured of kernels: read, and written anew.", metavar="FILE")
    require_precision: tuple[str, ...] = knob(
        (), "Fail when less is computed so: fp16=0.9, or int8+fp16=0.9. Repeatable.", metavar="P=SHARE"
    )
    plugins: str = knob("auto", "Edgekit's own kernels where they help: auto, off, or their library.", metavar="P")
    device: str | None = knob(None, "The device that it is for, such as agx-orin-64.", metavar="NAME")


@dataclass(frozen=True)
class ValidateConfig(Config):
    """Is the model still the model, and is it in time?"""

    reference: Path | None = knob(None, "The FP32 ONNX to compare with.", metavar="REF.onnx")
    data: str | None = knob(None, "Real inputs: an .npz, a folder, or module:callable.", metavar="D")
    budget: str | None = knob(
        None,
        "What must hold, such as 'top1_drop<=0.01,p99_ms<=20'; else what a bundle was made for, or 'sqnr_db>=30'.",
        metavar="B",
    )
    recipe: str | None = knob(None, "The recipe by which pictures become inputs: a name or a file.", metavar="R")
    samples: int = knob(512, "How many samples to judge at the most, evenly spaced.", least=1)
    labels: Path | None = knob(None, "What the samples are: an .npy, or a CSV sample,label.", metavar="L")
    backend: str = knob("auto", "Who computes; auto picks and says why.", choices=BACKENDS)
    fps: float | None = knob(
        None, "Send requests at this rate, as a camera does; else at the bundle's own, or back to back.", least=1e-3
    )
    requests: int | None = knob(None, "Latency requests; else as many as the budget needs.", least=1)
    duration: float = knob(60.0, "Seconds of latency measurement at the most.", least=0.01)
    allow: tuple[str, ...] = knob(
        (), "A doubt that a warning names and that is not to keep a PASS back. Repeatable.", metavar="NAME"
    )
    slices: str | None = knob(None, "Judge slices too: label, or another column of the labels CSV.", metavar="COLUMN")
    robustness: bool = knob(False, "Also report how noise, blur and brightness change the answers of both models.")
    html: Path | None = knob(None, "Also write it as a page.", metavar="F.html")
    markdown: Path | None = knob(None, "Also write a summary for a pull request, in Markdown.", metavar="F.md")
    trusted_keys: tuple[Path, ...] = knob(
        (), "Open only a bundle that one of these keys signed. Repeatable.", metavar="PUB_OR_DIR"
    )
    require_signature: bool = knob(False, "Refuse a bundle that is not signed.")


@dataclass(frozen=True)
class BenchConfig(Config):
    """How fast is it, and how sure is that?"""

    data: str | None = knob(
        None, "Real inputs: an .npz, a folder, or module:callable; else the model's example inputs.", metavar="D"
    )
    recipe: str | None = knob(None, "The recipe by which pictures become inputs: a name or a file.", metavar="R")
    mode: str | None = knob(
        None, "When requests arrive; by default fixed-rate at a rate, else closed, one after the other.", choices=MODES
    )
    fps: float | None = knob(
        None, "Requests a second, as a camera sends them, of poisson the mean; else the bundle's own.", least=1e-3
    )
    duration: float = knob(60.0, "Seconds of measurement at the most; a soak lasts for all of them.", least=0.01)
    requests: int | None = knob(None, "How many requests; else as many as the budget needs.", least=1)
    budget: str | None = knob(
        None, "What must hold, such as 'p99_ms<=20,cold_start_s<=5'; else what a bundle was made for.", metavar="B"
    )
    allow: tuple[str, ...] = knob(
        (), "A doubt that a warning names and that is not to keep a PASS back. Repeatable.", metavar="NAME"
    )
    backend: str = knob("auto", "Who computes; auto picks and says why.", choices=BACKENDS)
    seed: int = knob(0, "Another number gives poisson other gaps.", least=0)
    idle_gap: float | None = knob(None, "Also time the first request after a pause of so many seconds.", least=1e-3)
    cold_starts: int | None = knob(
        None, "Processes started to time the first answer; 5 if the budget asks, else 1.", least=0
    )
    judge: str | None = knob(
        None, "An outside judge that sends requests of its own: both clocks on the same ones.", choices=JUDGES
    )
    beside: tuple[str, ...] = knob(
        (),
        "Another model that runs meanwhile in a process of its own, @10 for 10 a second. Repeatable.",
        metavar="S[@FPS]",
    )
    raw: Path | None = knob(None, "Write the raw times of all requests and stages as an .npz.", metavar="F.npz")
    html: Path | None = knob(None, "Write the report as a page that needs no network.", metavar="F.html")
    trace: Path | None = knob(None, "Write a trace for ui.perfetto.dev or chrome://tracing.", metavar="F.json")
    markdown: Path | None = knob(None, "Write a summary for a pull request, in Markdown.", metavar="F.md")
    trusted_keys: tuple[Path, ...] = knob(
        (), "Open only a bundle that one of these keys signed. Repeatable.", metavar="PUB_OR_DIR"
    )
    require_signature: bool = knob(False, "Refuse a bundle that is not signed.")


@dataclass(frozen=True)
class DeployConfig(Config):
    """The main job in one go. What is not given here comes from the recipe."""

    target: str = knob("rtx", "What the bundle is for.", choices=TARGETS)
    data: str | None = knob(None, "Real inputs to judge on: an .npz, a folder, or module:callable.", metavar="D")
    calibrate_on: str | None = knob(None, "Real inputs to calibrate INT8 on; else those of --data.", metavar="D")
    precision: str | None = knob(None, "The precision to compute in.", choices=PRECISIONS)
    budget: str | None = knob(None, "What must hold, such as 'sqnr_db>=30'.", metavar="B")
    recipe: str | None = knob(None, "A recipe's name or file; else the architecture's own.", metavar="R")
    weights: Path | None = knob(None, "Weights to load: .safetensors, or .pt holding tensors only.", metavar="FILE")
    compute_capability: tuple[str, ...] = knob((), "GPU to build for, such as 8.6. Repeatable.", metavar="X.Y")
    shape: tuple[str, ...] = knob((), "Range of an input: name:min:opt:max, or name:shape. Repeatable.", metavar="S")
    labels: Path | None = knob(None, "What the samples of --data are: an .npy, or a CSV sample,label.", metavar="L")
    fps: float | None = knob(None, "Measure latency at this rate, as a camera sends frames.", least=1e-3)
    allow: tuple[str, ...] = knob(
        (), "A doubt that a warning names and that is not to keep a PASS back. Repeatable.", metavar="NAME"
    )
    slices: str | None = knob(None, "Judge slices too: label, or another column of the labels CSV.", metavar="COLUMN")
    embed_samples: bool = knob(
        False, "Put the first sample of --data into the bundle as its golden input, instead of made-up numbers."
    )


@dataclass(frozen=True)
class RunConfig(Config):
    """A bundle on real input."""

    source: str = knob(
        "",
        "A picture, a folder of pictures or arrays, an .npz of inputs, a .wav or a .txt of lines; a video, camera:0, "
        "rtsp://…, 'gst:…' or microphone:, which become a loop.",
        metavar="SOURCE",
    )
    backend: str = knob("auto", "Who computes; auto picks and says why.", choices=BACKENDS)
    top: int = knob(1, "How many labels of a classifier to show.", least=1)
    show: str = knob("text", "web serves a live page of the loop on 127.0.0.1.", choices=("text", "web"))
    port: int = knob(8080, "Port of the live page; 0 takes any that is free.", least=0)
    live: bool = knob(
        False, "Play a recording or a folder of pictures at its own pace and answer the newest frame, as of a camera."
    )
    repeat: bool = knob(False, "Begin a recording again at its end.")
    frames: int | None = knob(None, "End a loop after so many answers.", least=1)
    seconds: float | None = knob(None, "End a loop after so many seconds.", least=0.001)
    deadline_ms: float | None = knob(
        None, "Count answers that are older than this, from their capture on.", least=0.001
    )
    answers: Path | None = knob(None, "Write each answer of a loop as a line of JSON.", metavar="FILE")
    trusted_keys: tuple[Path, ...] = knob(
        (), "Open only what one of these keys signed. Repeatable.", metavar="PUB_OR_DIR"
    )
    require_signature: bool = knob(False, "Refuse a bundle that is not signed.")


@dataclass(frozen=True)
class InstallConfig(Config):
    """A bundle becomes the one that a device runs."""

    golden: Path | None = knob(
        None, "An input with its right answer, which the bundle has to give; else its own golden.npz.", metavar="F.npz"
    )
    backend: str = knob("auto", "Who computes; auto picks and says why.", choices=BACKENDS)
    fallback: bool = knob(True, "Where no engine of the bundle runs here, take its ONNX; else refuse it.")
    trusted_keys: tuple[Path, ...] = knob(
        (), "Install only what one of these keys signed. Repeatable.", metavar="PUB_OR_DIR"
    )
    require_signature: bool = knob(False, "Refuse a bundle that is not signed.")
    wait: float = knob(0.0, "Seconds to wait for another install into the same ROOT.", metavar="S", least=0)


@dataclass(frozen=True)
class CheckConfig(Config):
    """Would the target take a model as it is?"""

    target: str = knob("rtx", "What the model is for.", choices=TARGETS)
    device: str | None = knob(None, "The device that it is for, such as agx-orin-64.", metavar="NAME")
    compute_capability: tuple[str, ...] = knob((), "GPU to build for, such as 8.6. Repeatable.", metavar="X.Y")
    shape: tuple[str, ...] = knob(
        (), "Range of an input: name:min:opt:max, or name:shape. Repeated for one input: another profile.", metavar="S"
    )
    require_precision: tuple[str, ...] = knob(
        (), "Refuse when less is computed so: fp16=0.9, or int8+fp16=0.9. Repeatable.", metavar="P=SHARE"
    )
    plugins: str = knob("auto", "Whether edgekit's own kernels may take nodes: auto or off.", metavar="P")
    html: Path | None = knob(None, "Also write the verdicts as a page.", metavar="FILE")


@dataclass(frozen=True)
class InspectConfig(Config):
    """What does a file hold?"""

    html: Path | None = knob(None, "Also write a page that needs no network.", metavar="FILE")
