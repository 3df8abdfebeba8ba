"""The bounds of ONNX files: what they let through, and that they read a file as the package onnx does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.bundle import onnx_bounds
from edgekit.bundle.onnx_bounds import check_onnx
from edgekit.bundle.onnx_messages import MESSAGES
from edgekit.bundle.onnx_tensors import BITS
from edgekit.bundle.window import Window
from edgekit.bundle.wire import I32, I64, LEN, VARINT
from edgekit.errors import IntegrityError
from tests.bundle import hostile_onnx
from tests.bundle.hostile_onnx import calling, function, graph, inside, nested_graphs, plain, saying, serialized, tensor


def check(data: bytes, path: Path | None = None) -> None:
    """From memory, or from a file a few bytes at a time."""
    if path is None:
        check_onnx(Window.over(data), "model.onnx")
    else:
        # Not at the beginning, as in an archive.
        path.write_bytes(b"before" + data + b"behind")
        with path.open("rb") as file:
            check_onnx(Window.of(file.fileno(), 6, len(data)), "model.onnx")


def messages():
    """All messages that a ModelProto may hold, by the package's own description of them."""
    waiting, found = [onnx.ModelProto.DESCRIPTOR], {}
    while waiting:
        one = waiting.pop()
        if one.name not in found:
            found[one.name] = one
            waiting += [field.message_type for field in one.fields if field.message_type]
    return found


def test_the_messages_are_those_of_the_package_onnx():
    """Of every field the number, whether it is repeated, its wire type and its message."""
    wires = {1: I64, 2: I32, 3: VARINT, 4: VARINT, 5: VARINT, 9: LEN, 11: LEN, 12: LEN, 14: VARINT}
    described = messages()
    assert MESSAGES.keys() == described.keys()
    for name, descriptor in described.items():
        known = {field.number: field for field in descriptor.fields}
        newer = known.keys() - MESSAGES[name].keys()
        assert not newer, f"{name} has new fields {newer}"
        for number, rule in MESSAGES[name].items():
            field = known[number]
            wire = wires[field.type]
            packed = field.is_repeated and wire != LEN
            assert set(rule.wires) == ({wire, LEN} if packed else {wire}), (name, field.name)
            assert rule.repeated == field.is_repeated, (name, field.name)
            assert rule.message == (field.message_type.name if field.message_type else ""), (name, field.name)


@pytest.mark.parametrize(("number", "bits"), BITS.items())
def test_the_bits_of_a_type_are_those_of_the_package_onnx(number, bits):
    """The oracle packs a thousand elements."""
    name = TensorProto.DataType.Name(number)
    made = helper.make_tensor("w", number, [1000], np.zeros(1000), raw=False)
    size = len(numpy_helper.from_array(numpy_helper.to_array(made)).raw_data)
    assert size == 1000 * bits // 8, name


ONE_BY_ONE = [(kind, shape) for kind in sorted(BITS) for shape in ([], [0], [7], [2, 3])]


@pytest.mark.parametrize(("kind", "shape"), ONE_BY_ONE)
def test_every_type_of_tensor_passes_in_both_its_forms(tmp_path, kind, shape):
    """As the package writes it: numbers in their own field, and raw bytes."""
    values = np.zeros(shape).flatten()
    as_numbers = helper.make_tensor("w", kind, shape, values)
    raw = numpy_helper.from_array(numpy_helper.to_array(as_numbers), "w")
    assert raw.HasField("raw_data")
    for made in (as_numbers, raw):
        data = serialized(graph(tensors=[made]))
        check(data)
        check(data, tmp_path / "a")


def test_texts_and_unpacked_numbers_pass():
    """Old writers do not pack, and every reader takes both."""
    check(serialized(graph(tensors=[helper.make_tensor("w", TensorProto.STRING, [2], [b"a", b""])])))
    check(tensor(saying(1, 2), saying(2, 7), saying(7, 1), saying(7, 300)))
    check(tensor(saying(1, 1), saying(2, 1), bytes([4 << 3 | 5]) + bytes(4)))


def test_what_onnx_and_onnxruntime_take_passes(tmp_path):
    """Branches, functions, sparse weights, sequences, metadata: nothing of these is hostile in itself."""
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=plain("c"))],
        "branch",
        [],
        [helper.make_tensor_value_info("c", 1, [2])],
    )
    main = helper.make_graph(
        [helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch, name="if")],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", 1, [2])],
    )
    indices = helper.make_tensor("", TensorProto.INT64, [2], [0, 1])
    main.sparse_initializer.append(helper.make_sparse_tensor(plain(), indices, [1000]))
    main.value_info.append(helper.make_tensor_sequence_value_info("s", 1, [None]))
    opsets = [helper.make_opsetid("", 20)]
    one = helper.make_function("f", "a", ["x"], ["y"], [helper.make_node("Not", ["x"], ["y"])], opsets)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    model = helper.make_model(main, functions=[one], ir_version=10, opset_imports=imports)
    helper.set_model_props(model, {"key": "value"})
    onnx.checker.check_model(model)
    check(model.SerializeToString())
    check(model.SerializeToString(), tmp_path / "a")


@pytest.mark.parametrize("shift", range(40))
def test_a_field_may_lie_across_two_reads_of_a_file(tmp_path, shift):
    """Numbers of five bytes everywhere, moved by a byte at a time."""
    nodes = inside(1, inside(5, inside(1, b"a"), saying(3, 1 << 34))) * 600
    check(hostile_onnx.model(inside(2, b"n" * shift), nodes), tmp_path / "a")


def test_fields_of_a_later_version_are_passed_over():
    check(hostile_onnx.model() + saying(200, 7) + inside(201, b"\xff\xff") + bytes([0xA9, 0x0D]) + bytes(8))


@pytest.mark.parametrize("name", hostile_onnx.FILES)
def test_a_file_is_refused_as_bytes_are(tmp_path, name):
    """The same words, whichever way the bytes come."""
    if hostile_onnx.FILES[name]:
        said = []
        for path in (None, tmp_path / "a"):
            with pytest.raises(IntegrityError, match="expected a bounded ONNX model") as caught:
                check(hostile_onnx.FILES[name], path)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_little_less_than_the_bounds_passes():
    check(nested_graphs(19))
    with pytest.raises(IntegrityError, match="nested more than 64 deep"):
        check(nested_graphs(21))
    chain = [function(f"f{at}", f"f{at + 1}") for at in range(60)]
    check(serialized(calling("f0"), chain))
    doubling = [function(f"f{at}", f"f{at + 1}", f"f{at + 1}") for at in range(19)]
    check(serialized(calling("f0"), doubling))
    with pytest.raises(IntegrityError, match="functions that become more than"):
        check(serialized(calling("f0"), [*doubling, function("f19", "f20", "f20"), function("f20", "x", "x")]))


def test_a_function_that_calls_itself_from_a_branch_is_found():
    branch = graph([helper.make_node("a", [], ["y"], domain="f")])
    one = helper.make_function(
        "f", "a", [], [], [helper.make_node("If", ["x"], ["y"], then_branch=branch)], [helper.make_opsetid("", 20)]
    )
    with pytest.raises(IntegrityError, match="calls itself"):
        check(serialized(calling("a"), [one]))


def test_fields_are_bounded(monkeypatch):
    monkeypatch.setattr(onnx_bounds, "_MOST_FIELDS", 50)
    check(hostile_onnx.model(*[inside(16, inside(1, b"k"))] * 20))
    with pytest.raises(IntegrityError, match="more than 50 fields"):
        check(hostile_onnx.model(*[inside(16, inside(1, b"k"))] * 30))


def test_a_model_of_two_gigabytes_is_refused_before_it_is_read():
    with pytest.raises(IntegrityError, match="found 2147483648 bytes"):
        check_onnx(Window(1 << 31, lambda *_: pytest.fail("it was read")), "model.onnx")


def test_weights_are_not_read(tmp_path):
    """A hundred megabytes of them, of which the walk asks for some kilobytes."""
    weights = helper.make_tensor("w", 1, [25 << 20], bytes(100 << 20), raw=True)
    data = serialized(graph(tensors=[weights, plain("v")]))
    asked = []

    def load(start: int, count: int) -> bytes:
        asked.append(count)
        return data[start : start + count]

    check_onnx(Window(len(data), load), "model.onnx")
    assert sum(asked) < 50_000


def test_a_file_that_shrinks_meanwhile_is_refused(tmp_path, small_onnx):
    path = tmp_path / "a"
    path.write_bytes(small_onnx.read_bytes())
    with path.open("rb") as file:
        window = Window.of(file.fileno(), 0, path.stat().st_size)
        path.write_bytes(small_onnx.read_bytes()[:100])
        with pytest.raises(IntegrityError, match="cut short"):
            check_onnx(window, "model.onnx")


def test_a_network_passes(small_onnx, tmp_path):
    check(small_onnx.read_bytes())
    check(small_onnx.read_bytes(), tmp_path / "copy")
