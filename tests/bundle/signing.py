"""Keys and bundles that the tests of signatures share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from edgekit.bundle.signature import DOMAIN

# PKCS8 and SubjectPublicKeyInfo of ed25519 are these bytes and the raw key (RFC 8410, 10.3 and 10.1).
PKCS8, SPKI = bytes.fromhex("302e020100300506032b657004220420"), bytes.fromhex("302a300506032b6570032100")

_P = (1 << 255) - 19
_D = -121665 * pow(121666, -1, _P) % _P


def _points(y: int) -> list[tuple[int, int]]:
    """The points of edwards25519 with this y: RFC 8032, 5.1.3."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    x = x if x * x % _P == square else x * pow(2, (_P - 1) // 4, _P) % _P
    return [(x, y), (-x % _P, y)] if x * x % _P == square else []


def _doubled(x: int, y: int) -> tuple[int, int]:
    both = _D * x * x * y * y
    return 2 * x * y * pow(1 + both, -1, _P) % _P, (y * y + x * x) * pow(1 - both, -1, _P) % _P


def order_divides_eight(public: bytes) -> bool:
    """By the group law alone; False for what is no point."""
    points = _points((int.from_bytes(public, "little") & ((1 << 255) - 1)) % _P)
    return bool(points) and _doubled(*_doubled(*_doubled(*points[0]))) == (0, 1)


# The eight points' y, each also with p added where 255 bits hold that, with either sign.
_EIGHTH = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
_YS = [0, 1, _P - 1, int.from_bytes(_EIGHTH, "little"), _P - int.from_bytes(_EIGHTH, "little"), _P, _P + 1]
SMALL_ORDER = [(y | sign << 255).to_bytes(32, "little") for y in _YS for sign in (0, 1)]


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
