"""Names of files that mean the same file on every disk."""

from __future__ import annotations

import pytest

from edgekit.bundle.names import MOST_FILES, check_names
from edgekit.errors import IntegrityError

RESERVED = ("manifest.json", "signatures.json")


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("model.onnx",),
        ("plugins/libedgekit_plugins.so", "reports/accuracy.json", "reports/build.json"),
        ("a-b_c.d.e", "_x", "0", "a-", "console.txt", "com.json", "com10", "nullify/a"),
        ("sub/manifest.json",),
        ("/".join("abcdefgh"),),
        ("a" * 200,),
        tuple(f"f{index}" for index in range(MOST_FILES)),
    ],
    ids=lambda names: f"{len(names)} {'-'.join(names)[:30]}",
)
def test_plain_names_pass(names):
    check_names(names, RESERVED)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "/a", "a/", "a//b", "a/./b", "a/../b", "../a", ".a", "a/.b", "-a", "a.", "a./b"),
        *("a ", " a", "a b", "a\\b", "C:", "C:a", "a:b", "a\tb", "a\nb", "a\0b", "a*", "a?", 'a"', "a|b"),
        *("é", "e\u0301", "a\u202eb"),
        *("con", "CON.txt", "a/Nul", "aux.tar.gz", "PRN", "com0", "COM9.x", "lpt5", "con/a"),
        *("a" * 201, "/".join("a" * 9)),
    ],
)  # fmt: skip
def test_others_are_refused(name):
    with pytest.raises(IntegrityError, match="expected plain file names in the manifest, found") as caught:
        check_names((name,), RESERVED)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "names",
    [
        ("a", "A"),
        ("model.onnx", "Model.ONNX"),
        ("reports/a", "Reports/b"),
        ("x/reports/a", "x/rePorts/b"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/b", "A"),
        ("a/b/c", "a/b"),
        ("manifest.json",),
        ("MANIFEST.json",),
        ("manifest.json/a",),
        ("signatures.JSON",),
    ],
)
def test_names_that_meet_are_refused(names):
    with pytest.raises(IntegrityError, match="expected file names that differ, found"):
        check_names(names, RESERVED)


def test_many_are_refused():
    with pytest.raises(IntegrityError, match=f"at most {MOST_FILES} files"):
        check_names((f"f{index}" for index in range(MOST_FILES + 1)), RESERVED)
