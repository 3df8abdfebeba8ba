"""What may be shown of a source's name: addresses and pipelines hold passwords, and many people read a journal.

What is known to be harmless is shown, and the rest is not: nobody can list all the ways to spell a password.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from urllib.parse import unquote

_CUT = "…"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[\w.~-]*)(?::\d{0,5})?")
# By which the cameras of one recorder are told apart.
_PARAMETER = re.compile(r"(?i)(?:channel|subtype|stream|camera|cam|ch|id|profile|track)=[0-9]{1,3}")
# Likewise of GStreamer's elements; a location is an address or a file.
_PROPERTIES = ("device", "sensor-id", "sensor_id", "sensor-mode", "device-index", "pattern", "port")
_ADDRESSES = ("location", "uri")


def shown(name: str) -> str:
    """`name` without what may be a secret: user and password, an address's parameters and fragment, an element's
    properties. Where an @ stands behind the host, which may be part of a password, the host is left out as well. A
    folder's name is shown: one that is a secret by itself looks like any other."""
    if is_pipeline(name):
        return _pipeline(name)
    if "://" in name:
        return _address(name)
    if re.search(r":.*@|[?&;].*=", name, re.DOTALL):  # an address with its scheme forgotten, or half of it
        return _address(f"://{name}").removeprefix("://")
    return name


def is_pipeline(name: str) -> bool:
    """Whether it is for GStreamer."""
    return name.startswith("gst:") or " ! " in name


def _address(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme and not _SCHEME.fullmatch(scheme):
        scheme = _CUT
    before, _, last = rest.rpartition("@")
    if re.search(r"[/?#]", before):
        # Of the address or of the password? A person may not have escaped it: neither's beginning is known.
        last = _CUT + ("" if re.search(r"[?#]", before) else last[len(re.split("[/?#]", last)[0]) :])
    return f"{scheme}://{_place(last)}"


def _place(text: str) -> str:
    """Host, path and parameters."""
    place, question, parameters = re.split("#", text, maxsplit=1)[0].partition("?")
    host, *folders = place.split("/")
    if not _HOST.fullmatch(host):  # a user and a password, and no host
        host = _CUT
    path = "/".join([host, *_folders(folders)])
    return f"{path}?{_parameters(parameters)}" if question else path


def _folders(names: list[str]) -> Iterator[str]:
    """Up to one with user=…&password=… or user:password, as some cameras have it: a password may hold a / too."""
    for name in names:
        plain = unquote(unquote(name))
        if re.search(r"[=:@?#&]", plain):
            yield _parameters(plain)
            return
        yield name


def _parameters(text: str) -> str:
    parts = re.split(r"[&;_]", text)
    kept = [part for part in parts if _PARAMETER.fullmatch(part)]
    return "&".join(kept + [_CUT] * (len(kept) < len(parts)))


def _pipeline(text: str) -> str:
    """The elements' names, and of their properties those that say which camera it is."""
    prefix = "gst:" if text.startswith("gst:") else ""
    try:
        words = shlex.split(text.removeprefix("gst:"))
    except ValueError:  # a quote without its other one
        return prefix + _CUT
    said, begins = [], True
    for word in words:
        if begins or word == "!":
            said.append(word if word == "!" or re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", word) else _CUT)
        elif (known := _property(word)) is not None:
            said.append(known)
        elif said[-1] != _CUT:
            said.append(_CUT)
        begins = word == "!"
    return prefix + " ".join(said)


def _property(word: str) -> str | None:
    key, _, value = word.partition("=")
    if key in _ADDRESSES:
        return f"{key}={shown(value)}"
    return word if key in _PROPERTIES and re.fullmatch(r"[\w/.-]+", value) else None
