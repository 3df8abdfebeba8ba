"""Whose bundles a root takes where nobody says it: the public keys that its installs have come down to.

    ROOT/trusted-keys.json     none where all that was installed is unsigned

The first signers are believed. After that the keys only become fewer, the ones that sign the next bundle too, so that
who adds a signature to a maker's bundle is not believed by it. Trusted keys that a person gives take their place.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

from edgekit.bundle import MANIFEST, Trust, key_id
from edgekit.bundle.bounded import read_bounded
from edgekit.bundle.keys import of_small_order
from edgekit.bundle.manifest import SCHEMA, manifest_bytes
from edgekit.bundle.signature import check_signatures, read_signatures
from edgekit.bundle.strict_json import parse_json
from edgekit.errors import EdgekitError, IntegrityError, OutputError
from edgekit.files import json_bytes
from edgekit.install.root import CURRENT, Root
from edgekit.install.source import Source, digest_of, read_source, reading

PINNED = "trusted-keys.json"
_SCHEMA = 1
_KEY = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 14  # bytes; as many keys as a bundle may have signers are below it


def remembered(place: Root, source: Source, trust: Trust) -> tuple[Source, Trust]:
    """Where `trust` has no keys, it gets those that are pinned: one of them must have signed `source`.

    Else one forgotten --trusted-keys would let a stranger's bundle in. Raises IntegrityError, and TargetError where
    the package cryptography, which would tell, is not here.
    """
    keys = frozenset() if trust.keys else pinned_keys(place)
    if not keys:
        return source, trust
    wanted, found = sorted(map(key_id, keys)), [signer.key for signer in source.signers]
    if not set(wanted) & set(found):
        raise IntegrityError(
            f"expected a signature by {' or '.join(wanted)}, as earlier installs into {place.path} had, "
            f"found {' and '.join(found) or 'none'}",
            "--trusted-keys PUB" if found else "a bundle that they signed, or another ROOT",
        )
    trust = Trust(keys, required=True)
    return read_source(source.path, trust), trust  # by the whole keys, of which those were short names


def pinned_keys(place: Root) -> frozenset[bytes]:
    """The raw public keys that are pinned; of a root older than the file those that signed what is current.

    None where that is unsigned, and where it is not there. Raises IntegrityError where it cannot be told: a signed
    bundle that lost its signatures is not taken for an unsigned one.
    """
    ways = "--trusted-keys PUB"
    try:
        data = read_bounded(place.path / PINNED, _LARGEST)
        if data is not None:
            return _parsed(data)
        ways += f", edgekit bundle rollback {place.path}"
        name = place.version_at(CURRENT)
        return signing_keys(place, name, Trust()) if name and (place.versions / name).is_dir() else frozenset()
    except EdgekitError as error:
        problem = error.problem
    except OSError as error:
        problem = str(error.strerror)
    raise IntegrityError(
        f"expected to learn who signed what is current at {place.path}, found it damaged: {problem}",
        f"{ways}, or another ROOT",
    )


def signing_keys(place: Root, name: str, trust: Trust) -> frozenset[bytes]:
    """The raw public keys that signed a version; where `trust` has keys, those among them.

    The manifest is not parsed: it may be of another schema. Raises IntegrityError as `check_signatures` does, and for
    a version whose name, which is made of the manifest and the signers, is another than what is found there.
    """
    folder = place.versions / name
    manifest, signatures = manifest_bytes(folder), read_signatures(folder)
    if name not in place.versions_of(digest_of(manifest, check_signatures(signatures, manifest, trust))):
        raise IntegrityError("another manifest or other signatures than were installed")
    keys = frozenset(bytes.fromhex(item.public_key) for item in signatures)
    return keys & trust.keys if trust.keys else keys


def keys_to_pin(place: Root, name: str, source: Source, trust: Trust) -> frozenset[bytes]:
    """What is pinned once this version of `source` is current; nothing where nobody can check a signature here."""
    with reading(place.versions / name):
        keys = signing_keys(place, name, trust)
    return frozenset() if any(signer.state == "not checked" for signer in source.signers) else keys


def keys_to_keep(place: Root, back: str, trust: Trust) -> frozenset[bytes]:
    """What is pinned once a rollback has come back to `back`: not its signers, of whom there may be more.

    A root older than the file gets one now, unless what is current is damaged, which must not stop a rollback.
    """
    if trust.keys:
        with reading(place.versions / back):
            return signing_keys(place, back, trust)
    with contextlib.suppress(IntegrityError):
        return pinned_keys(place)
    return frozenset()


def disbelieved(source: Source, keys: frozenset[bytes]) -> tuple[str, ...]:
    """A warning where a rollback came back to what none of the pinned `keys` signed, as after a key was replaced."""
    signers = [signer.key for signer in source.signers]
    if not keys or set(map(key_id, keys)) & set(signers):
        return ()
    who = " and ".join(signers) or "nobody"
    return (
        f"what is current again was signed by {who}, whom installs here do not believe any more: "
        "rollback --trusted-keys PUB refuses it",
    )


@contextlib.contextmanager
def pinning(place: Root, keys: frozenset[bytes]) -> Iterator[None]:
    """Remember these keys alone, before any link tells of what they signed; without any, what is remembered stays.

    So it does where what is done within fails, once the links are back: at no moment, and after no crash, is a bundle
    current that was installed by a key which is not remembered yet.
    """
    made = json_bytes({"keys": sorted(key.hex() for key in keys), "schema": _SCHEMA})
    before, readable = None, True
    try:
        before = read_bounded(place.path / PINNED, _LARGEST)
    except (IntegrityError, OSError):
        readable = False
    if not keys or before == made:
        yield
        return
    try:
        place.put(PINNED, made)
        yield
    except BaseException:
        if readable:
            with contextlib.suppress(OutputError):
                place.put(PINNED, before)
        raise


def other_schema(place: Root, name: str, trust: Trust = Trust()) -> str:
    """Of which schema the manifest of a version is, in words; empty for the one that is read here.

    Also where that cannot be told: who then reads the version is told why.
    """
    with contextlib.suppress(EdgekitError, OSError):
        signing_keys(place, name, trust)  # nothing of it is parsed before
        table = parse_json(manifest_bytes(place.versions / name), MANIFEST)
        found = table.get("schema") if isinstance(table, dict) else None
        if type(found) is int and found != SCHEMA:
            return f"a bundle of schema {found}, which this edgekit does not read: its own is {SCHEMA}"
    return ""


def _parsed(data: bytes) -> frozenset[bytes]:
    try:
        texts = json.loads(data)["keys"]
        keys = frozenset(bytes.fromhex(text) for text in texts if _KEY.fullmatch(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        keys = frozenset()
    wanted = json_bytes({"keys": sorted(key.hex() for key in keys), "schema": _SCHEMA})
    if not keys or wanted != data or any(map(of_small_order, keys)):
        raise IntegrityError(f"no {PINNED} as edgekit writes it")
    return keys
