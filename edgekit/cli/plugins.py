"""`edgekit plugins build`, `list`, `test` and `bench`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common
from edgekit.cli.plugins_bench import bench_command


@click.group("plugins")
def command() -> None:
    """Build, list, try and measure the CUDA kernels."""


@command.command("build")
@click.option("--archs", default="", metavar="86,87", help="Compute capabilities times ten; by default the usual ones.")
@click.option("--out", type=FILE, help="Also copy the library and its report into this folder.")
@click.option("--emulator", is_flag=True, help="Build the library for the CPU, with g++ instead of nvcc.")
@common
def build_command(archs: str, out: Path | None, emulator: bool, output: Output) -> None:
    """Build the library with nvcc; no GPU is needed, and nothing runs."""
    from edgekit.plugins.building import build_emulator, build_plugins, copied, parsed_archs, read_report

    library = copied(build_emulator() if emulator else build_plugins(parsed_archs(archs)), out)
    output.report({"path": str(library), **read_report(library)})
    output.say(f"{library}  {library.stat().st_size / 1e6:.2f} MB, not run on a GPU")


@command.command("list")
@common
def list_command(output: Output) -> None:
    """Show what is built, with its operators and architectures."""
    from edgekit.plugins.listing import library_lines, list_libraries
    from edgekit.reports import plain

    output.report({"libraries": plain(found := list_libraries())})
    output.say(*library_lines(found))


@command.command("test")
@click.argument("kernel", type=FILE, required=False, metavar="[KERNEL.cu]")
@click.option("--races", is_flag=True, help="Look for data races instead of faults.")
@common
def test_command(kernel: Path | None, races: bool, output: Output) -> int:
    """Run KERNEL.cu, which has a main(), on the CPU; without it, edgekit's own kernels. A fault or a race exits 1."""
    from edgekit.plugins.programs import exercise

    output.report((ran := exercise(kernel, races)).to_json())
    output.say(*ran.lines())
    return ran.exit_code


command.add_command(bench_command)
