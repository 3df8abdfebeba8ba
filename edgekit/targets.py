"""What a target accepts, as data with sources in targets.toml."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import TargetError, nearest
from edgekit.recipe import read_toml
from edgekit.specs import from_table


@dataclass(frozen=True)
class Target:
    """A kind of machine that a bundle is for. An empty value is unknown, not zero."""

    name: str
    flavour: str
    where: str
    tensorrt: str = ""
    compute_capabilities: tuple[str, ...] = ()
    default_compute_capabilities: tuple[str, ...] = ()
    imports_attention: bool = False

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
    """Look a target up by name."""
    tables = read_toml(Path(__file__).with_name("targets.toml"))
    if name not in tables:
        raise TargetError(f"expected a target, found {name!r}; {nearest(name, tables)}")
    found: Target = from_table(Target, {"name": name, **tables[name]}, f"targets.toml: [{name}]")
    return found
