"""`edgekit bundle verify`, `keygen` and `sign`; the group with all others."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.bundle_archive import pack_command, unpack_command
from edgekit.cli.bundle_engine import command as add_engine_command
from edgekit.cli.bundle_install import install_command, rollback_command
from edgekit.cli.options import FILE, Output, common


@click.group("bundle", commands=[pack_command, unpack_command, add_engine_command, install_command, rollback_command])
def command() -> None:
    """Sign, verify, archive and install a bundle, or add an engine to it."""


@command.command("verify")
@click.argument("bundle", type=FILE, metavar="BUNDLE_OR_EKB")
@click.option("--trusted-keys", multiple=True, metavar="PUB_OR_DIR", help="Refuse all other signers. Repeatable.")
@click.option("--require-signature", is_flag=True, help="Refuse an unsigned bundle; --trusted-keys does, too.")
@common
def verify_command(bundle: Path, trusted_keys: tuple[str, ...], require_signature: bool, output: Output) -> None:
    """Check signatures, files, digests, model and engines of a bundle or its archive; exits 7 for what is off."""
    from edgekit.bundle import trust_in, verify
    from edgekit.reports import plain

    found = verify(bundle, trust=trust_in(trusted_keys or None, require_signature))
    files, verdict = len(found.manifest.files), found.manifest.verdict
    output.report({"path": str(bundle), "files": files, "verdict": verdict, "signers": plain(found.signers)})
    output.say(f"{bundle}: {files} files, all digests match; {found.signed}")
    output.say(verdict)


@command.command("keygen")
@click.argument("key", type=FILE)
@common
def keygen_command(key: Path, output: Output) -> None:
    """Write a new private key to KEY, for you alone, and its public key to KEY.pub, for the devices."""
    from edgekit.bundle import make_keys

    made = make_keys(key)
    output.report({"private": str(key), "public": f"{key}.pub", "key": made})
    output.say(f"{key}: the private key, keep it; {key}.pub: the public key {made}, for the devices")


@command.command("sign")
@click.argument("bundle", type=FILE)
@click.option("--key", type=FILE, required=True, metavar="KEY", help="The private key.")
@common
def sign_command(bundle: Path, key: Path, output: Output) -> None:
    """Verify BUNDLE and sign it with KEY, beside other signers; writes signatures.json into it."""
    from edgekit.bundle import keys, sign

    signer = sign(bundle, key)
    output.warn(warnings := keys.exposed(key))
    output.report({"path": str(bundle), "key": signer.key, "warnings": list(warnings)})
    output.say(f"{bundle}: signed by {signer.key}")
