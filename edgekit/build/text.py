"""The account of a build as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.build import BuildReport
    from edgekit.build.package import PackageReport


def build_lines(report: BuildReport) -> Iterator[str]:
    """What was built, for whom, and as far as it is known in which precision and memory it runs."""
    yield f"{report.path}: {report.flavour} {report.version}, {size_text(report.bytes)}, {report.seconds:.1f} s"
    if report.compute_capabilities:
        yield f"for compute capability {', '.join(report.compute_capabilities)}; {len(report.layers)} fused layers"
    if report.compute.shares:
        parts = ", ".join(f"{_percent(share)} in {name}" for name, share in report.compute.shares.items())
        count = len(report.compute.unsized)
        yield f"multiply-adds: {parts}" + (
            f"; {count} node{'s' * (count != 1)} of unknown size not counted" if count else ""
        )
    if report.attention.blocks:
        blocks, fused = report.attention.blocks, report.attention.fused
        noun = "block is one fused kernel" if blocks == 1 else "blocks are one fused kernel"
        yield f"{fused} of {blocks} attention {noun}"
    sizes = (("weights", report.memory.weights_bytes), ("activations", report.memory.activation_bytes))
    told = [f"{what} {size_text(size)}" for what, size in sizes if size is not None]
    if told:
        yield f"memory: {', '.join(told)}"
    for shape in report.shapes:
        yield f"shapes {shape}"


def package_lines(report: PackageReport) -> Iterator[str]:
    """Where the package is, and the one command to run on the device."""
    yield f"{report.path}: {report.files} files, {size_text(report.bytes)}"
    yield f"copy that folder to the device ({report.where}) and run there: {report.command}"


def size_text(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _percent(share: float) -> str:
    return "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
