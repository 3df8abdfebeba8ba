"""TensorRT's calibration cache: lines that TensorRT and NVIDIA's tools have written, and a round trip of any name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import QuantizeError
from edgekit.quantize.calibration_cache import calibration_cache, read_calibration_cache, version_number

# The table that NVIDIA's samples/sampleINT8/README.md shows: a network for MNIST.
MNIST = """TRT-7000-EntropyCalibration2
data: 3c008912
conv1: 3c88edfc
pool1: 3c88edfc
conv2: 3ddc858b
pool2: 3ddc858b
ip1: 3db6bd6e
ip2: 3e691968
prob: 3c010a14
"""
# TensorRT 8.4 on a SegFormer: names with spaces, brackets and numbers alone, and zeros without padding.
SEGFORMER = """TRT-8401-EntropyCalibration2
input: 3caa54fc
371: 3caa54fc
(Unnamed Layer* 64) [Shuffle]_output: 0
366: 0
(Unnamed Layer* 85) [Shuffle]_output: 3b1d2336
"""
# DeepStream's TrafficCamNet: names with colons. TensorRT 10.16.2 reported the scale 0.00787594 for input_1:0.
TRAFFIC = """TRT-100300-EntropyCalibration2
input_1:0: 3c010a14
conv1/convolution:0: 3d0b7086
output_bbox/BiasAdd:0: 3da418a9
"""

READABLE = st.text(min_size=1).filter(lambda name: ": " not in name and not set(name) & set("\n\r\0"))
NORMAL = st.floats(2.0**-115, 2.0**120, width=32)


def bits_of(scale: float) -> str:
    return f"{int(np.float32(scale).view(np.uint32)):08x}"


def test_caches_of_tensorrt_are_read():
    mnist = read_calibration_cache(MNIST)
    assert list(mnist) == ["data", "conv1", "pool1", "conv2", "pool2", "ip1", "ip2", "prob"]
    assert mnist["prob"] == pytest.approx(0.00787594, abs=5e-9)
    assert mnist["conv2"] == float(np.uint32(0x3DDC858B).view(np.float32))
    segformer = read_calibration_cache(SEGFORMER)
    assert segformer["(Unnamed Layer* 64) [Shuffle]_output"] == segformer["366"] == 0.0
    assert segformer["(Unnamed Layer* 85) [Shuffle]_output"] == (1 + 0x1D2336 / 2**23) * 2.0 ** (0x76 - 127)
    assert read_calibration_cache(TRAFFIC)["input_1:0"] == pytest.approx(0.00787594, abs=5e-9)
    assert read_calibration_cache(TRAFFIC.replace("\n", "\r\n")) == read_calibration_cache(TRAFFIC)


@pytest.mark.parametrize(("text", "version"), [(MNIST, "7.0.0.11"), (TRAFFIC, "10.3.0.30")])
def test_caches_of_tensorrt_are_written_again_as_they_were(text, version):
    largest = {name: scale * 127 for name, scale in read_calibration_cache(text).items()}
    assert calibration_cache(largest, version) == text


def test_an_image_of_zero_to_one_has_the_line_that_tensorrt_gives_it():
    """`images: 3c010204` stands in a cache that TensorRT 10.3 made with its MinMax calibrator."""
    assert calibration_cache({"images": 1.0}) == "TRT-100300-EntropyCalibration2\nimages: 3c010204\n"


@given(st.dictionaries(READABLE, NORMAL, min_size=1, max_size=5))
def test_what_is_written_is_read_back(largest):
    text = calibration_cache(largest)
    expected = {name: np.float32(bound) / np.float32(127) for name, bound in largest.items()}
    assert read_calibration_cache(text) == expected
    assert list(read_calibration_cache(text)) == list(largest)
    assert text.encode().decode() == text
    for line, scale in zip(text.split("\n")[1:-1], expected.values(), strict=True):
        assert line.endswith(": " + bits_of(scale))


@given(READABLE, NORMAL)
def test_onnxruntime_reads_the_same_where_names_have_no_colon(name, bound):
    """Its TensorRT provider cuts at the first colon and reads the rest as a hexadecimal number (ReadDynamicRange)."""
    line = calibration_cache({name: bound}).split("\n")[1]
    first, _, rest = line.partition(":")
    if ":" not in name:
        assert (first, np.uint32(int(rest, 16)).view(np.float32)) == (name, np.float32(bound) / np.float32(127))


@pytest.mark.parametrize("largest", [0.0, -0.0, 1e-45, 1e-40])
def test_a_tensor_of_zeros_gets_a_scale_that_divides(largest):
    scale = read_calibration_cache(calibration_cache({"zeros": largest}))["zeros"]
    assert scale == np.float32(1 / 127)
    with np.errstate(all="raise"):
        assert np.float16(1) / np.float16(scale) > 0
        assert np.float16(scale) * np.float16(1e-2) > 0


def test_digits_that_tensorrt_leaves_out_are_leading_zeros():
    assert read_calibration_cache("TRT-8401-EntropyCalibration2\nx: 800000\n") == {"x": 2.0**-126}


def test_the_smallest_normal_scale_stands_as_it_is():
    smallest = float(np.finfo(np.float32).tiny)
    assert read_calibration_cache(calibration_cache({"x": smallest * 127}))["x"] == smallest
    assert read_calibration_cache(calibration_cache({"x": smallest * 126}))["x"] == np.float32(1 / 127)


@pytest.mark.parametrize(
    ("version", "number"),
    # As headers of public caches and trtexec's banner have them.
    [
        ("7.1.3", 7103),
        ("8.2.3", 8203),
        ("8.5.2.2", 8502),
        ("8.6.2", 8602),
        ("9.2.0", 9200),
        ("10.0.1", 100001),
        ("10.3.0", 100300),
        ("10.14.1", 101401),
        ("10.16.2.10", 101602),
    ],
)
def test_versions_are_written_as_tensorrt_writes_them(version, number):
    assert version_number(version) == number
    assert calibration_cache({"x": 1.0}, version).startswith(f"TRT-{number}-EntropyCalibration2\n")


@pytest.mark.parametrize(
    "version", ["", "10", "10.3", "10.3.x", "100300", "v10.3.0", "10.3.0-1", "10.3.0\n", "\u0661\u0660.3.0"]
)
def test_what_is_no_version_is_refused(version):
    with pytest.raises(QuantizeError, match=r"TensorRT version such as 10\.3\.0"):
        calibration_cache({"x": 1.0}, version)


@pytest.mark.parametrize("version", ["4.0.1", "11.0.0"])
def test_a_tensorrt_without_calibration_caches_is_refused(version):
    with pytest.raises(QuantizeError, match=f"5 to 10, found {version}; next: "):
        calibration_cache({"x": 1.0}, version)


@pytest.mark.parametrize("name", ["", "a\nb", "a\r", "a\0b", "a: 3c010a14"])
def test_names_that_would_be_read_as_others_are_refused(name):
    with pytest.raises(QuantizeError, match="expected tensor names that a calibration cache can hold") as caught:
        calibration_cache({"fine": 1.0, name: 1.0})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bound", [-1.0, float("inf"), float("-inf"), float("nan"), 1e41])
def test_ranges_that_are_none_are_refused(bound):
    with pytest.raises(QuantizeError, match=r"expected a .*range .*, found .* for 'x'"):
        calibration_cache({"x": bound})


def test_no_tensor_at_all_is_refused():
    with pytest.raises(QuantizeError, match="one tensor or more"):
        calibration_cache({})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "TRT-<version>"),
        ("x: 3c010a14\n", "TRT-<version>"),
        ("TRT-8600\nx: 3c010a14\n", "TRT-<version>"),
        (" TRT-8600-EntropyCalibration2\nx: 3c010a14\n", "TRT-<version>"),
        (MNIST + "x\n", "line 10"),
        (MNIST + "x 3c010a14\n", "line 10"),
        (MNIST + "x: \n", "line 10"),
        (MNIST + "x: 0x3c010a14\n", "line 10"),
        (MNIST + "x: 3c010a14f\n", "line 10"),
        (MNIST + "x: -3c010a1\n", "line 10"),
        (MNIST + ": 3c010a14\n", "line 10"),
        (MNIST + "prob: 3c010a14\n", "'prob' again in line 10"),
        (MNIST + "x: 7f800000\n", "found inf for 'x'"),
        (MNIST + "x: 7fc00000\n", "found nan for 'x'"),
        (MNIST + "x: bc010a14\n", "found -0.00787"),
    ],
)
def test_malformed_caches_are_refused_in_one_line(text, complaint):
    with pytest.raises(QuantizeError, match=complaint):
        read_calibration_cache(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    for candidate in (text, "TRT-100300-EntropyCalibration2\n" + text):
        try:
            scales = read_calibration_cache(candidate)
        except QuantizeError:
            continue
        assert all(0 <= scale < float("inf") for scale in scales.values())
