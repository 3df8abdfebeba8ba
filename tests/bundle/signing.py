"""Keys and bundles that the tests of signatures share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from edgekit.bundle.signature import DOMAIN

# PKCS8 and SubjectPublicKeyInfo of ed25519 are these bytes and the raw key (RFC 8410, 10.3 and 10.1).
PKCS8, SPKI = bytes.fromhex("302e020100300506032b657004220420"), bytes.fromhex("302a300506032b6570032100")


def openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


def signed_by_openssl(bundle: Path, key: Path, scratch: Path, domain: bytes = DOMAIN) -> dict[str, str]:
    """One entry of signatures.json, made without our code."""
    scratch.mkdir(exist_ok=True)
    (scratch / "message").write_bytes(domain + (bundle / "manifest.json").read_bytes())
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", scratch / "message", "-out", scratch / "signature")
    public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER").removeprefix(SPKI)
    return {"public_key": public.hex(), "signature": (scratch / "signature").read_bytes().hex()}


def write_signatures(bundle: Path, *entries: dict[str, str]) -> None:
    """signatures.json as the documentation has it: sorted, indented by one."""
    table = {"schema": 1, "signatures": sorted(entries, key=lambda entry: entry["public_key"])}
    (bundle / "signatures.json").write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def entries(bundle: Path) -> list[dict[str, str]]:
    return json.loads((bundle / "signatures.json").read_text())["signatures"]
