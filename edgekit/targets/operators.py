"""Which ONNX operators the importer of a target takes, as data with sources in operators.toml.

All answers are for operators of ONNX's own domain. TensorRT-RTX is on the machine that builds for it, so its parser
itself is asked there, and `imported` knows nothing of it; what it was seen to refuse is in `restriction`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from edgekit.targets.facts import read_facts
from edgekit.targets.kinds import Target

_Version = tuple[int, ...]


def imported(op_type: str, target: Target) -> bool | None:
    """Whether the importer of `target` takes an operator at all, with or without restrictions. None is unknown.

    Documented are releases 10.1 and 10.15, and what release notes say was added in between and later. No release is
    known to have lost an operator, so for any other version

    * True: a release up to this version has it,
    * False: it was added later, or a later release is documented not to have it,
    * None: only an earlier release is documented not to have it, or no release is documented at all. So an operator
      that is not in 10.15 is unknown for 11.4.

    A target whose version is not known (desktop) is True for what 10.1 has, else None.
    """
    if target.flavour != "tensorrt":
        return None
    claims = _claims().get(op_type, ())
    if not target.tensorrt:
        return True if (_oldest(), True) in claims else None
    version = _version(target.tensorrt)
    if any(has and at <= version for at, has in claims):
        return True
    known_to_lack_it = any((not has and at >= version) or (has and at in _added(op_type)) for at, has in claims)
    return False if known_to_lack_it else None


def restriction(op_type: str, target: Target) -> str:
    """What the importer of `target` asks of an operator that it takes, in our words; empty when nothing is known.

    A target whose version is not known gets all restrictions of its flavour, with the versions that they are for.
    """
    return "; ".join(_restrictions(op_type, target))


def _restrictions(op_type: str, target: Target) -> Iterator[str]:
    for item in read_facts("operators.toml")["restriction"]:
        if op_type not in item["operators"] or item.get("flavour", "tensorrt") != target.flavour:
            continue
        since, before, text = item.get("since", ""), item.get("before", ""), str(item["text"])
        if not target.tensorrt:
            yield (f"before {before}: " if before else f"from {since}: " if since else "") + text
        elif _version(since) <= _version(target.tensorrt) and not (before and _at_least(target.tensorrt, before)):
            yield text


@functools.cache
def _claims() -> Mapping[str, tuple[tuple[_Version, bool], ...]]:
    """By operator: the versions that are documented to have it (True) or not to have it."""
    facts = read_facts("operators.toml")
    claims: dict[str, list[tuple[_Version, bool]]] = {}
    for item in (*facts["documented"], *facts["added"]):
        for has, key in ((True, "imported"), (False, "not_imported")):
            for op_type in item.get(key, ()):
                claims.setdefault(op_type, []).append((_version(item["tensorrt"]), has))
    return {op_type: tuple(found) for op_type, found in claims.items()}


def _added(op_type: str) -> set[_Version]:
    """The version in which release notes say that an operator was added, which those before it so lack."""
    added: list[dict[str, Any]] = read_facts("operators.toml")["added"]
    return {_version(item["tensorrt"]) for item in added if op_type in item["imported"]}


def _oldest() -> _Version:
    return min(_version(item["tensorrt"]) for item in read_facts("operators.toml")["documented"])


def _at_least(version: str, other: str) -> bool:
    return _version(version) >= _version(other)


def _version(text: str) -> _Version:
    """10.3 as (10, 3); an empty text is before everything."""
    return tuple(int(part) for part in text.split(".") if part)
