"""What a target accepts, as data with sources in targets.toml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgekit.errors import TargetError, nearest
from edgekit.targets.facts import read_facts, with_sources


@dataclass(frozen=True)
class Target:
    """A kind of machine that a bundle is for. An empty value is unknown, not zero.

    `flavour` is the Python module that builds and runs engines; `tensorrt`, `cuda` and `python` are the versions that
    an engine or a package is for, and `jetpack` the JetPacks that have them. `opsets` is the lowest and the highest
    ONNX opset that the importer documents. `plugins` is "none", "own-op" where a plugin is an ONNX operator of its
    own, or "override" where it may also stand in for a standard one. `dla` says which modules can use their DLA, or
    "none". `memory` is "shared" where CPU and GPU have the same, else "own". `strongly_typed` says when precision
    comes from the ONNX alone: "always", or "by flag" where a network has to ask for it. `sources` says of each value
    that is given where it is from.
    """

    name: str
    flavour: str
    where: str
    tensorrt: str = ""
    compute_capabilities: tuple[str, ...] = ()
    default_compute_capabilities: tuple[str, ...] = ()
    imports_attention: bool = False
    cuda: str = ""
    python: str = ""
    jetpack: tuple[str, ...] = ()
    opsets: tuple[int, ...] = ()
    plugins: str = ""
    dla: str = ""
    memory: str = ""
    strongly_typed: str = ""
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def check_compute_capabilities(self, asked: tuple[str, ...]) -> None:
        """Raise TargetError for a compute capability that the target is known not to have."""
        if asked and self.flavour == "ort":
            raise TargetError(f"expected no compute capability for target {self.name}, found {', '.join(asked)}")
        for capability in asked:
            if self.compute_capabilities and capability not in self.compute_capabilities:
                raise TargetError(
                    f"expected a compute capability of target {self.name}, found {capability!r}",
                    f"--compute-capability with one of {', '.join(self.compute_capabilities)}",
                )


def sm_names(compute_capabilities: tuple[str, ...]) -> str:
    """8.6 and 8.9 as `sm86,sm89`, as NVIDIA's tools write them."""
    return ",".join("sm" + capability.replace(".", "") for capability in compute_capabilities)


@functools.cache
def target(name: str) -> Target:
    """Look a target up by name. Raises TargetError, which names the nearest, for one that is not in targets.toml."""
    known = read_facts("targets.toml")
    if name not in known:
        raise TargetError(f"expected a target, found {name!r}; {nearest(name, known)}")
    found: Target = with_sources(Target, "targets.toml", name)
    return found
