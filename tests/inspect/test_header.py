"""The header of engines: real ones that differ in one thing at a time, and damaged ones."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.build import build
from edgekit.configs import BuildConfig
from edgekit.errors import ModelError
from edgekit.inspect.header import EngineHeader, is_engine, read_header


@pytest.fixture(scope="module")
def engines(shared, small_onnx):
    """A folder with the engines of `small_onnx` for 8.6, for 8.9, for both, and for no GPU in particular."""
    pytest.importorskip("tensorrt_rtx")
    wanted = {"86": ("8.6",), "89": ("8.9",), "8689": ("8.6", "8.9"), "120": ("12.0",), "any": ()}

    def make(folder):
        for name, capabilities in wanted.items():
            build(small_onnx, folder / f"{name}.engine", BuildConfig(compute_capability=capabilities))

    return shared("inspected-engines", make)


@pytest.fixture(scope="module")
def small_engine(engines) -> bytes:
    return (engines / "86.engine").read_bytes()


@pytest.mark.parametrize(
    ("name", "capabilities", "others"),
    [
        ("86", ("8.6",), False),
        ("89", ("8.9",), False),
        ("8689", ("8.6", "8.9"), False),
        ("120", ("12.0",), False),
        ("any", ("8.0", "8.6", "8.9", "12.0", "12.1"), True),
    ],
)
def test_the_header_says_what_the_engine_was_built_for(engines, name, capabilities, others):
    import tensorrt_rtx

    header = read_header(engines / f"{name}.engine")
    assert (header.kind, header.flavour) == ("TensorRT-RTX engine", "tensorrt_rtx")
    assert header.version == tensorrt_rtx.__version__
    assert (header.compute_capabilities, header.other_gpus) == (capabilities, others)


def test_the_weights_are_those_that_the_builder_counts(engines):
    """The oracle is TensorRT's own message, kept in the report."""
    for path in engines.glob("*.engine"):
        told = json.loads(path.with_name(path.name + ".json").read_text())["memory"]["weights_bytes"]
        assert told
        assert read_header(path).weights_bytes == told


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))
def test_an_engine_that_was_cut_short_is_told_from_a_whole_one(small_engine, share, tmp_path_factory):
    cut = max(4, int(share * (len(small_engine) - 1)))
    path = tmp_path_factory.mktemp("cut") / "cut.engine"
    path.write_bytes(small_engine[:cut])
    with pytest.raises(ModelError, match=r"cut\.engine is damaged: expected .*, found ") as caught:
        read_header(path)
    if cut >= 40:
        assert f"expected {len(small_engine):,} bytes, as its header says, found {cut:,}" in str(caught.value)


def test_what_is_too_long_or_has_another_end_is_damaged_too(small_engine, tmp_path):
    path = tmp_path / "a.engine"
    path.write_bytes(small_engine + b"\0")
    with pytest.raises(ModelError, match=f"found {len(small_engine) + 1:,}"):
        read_header(path)
    path.write_bytes(small_engine[:-4] + b"\0\1\2\3")
    with pytest.raises(ModelError, match="expected the mark of its end, found the bytes 00 01 02 03"):
        read_header(path)
    # A section that reaches beyond the file: the length of the second stands at 64 + 24 + 16.
    path.write_bytes(small_engine[:104] + struct.pack("<Q", len(small_engine)) + small_engine[112:])
    with pytest.raises(ModelError, match="expected sections within"):
        read_header(path)


def written(path, magic, version, layout=0):
    """A header made by hand: the words that trtexec reads, and nothing that is real after them."""
    path.write_bytes(magic + struct.pack("<IQQ", layout, 2, 9999) + bytes(version) + b"\0" * 200)
    return path


def test_of_other_tensorrts_only_the_version_is_claimed(tmp_path):
    path = tmp_path / "a.engine"
    assert read_header(written(path, b"ftrt", (10, 13, 3, 9))) == EngineHeader(
        "TensorRT engine", "tensorrt", "10.13.3.9"
    )
    assert read_header(written(path, b"ftrt", (10, 13, 3, 9), 1)) == EngineHeader("TensorRT engine", "tensorrt")
    assert read_header(written(path, b"ptrt", (8, 5, 3, 1))) == EngineHeader("TensorRT engine", "tensorrt")
    later = EngineHeader("TensorRT-RTX engine", "tensorrt_rtx", "2.0.0.7")
    assert read_header(written(path, b"vtrt", (2, 0, 0, 7))) == later


@settings(max_examples=200, deadline=None)
@given(rest=st.binary(max_size=300), magic=st.sampled_from([b"vtrt", b"ftrt", b"ptrt", b"vtrt\0\0\0\0"]))
def test_no_bytes_make_it_fail_in_another_way(rest, magic, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "odd.engine"
    path.write_bytes(magic + rest)
    assert is_engine(path.read_bytes())
    try:
        assert read_header(path).compute_capabilities is None
    except ModelError as error:
        assert "\n" not in str(error)
