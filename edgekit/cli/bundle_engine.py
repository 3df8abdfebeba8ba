"""`edgekit bundle add-engine`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common


@click.command("add-engine")
@click.argument("bundle", type=FILE)
@click.argument("engine", type=FILE)
@click.argument("out", type=FILE, metavar="OUT")
@click.option("--trusted-keys", multiple=True, metavar="PUB_OR_DIR", help="Refuse all other signers. Repeatable.")
@click.option("--require-signature", is_flag=True, help="Refuse an unsigned bundle; --trusted-keys does, too.")
@common
def command(
    bundle: Path, engine: Path, out: Path, trusted_keys: tuple[str, ...], require_signature: bool, output: Output
) -> None:
    """Write BUNDLE with ENGINE, which `build-engine` made of its model.onnx, to the folder OUT, not signed.

    On the device: `edgekit build-engine BUNDLE/model.onnx ENGINE --target T` first.
    """
    from edgekit.bundle import trust_in
    from edgekit.bundle.add_engine import add_engine
    from edgekit.reports import plain

    made = add_engine(bundle, engine, out, trust_in(trusted_keys or None, require_signature))
    entry = next(item for item in made.engines if item.file == engine.name)
    output.report({"path": str(out), "engine": plain(entry), "verdict": made.verdict})
    where = " ".join(filter(None, (entry.os, entry.architecture)))
    built = f"{entry.flavour} {entry.version} for {', '.join(entry.compute_capabilities)}"
    output.say(f"{out}: {entry.file}, {built}, {where}")
    output.say(f"{made.verdict}; not signed: edgekit bundle sign {out} --key KEY")
