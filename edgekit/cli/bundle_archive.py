"""`edgekit bundle pack` and `edgekit bundle unpack`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common


@click.command("pack")
@click.argument("bundle", type=FILE)
@click.argument("out", type=FILE, metavar="OUT.ekb")
@common
def pack_command(bundle: Path, out: Path, output: Output) -> None:
    """Verify BUNDLE and write it to one file, OUT.ekb; the same bundle gives the same bytes."""
    from edgekit.bundle import archive

    found = archive(bundle, out)
    size = out.stat().st_size
    output.report({"path": str(out), "files": len(found.manifest.files), "bytes": size})
    output.say(f"{out}: {len(found.manifest.files)} files, {size:,} bytes; {found.signed}")


@click.command("unpack")
@click.argument("archived", type=FILE, metavar="IN.ekb")
@click.argument("out", type=FILE, metavar="DIR")
@click.option("--trusted-keys", multiple=True, metavar="PUB_OR_DIR", help="Refuse all other signers. Repeatable.")
@click.option("--require-signature", is_flag=True, help="Refuse an unsigned bundle; --trusted-keys does, too.")
@common
def unpack_command(
    archived: Path, out: Path, trusted_keys: tuple[str, ...], require_signature: bool, output: Output
) -> None:
    """Verify IN.ekb and write its bundle to DIR; exits 7, and writes nothing, when something is off."""
    from edgekit.bundle import trust_in, unpack
    from edgekit.reports import plain

    found = unpack(archived, out, trust_in(trusted_keys or None, require_signature))
    files, verdict = len(found.manifest.files), found.manifest.verdict
    output.report({"path": str(out), "files": files, "verdict": verdict, "signers": plain(found.signers)})
    output.say(f"{out}: {files} files, all digests match; {found.signed}")
    output.say(verdict)
