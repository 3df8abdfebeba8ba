"""`edgekit bundle verify`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common


@click.group("bundle")
def command() -> None:
    """Verify a bundle."""


@command.command("verify")
@click.argument("bundle", type=FILE)
@common
def verify_command(bundle: Path, output: Output) -> None:
    """Check the file set, sizes and digests of BUNDLE; exits 7 when something is off."""
    from edgekit.bundle import verify

    manifest = verify(bundle).manifest
    output.report({"path": str(bundle), "files": len(manifest.files), "verdict": manifest.verdict})
    output.say(f"{bundle}: {len(manifest.files)} files, all digests match; not signed")
    output.say(manifest.verdict)
