"""One adapter over `tensorrt` 10 and 11 and `tensorrt_rtx`: the same classes, a few differences, said here once."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any

from edgekit.errors import TargetError
from edgekit.targets import Target


class AbsentTensorRT(TargetError):
    """This machine has not the TensorRT that a target builds with; another has: see `edgekit.build.package`."""


@dataclass(frozen=True)
class Flavour:
    """The TensorRT module that builds for a target."""

    trt: Any
    name: str
    version: str

    @property
    def is_rtx(self) -> bool:
        """TensorRT-RTX builds without a GPU and takes compute capabilities instead."""
        return self.name == "tensorrt_rtx"

    @property
    def imports_attention(self) -> bool:
        """Whether its ONNX parser knows Attention: RTX, and TensorRT since 10.14 (release notes)."""
        return self.is_rtx or tuple(map(int, self.version.split(".")[:2])) >= (10, 14)

    def create_network(self, builder: Any) -> Any:
        """A strongly typed network: the precision is what the ONNX says (TensorRT 11 and RTX know nothing else)."""
        if self.is_rtx or not self.version.startswith("10."):
            return builder.create_network(0)
        return builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))

    def set_compute_capabilities(self, config: Any, capabilities: tuple[str, ...]) -> None:
        """Name the GPUs that an engine must run on; none named keeps RTX's default, 8.0 and later."""
        if not capabilities:
            return
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            member = getattr(self.trt.ComputeCapability, "SM" + capability.replace(".", ""))
            if not config.set_compute_capability(member, index):
                raise TargetError(f"TensorRT-RTX {self.version} does not accept compute capability {capability}")


def minimum_cuda(kind: Target) -> str:
    """The CUDA version that a driver must serve at least to run an engine built for `kind` here; empty if unknown.

    That of TensorRT's package, else of the JetPack, and of these the first of the same major version: "Minor Version
    Compatibility", https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
    """
    for major in ("13", "12"):
        try:
            importlib.metadata.version(f"{kind.flavour}_cu{major}")
        except importlib.metadata.PackageNotFoundError:
            continue
        return f"{major}.0"
    return f"{kind.cuda.split('.')[0]}.0" if kind.cuda else ""


def load_flavour(target: Target, capabilities: tuple[str, ...]) -> Flavour:
    """Import the module that builds for `target`; TargetError says in one line what this machine lacks."""
    target.check_compute_capabilities(capabilities)
    if capabilities and target.flavour != "tensorrt_rtx":
        raise TargetError(
            f"expected no --compute-capability for target {target.name}: TensorRT builds for the GPU it finds",
            "leave --compute-capability out, or --target rtx",
        )
    module = _import(target.flavour)
    if module is None and target.flavour == "tensorrt_rtx":
        raise TargetError(
            f"expected TensorRT-RTX for target {target.name}, found none", "pip install tensorrt-rtx-cu13"
        )
    if module is None:
        raise AbsentTensorRT(
            f"expected TensorRT {target.tensorrt or '10 or 11'} to build for target {target.name}, "
            "found none on this machine",
            f"the same command on {target.where}, or --target rtx for a desktop GPU",
        )
    flavour = Flavour(module, target.flavour, module.__version__)
    if target.tensorrt and not flavour.version.startswith(target.tensorrt + "."):
        raise AbsentTensorRT(
            f"expected TensorRT {target.tensorrt} for target {target.name}, found {flavour.version}: "
            "an engine is for one version",
            f"build on the device itself ({target.where})",
        )
    return flavour


def _import(name: str) -> Any:
    """The module, or None; a folder of type stubs imports as an empty namespace and is not TensorRT."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module if hasattr(module, "Builder") else None
