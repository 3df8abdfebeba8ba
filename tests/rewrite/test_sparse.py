"""Sparse weights become dense; the oracle is NumPy, and onnxruntime on the file as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from edgekit.errors import ModelError  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.sparse import densify  # noqa: E402
from tests.build.foreign_graphs import a_sparse_constant, a_sparse_initializer, branch, model, node, tensor  # noqa: E402


def sparse(values, indices, dims) -> onnx.SparseTensorProto:
    stored = tensor(np.float32(values), "w"), tensor(np.int64(indices), "i")
    return onnx.helper.make_sparse_tensor(*stored, dims)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), linear=st.booleans())
def test_any_sparse_tensor_is_what_numpy_scatters(data, linear):
    dims = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    wanted = np.zeros(dims, np.float32)
    places = data.draw(st.lists(st.integers(0, wanted.size - 1), unique=True).map(sorted))
    wanted.flat[places] = np.arange(1, len(places) + 1)
    indices = places if linear else np.reshape(np.stack(np.unravel_index(np.int64(places), dims), 1), (-1, len(dims)))
    made = model([node("Add", ["x", "w"], ["y"])])
    made.graph.sparse_initializer.append(sparse(wanted.flat[places], indices, dims))
    done = densify(made)
    assert done.modified
    assert done.model is made
    assert not made.graph.sparse_initializer
    (found,) = made.graph.initializer
    assert found.name == "w"
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found), wanted)


@pytest.mark.parametrize("make", [a_sparse_constant, a_sparse_initializer])
def test_onnxruntime_computes_the_same(make):
    x = {"x": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)}
    made = densify(make()).model
    onnx.checker.check_model(made)
    for want, got in zip(
        *(plain_session(item.SerializeToString()).run(None, x) for item in (make(), made)), strict=True
    ):
        np.testing.assert_array_equal(got, want)
        assert want.any()


def test_one_inside_a_branch_too():
    inside = branch("a", [node("Mul", ["x", "w"], ["a"])])
    inside.sparse_initializer.append(sparse([2.0], [1], [4]))
    other = branch("b", [node("Neg", ["x"], ["b"])])
    made = model([node("If", ["c"], ["y"], then_branch=inside, else_branch=other)], {"c": np.array(True)})
    assert densify(made).modified
    found = made.graph.node[0].attribute
    (dense,) = (item.name for graph in found for item in graph.g.initializer)
    assert dense == "w"


@pytest.mark.parametrize(
    ("values", "indices", "dims"),
    [
        ([1.0], [9], [4]),
        ([1.0], [-1], [4]),
        ([1.0, 2.0], [1], [4]),
        ([1.0], [[0, 5]], [2, 2]),
        ([1.0], [[0]], [2, 2, 2, 2]),
    ],
)
def test_indices_outside_of_the_shape_are_refused(values, indices, dims):
    made = model([node("Add", ["x", "w"], ["y"])])
    made.graph.sparse_initializer.append(sparse(values, indices, dims))
    if indices == [[0]]:
        indices = "one index of two"
        made.graph.sparse_initializer[0].indices.CopyFrom(tensor(np.int64([[0, 0, 0, 0, 0]]), "i"))
    with pytest.raises(ModelError, match="expected sparse weights 'w' of shape"):
        densify(made)


def test_a_few_bytes_do_not_become_terabytes():
    made = model([node("Add", ["x", "w"], ["y"])])
    made.graph.sparse_initializer.append(sparse([1.0], [0], [1 << 20, 1 << 20]))
    with pytest.raises(ModelError, match="at most 1 GiB"):
        densify(made)


def test_dense_weights_stay(small_onnx):
    made = onnx.load(small_onnx)
    before = made.SerializeToString()
    assert not densify(made).modified
    assert made.SerializeToString() == before
