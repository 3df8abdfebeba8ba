"""Which axes are open, and at which other sizes an export is compared."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgekit.errors import UsageError  # noqa: E402
from edgekit.export.axes import dynamic_axes, grown, resized  # noqa: E402


def test_two_lengths_get_two_names():
    examples = {"source": torch.zeros(2, 5, 3), "target": torch.zeros(2, 4, dtype=torch.int64)}
    assert dynamic_axes(examples, (), {}) == {
        "source": {0: "batch", 1: "time"},
        "target": {0: "batch", 1: "target_time"},
    }


def test_what_is_known_of_an_input_goes_before_the_rule_and_what_is_asked_before_both():
    examples = {"x": torch.zeros(2, 5, 3), "h": torch.zeros(1, 2, 4), "frames": torch.zeros(2, 5, 3, 8, 8)}
    known = {"h": {1: "batch"}, "frames": {0: "batch", 1: "time"}}
    assert dynamic_axes(examples, (), known) == {"x": {0: "batch", 1: "time"}, **known}
    asked = dynamic_axes(examples, ("x:1=steps", "frames:3=height"), known)
    assert asked["x"] == {0: "batch", 1: "steps"}
    assert asked["frames"] == {0: "batch", 1: "time", 3: "height"}
    assert known["frames"] == {0: "batch", 1: "time"}


def test_one_dimension_has_one_size():
    examples = {"a": torch.zeros(2, 5), "b": torch.zeros(3, 5)}
    with pytest.raises(UsageError, match=r"found 2 in 'a' and 3 along axis 0 of 'b'; next: --dynamic b:AXIS=batch"):
        dynamic_axes(examples, (), {})


def test_other_sizes_differ_and_pictures_stay_divisible():
    """Height and width grow by different steps, so that one taken for the other shows."""
    examples = {"image": torch.zeros(2, 3, 64, 64), "x": torch.zeros(2, 5, 3), "past": torch.zeros(2, 4, 7, 16)}
    axes = {
        "image": {0: "batch", 2: "height", 3: "width"},
        "x": {0: "batch", 1: "time"},
        "past": {0: "batch", 2: "past"},
    }
    assert grown(examples, axes, {}) == {"batch": 3, "height": 96, "width": 128, "time": 8, "past": 10}
    bounded = grown(examples, axes, {"time": (1, 5, 6), "past": (0, 4, 99)})
    assert (bounded["time"], bounded["past"]) == (6, 10)


def test_resized_inputs_are_others_and_legal():
    examples = {"x": torch.ones(2, 5, 3) + torch.arange(3.0), "ids": torch.tensor([[1, 2, 3, 4, 0]] * 2)}
    axes = {"x": {0: "batch", 1: "time"}, "ids": {0: "batch", 1: "time"}}
    made = resized(examples, axes, {"batch": 3, "time": 8})
    assert (made["x"].shape, made["ids"].shape) == ((3, 8, 3), (3, 8))
    assert not torch.equal(made["x"][:2, :5], examples["x"])
    assert set(made["ids"].unique().tolist()) <= set(range(5))
    lengths = resized({"lengths": torch.tensor([5, 2])}, {"lengths": {0: "batch"}}, {"batch": 4})["lengths"]
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


def test_an_open_axis_has_a_size_to_start_from():
    examples = {"x": torch.zeros(2, 3), "past": torch.zeros(2, 4, 0, 8)}
    with pytest.raises(
        UsageError, match=r"'past' with one value or more along its open axis 2, found none; next: an ex"
    ):
        dynamic_axes(examples, ("past:2=past",), {})
    assert dynamic_axes(examples, (), {})["past"] == {0: "batch"}, "a closed axis may be empty"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("constant", "most"), [(0.0, 0.1), (1e-3, 0.1), (-40.0, 4.0)])
def test_a_constant_gets_other_values_too(dtype, constant, most):
    """Upwards only, since some are counts or distances."""
    example = torch.full((2, 3), constant, dtype=dtype)
    made = resized({"h": example}, {"h": {0: "batch"}}, {"batch": 40})["h"]
    added = made.numpy().astype(np.float64) - example[:1].numpy().astype(np.float64)
    assert (made.shape, made.dtype) == ((40, 3), dtype)
    assert (added.min() >= 0, most / 2 < added.max() <= most) == (True, True)
    assert added.std() > most / 10


def test_an_input_without_values_stays_so():
    made = resized({"past": torch.zeros(2, 0, 3)}, {"past": {0: "batch"}}, {"batch": 3})["past"]
    assert made.shape == (3, 0, 3)
