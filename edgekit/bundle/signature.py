"""signatures.json: who vouches for a bundle. Each signature is ed25519 (RFC 8032) over the manifest's exact bytes.

The manifest has the SHA-256 of every other file, so that a signature of it covers the bundle. The file itself stands in
no manifest: a signer is added without a byte of the rest changing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.bounded import read_bounded
from edgekit.bundle.keys import INSTALL, WEAK, Trust, key_id, needed, of_small_order
from edgekit.errors import IntegrityError, TargetError
from edgekit.files import json_bytes

SIGNATURES = "signatures.json"
# What is signed begins so: a signature that the same key made for another purpose is none of a bundle.
DOMAIN = b"edgekit bundle manifest 1\n"
_SCHEMA = 1
_MOST = 32
_LARGEST = 1 << 14  # bytes; 32 signatures are below it
_KEY, _SIGNATURE = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, order=True)
class Signature:
    """The raw public key (32 bytes) and the signature (64 bytes), in hexadecimal digits."""

    public_key: str
    signature: str


@dataclass(frozen=True)
class Signer:
    """Whose signature was found, by the key's id. `state` says what is known of it:

    trusted: it verifies, and the key is among the trusted ones. unknown: it verifies, and the key is not among them.
    verified: it verifies, and nobody said whom to trust. not checked: there is no package cryptography here.
    """

    key: str
    state: str


_SAID = {
    "trusted": "trusted",
    "unknown": "not among the trusted keys",
    "verified": "valid, no trusted keys given",
    "not checked": f"not checked: {INSTALL}",
}


def signed_by(signers: tuple[Signer, ...]) -> str:
    """The signers in one line, for a person."""
    return "signed by " + " and by ".join(f"{it.key}, {_SAID[it.state]}" for it in signers) if signers else "not signed"


def dump_signatures(signatures: Iterable[Signature]) -> bytes:
    """The file's only form: sorted by key, canonical JSON."""
    items = [{"public_key": item.public_key, "signature": item.signature} for item in sorted(signatures)]
    return json_bytes({"schema": _SCHEMA, "signatures": items})


def parse_signatures(data: bytes) -> tuple[Signature, ...]:
    """Read what `dump_signatures` wrote, byte for byte.

    Raises IntegrityError for anything else, for one key twice, and for a key by which anybody can sign.
    """
    try:
        items = json.loads(data)["signatures"]
        found = tuple(Signature(item["public_key"], item["signature"]) for item in items)
        plain = all(_KEY.fullmatch(item.public_key) and _SIGNATURE.fullmatch(item.signature) for item in found)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"expected {SIGNATURES} as edgekit writes it, found {type(error).__name__}") from error
    if not plain or not 0 < len(found) <= _MOST or len({item.public_key for item in found}) < len(found):
        raise IntegrityError(f"expected 1 to {_MOST} signatures of as many keys in {SIGNATURES}, found others")
    if dump_signatures(found) != data:
        raise IntegrityError(f"expected {SIGNATURES} as edgekit writes it, found another form")
    for public in (bytes.fromhex(item.public_key) for item in found):
        if of_small_order(public):
            raise IntegrityError(f"expected keys of signers in {SIGNATURES}, found {key_id(public)}, {WEAK}")
    return found


def read_signatures(bundle: Path) -> tuple[Signature, ...]:
    """The signatures of a bundle, none where it has no such file; IntegrityError for a malformed one."""
    data = read_bounded(bundle / SIGNATURES, _LARGEST)
    return () if data is None else parse_signatures(data)


def check_signatures(signatures: tuple[Signature, ...], manifest: bytes, trust: Trust) -> tuple[Signer, ...]:
    """Whose signatures of these bytes of a manifest they are.

    The trusted ones come first. Raises IntegrityError for one that does not verify, whoever made it; where `trust`
    asks for a signature, also for none, and for none of its keys. TargetError where it asks and the package
    cryptography is not here.
    """
    if not signatures:
        if trust.asks:
            raise IntegrityError("expected a signed bundle, found no signature", "get it from its maker, signed")
        return ()
    try:
        with needed():
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except TargetError:
        if trust.asks:
            raise
        return tuple(Signer(key_id(bytes.fromhex(item.public_key)), "not checked") for item in signatures)
    signers = []
    for item in signatures:
        public = bytes.fromhex(item.public_key)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(item.signature), DOMAIN + manifest)
        except InvalidSignature as error:
            raise IntegrityError(
                f"expected the signature of {key_id(public)} to be one of this manifest, found that it is not: "
                "one of the two was changed",
                "get the bundle again",
            ) from error
        known = "trusted" if public in trust.keys else "unknown"
        signers.append(Signer(key_id(public), known if trust.keys else "verified"))
    if trust.keys and all(signer.state != "trusted" for signer in signers):
        wanted, found = ", ".join(sorted(map(key_id, trust.keys))), ", ".join(signer.key for signer in signers)
        raise IntegrityError(f"expected a signature by a trusted key, {wanted}, found {found}", "get the bundle again")
    return tuple(sorted(signers, key=lambda signer: signer.state != "trusted"))
