"""Hostile archives: made by zipfile, which knows nothing of edgekit, or by patching the bytes of a good one."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[bytes], bytes]
ORDER = ("manifest.json", "signatures.json")


def contents(bundle: Path) -> dict[str, bytes]:
    """The files of a folder in the order of an archive."""
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    first = [name for name in ORDER if name in names]
    return {name: (bundle / name).read_bytes() for name in (*first, *sorted(names - set(first)))}


def entry(name: str, **other: object) -> zipfile.ZipInfo:
    """A file's entry as edgekit's archives have it, but for what is given."""
    made = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    made.create_system, made.external_attr = 3, 0o100644 << 16
    for key, value in other.items():
        setattr(made, key, value)
    return made


def zipped(files: dict[str, bytes], comment: bytes = b"", at: str = "", **other: object) -> bytes:
    """A zip by zipfile; `other` changes the entry of the file `at`, or of all."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(entry(name, **(other if at in ("", name) else {})), data)
    return out.getvalue()


def _read(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _anew(change: Callable[[dict[str, bytes]], dict[str, bytes]] = dict, **other: object) -> Damage:
    """Zipped anew by zipfile, with other files or another form."""
    return lambda data: zipped(change(_read(data)), **other)  # type: ignore[arg-type]


def _deflated(method: int) -> Damage:
    def damage(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, content in _read(data).items():
                archive.writestr(entry(name, compress_type=method), content)
        return out.getvalue()

    return damage


def _twice(data: bytes) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile says that a name is there twice
        for name, content in [*_read(data).items(), ("model.onnx", b"another")]:
            archive.writestr(entry(name), content)
    return out.getvalue()


def _local(data: bytes, name: str) -> int:
    """Where the header of a file begins."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.getinfo(name).header_offset


def _central(data: bytes, name: str) -> int:
    """Where the line of a file in the directory begins."""
    return data.rindex(name.encode()) - 46


def _patched(where: Callable[[bytes], int], offset: int, form: str, value: int) -> Damage:
    """A number of a header written over."""

    def damage(data: bytes) -> bytes:
        out = bytearray(data)
        struct.pack_into(form, out, where(data) + offset, value)
        return bytes(out)

    return damage


def _in_header(offset: int, form: str, value: int, name: str = "model.onnx") -> Damage:
    return _patched(lambda data: _local(data, name), offset, form, value)


def _in_directory(offset: int, form: str, value: int, name: str = "model.onnx") -> Damage:
    return _patched(lambda data: _central(data, name), offset, form, value)


def _at_the_end(offset: int, form: str, value: int) -> Damage:
    return _patched(lambda data: len(data) - 22, offset, form, value)


def _in_both(offset: int, form: str, value: int) -> Damage:
    """In the header and the directory, where a field stands two bytes later."""
    return lambda data: _in_directory(offset + 2, form, value)(_in_header(offset, form, value)(data))


def _gap(data: bytes) -> bytes:
    """Ten bytes between two files, and all offsets right."""
    place = _local(data, "model.onnx")
    start = len(data) - 22 - struct.unpack_from("<L", data, len(data) - 10)[0]
    out = bytearray(data[:place] + bytes(10) + data[place:])
    struct.pack_into("<L", out, len(out) - 6, start + 10)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.header_offset >= place:
                struct.pack_into("<L", out, _central(bytes(out), info.filename) + 42, info.header_offset + 10)
    return bytes(out)


def _renamed(before: bytes, after: bytes) -> Damage:
    """Another name in header and directory, not in the manifest."""
    assert len(before) == len(after)

    def damage(data: bytes) -> bytes:
        head, rest = data[:60], data[60:]
        for mark in (b"\0\0" + before, b"\0" + before):
            rest = rest.replace(mark, mark[: -len(before)] + after)
        return head + rest

    return damage


def _last(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**{name: data for name, data in files.items() if name != "manifest.json"}, **files}


def _with(**more: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {**files, **more}


KINDS: dict[str, Damage] = {
    "empty": lambda data: b"",
    "text": lambda data: b"no zip",
    "an empty zip": lambda data: zipped({}),
    "cut at once": lambda data: data[:20],
    "cut in the manifest": lambda data: data[:200],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "without its directory": lambda data: data[: _central(data, "manifest.json")],
    "a byte more": lambda data: data + b"\0",
    "a byte before": lambda data: b"\0" + data,
    "a program before": lambda data: b"#!/bin/sh\nexit 1\n" + data,
    "a second archive behind": lambda data: data + data,
    "marked as one of several": lambda data: b"PK\7\x08" + data,
    "a comment": _anew(comment=b"hello"),
    "a gap": _gap,
    "deflated": _deflated(zipfile.ZIP_DEFLATED),
    "by bzip2": _deflated(zipfile.ZIP_BZIP2),
    "by lzma": _deflated(zipfile.ZIP_LZMA),
    "a bomb": lambda data: _deflated(zipfile.ZIP_DEFLATED)(zipped({**_read(data), "model.onnx": bytes(10_000_000)})),
    "another time": _anew(date_time=(2026, 1, 1, 0, 0, 0)),
    "made on Windows": _anew(create_system=0),
    "a link": _anew(at="model.onnx", external_attr=0o120777 << 16),
    "a device": _anew(at="model.onnx", external_attr=0o060644 << 16),
    "a program": _anew(at="model.onnx", external_attr=0o100755 << 16),
    "a folder's attribute": _anew(at="model.onnx", external_attr=0o100644 << 16 | 0x10),
    "an extra field": _anew(at="model.onnx", extra=b"ux\x02\x00ab"),
    "a comment of a file": _anew(at="model.onnx", comment=b"hello"),
    "an entry of a folder": _anew(_with(**{"reports/": b""})),
    "a file too many": _anew(_with(extra=b"x")),
    "a file too many, outside": _anew(_with(**{"../outside": b"x"})),
    "a file too many, at the root": _anew(_with(**{"/tmp/outside": b"x"})),
    "a file too few": _anew(lambda files: {name: data for name, data in files.items() if name != "vocabulary.txt"}),
    "the manifest missing": _anew(lambda files: {name: data for name, data in files.items() if name != ORDER[0]}),
    "the manifest last": _anew(_last),
    "backwards": _anew(lambda files: dict(reversed(files.items()))),
    "in a folder": _anew(lambda files: {f"bundle/{name}": data for name, data in files.items()}),
    "a file twice": _twice,
    "two names of one case": _anew(_with(**{"Model.onnx": b"x"})),
    "another model": _anew(lambda files: {**files, "model.onnx": bytes(len(files["model.onnx"]))}),
    "another vocabulary": _anew(_with(**{"vocabulary.txt": b"x y z"})),
    "a smaller model": _anew(lambda files: {**files, "model.onnx": b"x"}),
    "a manifest of 2 MiB": _anew(lambda files: {**files, "manifest.json": bytes(2 << 20)}),
    "the signature of nobody": _anew(lambda files: {**files, "signatures.json": b"{}"}),
    "a name that leads outside": _renamed(b"model.onnx", b"../odel.nx"),
    "a name from the root": _renamed(b"model.onnx", b"/tmp/odel1"),
    "a name with a backslash": _renamed(b"model.onnx", b"m\\del.onnx"),
    "a name with a drive": _renamed(b"model.onnx", b"C:del.onnx"),
    "a name with a zero": _renamed(b"model.onnx", b"model.on\0x"),
    "a name in another case": _renamed(b"model.onnx", b"MODEL.onnx"),
    "a name that is no ASCII": _renamed(b"model.onnx", "mod\u00e9.onnx".encode()),
    "encrypted": _in_both(6, "<H", 1),
    "sizes behind the data": _in_both(6, "<H", 8),
    "names in UTF-8": _in_both(6, "<H", 0x800),
    "a method that is none": _in_both(8, "<H", 99),
    "a version to come": _in_both(4, "<H", 63),
    "a size beyond the manifest's": _in_both(22, "<L", 1 << 30),
    "a size of zip64": _in_both(22, "<L", 0xFFFFFFFF),
    "another size in the header alone": _in_header(18, "<L", 1),
    "another size in the directory alone": _in_directory(24, "<L", 1),
    "another CRC in the header alone": _in_header(14, "<L", 1),
    "another CRC in the directory alone": _in_directory(16, "<L", 1),
    "another name in the directory alone": _in_directory(46, "<B", ord("n")),
    "a longer name in the header alone": _in_header(26, "<H", 500),
    "a manifest without end": _in_header(22, "<L", 0xFFFFFFFE, "manifest.json"),
    "signatures without end": _in_header(22, "<L", 0xFFFFFFFE, "signatures.json"),
    "two files in one place": _in_directory(42, "<L", 0),
    "a file that begins behind the end": _in_directory(42, "<L", 0xFFFFFFFE),
    "on another disk": _in_directory(34, "<H", 1),
    "an end on another disk": _at_the_end(4, "<H", 1),
    "a file less in the directory": _at_the_end(10, "<H", 3),
    "65,535 files in the directory": _at_the_end(10, "<H", 0xFFFF),
    "a directory elsewhere": _at_the_end(16, "<L", 0),
    "a directory of zip64": _at_the_end(16, "<L", 0xFFFFFFFF),
    "a shorter directory": _at_the_end(12, "<L", 46),
    "a comment that is not there": _at_the_end(20, "<H", 10),
}
