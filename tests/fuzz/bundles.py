"""What may come with a bundle from anyone: manifest, archive, contents, engine, model, specs, signatures, golden input.

Digests keep a fuzzer out: where bytes are refused, some targets try them again with digests that are right, made here
with the standard library alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.bundle import Manifest, Trust, archive, unpack, verify_archive
from edgekit.bundle.contents import read_spec
from edgekit.bundle.engine_header import check_engine, is_engine, parse_header
from edgekit.bundle.entries import EngineEntry
from edgekit.bundle.signature import check_signatures, dump_signatures, parse_signatures
from edgekit.bundle.strict_json import parse_json
from edgekit.bundle.window import Window
from edgekit.errors import EdgekitError, IntegrityError, ModelError
from edgekit.files import json_bytes
from edgekit.specs import Postprocess, Preprocess, Stream, to_table
from tests.bundle.hostile_archive import zipped
from tests.fuzz.target import a_file, scratch

HERE = Path(__file__).parent
_RTX = EngineEntry("model.engine", "tensorrt_rtx", "1.7.1.116", ("8.6",))
_LARGEST_ENGINE = 1 << 40  # bytes


def canonical(table: Any) -> bytes:
    """JSON in the form of a bundle's own files."""
    return (json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def sealed(data: bytes) -> bytes:
    """A manifest with the right digest of itself, in the right form; other bytes as they are."""
    try:
        table = json.loads(data)
        if not isinstance(table, dict):
            return data
        table.pop("manifest_sha256", None)
        return canonical({**table, "manifest_sha256": hashlib.sha256(canonical(table)).hexdigest()})
    except (ValueError, RecursionError):
        return data


def manifest(data: bytes) -> None:
    """What is accepted is one text, and names plain files that are all in it."""
    try:
        found = Manifest.parse(data)
    except IntegrityError:
        data = sealed(data)
        found = Manifest.parse(data)
    assert found.dump() == data
    for name in found.files:
        assert not name.startswith(("/", ".")), name
        assert not {"", ".", ".."} & set(name.split("/")), name
    assert found.model.file in found.files
    for sizes in found.ranges.values():
        assert [type(size) for size in sizes] == [int] * 3
        assert 0 <= sizes[0] <= sizes[1] <= sizes[2]
        assert sizes[1] > 0


def whole_archive(data: bytes) -> None:
    """What is accepted is a zip, as zipfile reads it, unpacks to what it says, and is archived to these bytes."""
    path, folder = a_file(data, "a.ekb"), scratch() / "unpacked"
    found = verify_archive(path)
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        files = {name: opened.read(name) for name in opened.namelist()}
    assert files.keys() - {"signatures.json"} == {"manifest.json", *found.manifest.files}
    for name, entry in found.manifest.files.items():
        assert (len(files[name]), hashlib.sha256(files[name]).hexdigest()) == (entry.size, entry.sha256)
    unpack(path, folder)
    assert {name: (folder / name).read_bytes() for name in files} == files
    archive(folder, scratch() / "again.ekb")
    assert (scratch() / "again.ekb").read_bytes() == data


def good_files() -> dict[str, bytes]:
    """The files of the good archive among the seeds, its signature left out."""
    with zipfile.ZipFile(HERE / "corpus/archive/signed.ekb") as opened:
        return {name: opened.read(name) for name in opened.namelist() if name != "signatures.json"}


def contents(data: bytes) -> None:
    """The good archive with one of its files replaced, and all digests right: the first byte says which file."""
    files = good_files()
    names = sorted(files.keys() - {"manifest.json"})
    name = names[data[0] % len(names)] if data else names[0]
    files[name] = data[1:]
    table = json.loads(files["manifest.json"])
    table["files"][name] = {"sha256": hashlib.sha256(data[1:]).hexdigest(), "size": len(data[1:])}
    whole_archive(zipped({**files, "manifest.json": sealed(json.dumps(table).encode())}))


def signatures(data: bytes) -> None:
    """What is accepted is one text; then whoever is said to have signed is checked, and did not."""
    try:
        found = parse_signatures(data)
    except IntegrityError:
        with contextlib.suppress(ValueError, RecursionError):
            data = canonical(json.loads(data))
        found = parse_signatures(data)
    assert dump_signatures(found) == data
    assert len({item.public_key for item in found}) == len(found)
    try:
        check_signatures(found, b"another manifest", Trust(required=True))
    except IntegrityError:
        return
    raise AssertionError("a signature of another manifest verifies")


def strict_json(data: bytes) -> None:
    """What is accepted is what the standard library reads, and what it writes is accepted as the same."""
    found = parse_json(data, "a.json")
    assert repr(json.loads(data)) == repr(found)
    for number in _numbers(found):
        assert math.isfinite(number)
        assert isinstance(number, float) or -(1 << 63) <= number < 1 << 63
    assert repr(parse_json(json.dumps(found).encode(), "a.json")) == repr(found)


def _numbers(value: Any) -> list[int | float]:
    """All numbers of a JSON value, as deep as they may be."""
    waiting, found = [value], []
    while waiting:
        one = waiting.pop()
        if isinstance(one, (list, dict)):
            waiting += one.values() if isinstance(one, dict) else one
        elif isinstance(one, (int, float)):
            found.append(one)
    return found


def spec(data: bytes) -> None:
    """A spec is the same when what a bundle would hold of it is read."""
    found = [(kind, one) for kind in (Preprocess, Postprocess, Stream) if (one := _as_spec(kind, data)) is not None]
    if not found:
        raise IntegrityError("expected a spec, found none")
    for kind, one in found:
        assert read_spec(kind, json_bytes(to_table(one)), "a.json") == one


def _as_spec(kind: Any, data: bytes) -> Any:
    try:
        return read_spec(kind, data, "a.json")
    except IntegrityError as error:
        assert str(error).isprintable(), ascii(str(error))
        return None


def engine(data: bytes) -> None:
    """The header of a file of these bytes, and of one as large as it says, with zeros before its last four bytes."""
    if not is_engine(data):
        raise ModelError("expected an engine, found none")
    size = int.from_bytes(data[16:24], "little")
    windows = [Window.over(data)]
    if len(data) <= size < _LARGEST_ENGINE:
        windows.append(Window(size, _stretched(data, size)))
    refusals: list[EdgekitError] = []
    for window in windows:
        try:
            header = parse_header(window, "a.engine")
            assert header.weights_bytes is None or header.weights_bytes <= window.size
            check_engine(window, _RTX)
            assert header.flavour == "tensorrt_rtx"
        except (ModelError, IntegrityError) as error:
            refusals.append(error)
    if len(refusals) == len(windows):
        raise refusals[0]


def _stretched(data: bytes, size: int) -> Callable[[int, int], bytes]:
    """Reads of a file of `size` bytes that begins and ends as these do."""

    def load(start: int, count: int) -> bytes:
        stop = min(start + count, size)
        out = bytearray(max(0, stop - start))
        for place, part in ((0, data[:-4]), (size - 4, data[-4:])):
            low, high = max(start, place), min(stop, place + len(part))
            if low < high:
                out[low - start : high - start] = part[low - place : high - place]
        return bytes(out)

    return load
