"""One pass over real data: what the ranges see and what they do not, and how an interrupted pass goes on."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from edgekit.configs import QuantizeConfig
from edgekit.data import Batch
from edgekit.errors import DataError, QuantizeError, UsageError
from edgekit.quantize import calibration
from edgekit.quantize.calibration import Calibration, Wanted, calibrate
from edgekit.quantize.held_back import HeldBack
from edgekit.quantize.observers import Observer, Seen, Statistics
from edgekit.quantize.table import ScaleTable, read_table
from edgekit.reports import no_progress
from tests.quantize.digit_cnn import AXES, as_onnx, digest, digits, saved
from tests.quantize.graphs import graph, node, value

WHOLE = Wanted(AXES, ("c",))
Progress = Callable[[str, int, int], None]


def never(table: ScaleTable) -> None:
    raise AssertionError("no table was to be saved")


OPEN: list[HeldBack] = []


@pytest.fixture(autouse=True)
def closed():
    """What was held back is in a file until someone closes it."""
    yield
    while OPEN:
        OPEN.pop().close()


def calibrated(
    model, data: str | None, wanted: Wanted = WHOLE, progress: Progress = no_progress, **config
) -> Calibration:
    asked = QuantizeConfig("int8", data=data, **config)
    found = calibrate(model, digest(model), wanted, asked, progress, never)
    OPEN.append(found.held_back)
    return found


def interrupted(model, data: str, folder: Path, at: int, **config) -> Path | None:
    """Interrupt the pass when batch `at` has been reported; the file of what was saved."""
    tables: list[ScaleTable] = []

    def progress(what: str, done: int, total: int) -> None:
        progress.calls += 1
        if progress.calls == at:
            raise KeyboardInterrupt

    progress.calls = 0
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, digest(model), WHOLE, QuantizeConfig("int8", data=data, **config), progress, tables.append)
    if not tables:
        return None
    (table,) = tables
    path = folder / f"{at}.scales.json"
    path.write_bytes(table.to_bytes())
    return path


def held_inputs(found: Calibration) -> np.ndarray:
    """The images on which choices will be tried, in their order."""
    images: list[np.ndarray] = []

    def run(batch: Batch) -> Batch:
        images.append(batch["image"])
        return {"logits": np.zeros((len(batch["image"]), 10), np.float32)}

    found.held_back.score_of(run)
    return np.concatenate(images) if images else np.zeros((0, 1, 8, 8), np.float32)


def rest_inputs(found: Calibration) -> np.ndarray:
    assert found.stream is not None
    return np.concatenate([samples.inputs["image"] for samples in found.stream()])


def numbers(images: np.ndarray, of: np.ndarray) -> list[int]:
    """Which images of the set these are."""
    known = {image.tobytes(): number for number, image in enumerate(of)}
    return [known[image.tobytes()] for image in images]


@pytest.fixture
def model():
    return as_onnx()


@pytest.fixture
def feed(tmp_path, monkeypatch):
    """A `module:callable` that yields images in batches of odd sizes."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "feed", None)

    def write(images: np.ndarray) -> str:
        np.save(tmp_path / "images.npy", images)
        (tmp_path / "feed.py").write_text(
            textwrap.dedent(f"""
            import numpy as np

            def make():
                images = np.load({str(tmp_path / "images.npy")!r})
                for start in range(0, len(images), 7):
                    yield {{"image": images[start : start + 7]}}
            """)
        )
        return f"{tmp_path / 'feed.py'}:make"

    return write


HELD = [
    (3, {}, 0),
    (15, {}, 0),
    (16, {}, 4),
    (17, {}, 4),
    (48, {}, 12),
    (100, {}, 24),
    (512, {}, 64),
    (700, {"samples": 700}, 64),
    (48, {"method": "max"}, 0),
    (48, {"method": "max", "keep_layers": "auto"}, 12),
    (48, {"method": "max", "min_sqnr_db": 20.0}, 12),
    (48, {"max_drop": 0.01}, 24),
    (512, {"max_drop": 0.01}, 256),
    (6, {"max_drop": 0.01}, 3),
    (2, {"max_drop": 0.01}, 1),
    (1, {"max_drop": 0.01}, 0),
]


@pytest.mark.parametrize(("count", "config", "held"), HELD)
def test_how_many_are_held_back(model, tmp_path, count, config, held):
    """A quarter and 64 at the most, none of fewer than 16; half where a drop is to be measured."""
    found = calibrated(model, saved(tmp_path, digits()[0][:count]), Wanted({"image": 1}), **config)
    assert found.held_back.samples == found.table.held == held
    assert found.table.samples == count
    assert found.table.statistics.tensors["image"].channels.count == 64 * (count - held)
    assert (found.table.held_every > 0) == (held > 0 or count == 1)


@pytest.mark.parametrize(
    ("count", "config", "held"), [(16, {}, 4), (48, {}, 12), (300, {}, 64), (48, {"max_drop": 0}, 24)]
)
def test_how_many_are_held_back_of_what_only_reading_counts(model, feed, count, config, held):
    found = calibrated(model, feed(digits()[0][:count]), Wanted({"image": 1}), **config)
    assert found.held_back.samples == held
    assert found.table.statistics.tensors["image"].channels.count == 64 * (count - held)


@pytest.mark.parametrize(("count", "held"), [(48, 10), (15, 0), (100, 25)])
def test_a_model_with_a_fixed_batch(tmp_path, count, held):
    """Batches of 5, and what is left over is left out."""
    model = as_onnx(batch=5)
    found = calibrated(model, saved(tmp_path, digits()[0][:count]))
    assert found.held_back.samples == held
    assert len(held_inputs(found)) == held
    assert found.table.samples == count // 5 * 5
    assert found.table.statistics.tensors["a"].channels.count == 64 * (count // 5 * 5 - held)


@pytest.mark.parametrize("source", ["npz", "callable"])
@pytest.mark.parametrize("config", [{}, {"max_drop": 0.01}, {"method": "max", "keep_layers": "2"}])
def test_ranges_never_see_what_is_held_back(model, tmp_path, feed, source, config):
    """Once they are known, the samples held back are made a hundred times larger: no number of the table moves."""
    images = digits()[0][:90].copy()
    wanted = WHOLE if "method" not in config else Wanted({}, tuple(AXES))

    def made() -> Calibration:
        data = saved(tmp_path, images) if source == "npz" else feed(images)
        return calibrated(model, data, wanted, **config)

    before = made()
    held = numbers(held_inputs(before), images)
    rest = numbers(rest_inputs(before), images)
    assert len(held) >= 16
    assert sorted(held + rest) == list(range(90))
    assert min(held) < 40, "from everywhere in the set"
    assert max(held) > 70
    largest = float(np.abs(images[rest]).max())
    images[held] *= 100
    after = made()
    assert numbers(held_inputs(after), images) == held
    assert float(np.abs(held_inputs(after)).max()) > 50 * largest
    assert after.table.statistics.tensors["image"].largest == largest
    assert replace(after.table, data_sha256=before.table.data_sha256).to_bytes() == before.table.to_bytes()
    assert after.table.data_sha256 != before.table.data_sha256


def test_the_statistics_are_those_of_all_the_rest(model, tmp_path):
    images = digits()[0][:48]
    found = calibrated(model, saved(tmp_path, images))
    rest = rest_inputs(found)
    whole = Observer(model, AXES, ["c"]).see({"image": rest})[0].tensors
    np.testing.assert_array_equal(
        found.table.statistics.tensors["image"].histogram.counts, whole["image"].histogram.counts
    )
    for name, seen in found.table.statistics.tensors.items():
        assert seen.largest == pytest.approx(whole[name].largest, rel=1e-6)
    assert found.table.data == "48 samples of digits.npz"
    assert found.table.complete


@pytest.mark.parametrize("config", [{}, {"max_drop": 0.01}])
@pytest.mark.parametrize("source", ["npz", "callable"])
def test_an_interrupted_pass_goes_on_to_the_very_same_table(model, tmp_path, feed, source, config):
    images = digits()[0][:46]  # the last batch is a smaller one
    data = saved(tmp_path, images) if source == "npz" else feed(images)
    uninterrupted = calibrated(model, data, **config)
    for at in (1, 2, 4, 7, 11, 12):
        path = interrupted(model, data, tmp_path, at, **config)
        saved_table = read_table(path, digest(model))
        assert saved_table.samples == min(4 * at, 46)
        assert not saved_table.complete
        with pytest.raises(DataError, match="expected a complete scale table"):
            calibrated(model, None, scales=path)
        found = calibrated(model, data, scales=path, **config)
        assert found.table.to_bytes() == uninterrupted.table.to_bytes()
        np.testing.assert_array_equal(held_inputs(found), held_inputs(uninterrupted))
        np.testing.assert_array_equal(rest_inputs(found), rest_inputs(uninterrupted))


def test_an_interrupt_while_going_on_loses_nothing(model, tmp_path):
    """Also while the data that were seen before are only compared."""
    data = saved(tmp_path, digits()[0][:48])
    uninterrupted = calibrated(model, data).table
    path = interrupted(model, data, tmp_path, 6)
    for at in (1, 5, 6, 7, 11, 12):
        again = interrupted(model, data, tmp_path, at, scales=path)
        assert read_table(again, digest(model)).samples == 4 * max(at, 6)
        assert calibrated(model, data, scales=again).table.to_bytes() == uninterrupted.to_bytes()
    path.write_bytes(uninterrupted.to_bytes())
    again = interrupted(model, data, tmp_path, 3, scales=path)
    assert again.read_bytes() == uninterrupted.to_bytes(), "a complete one stays complete"


def test_what_a_table_has_seen_by_half_is_seen_to_the_end(model, tmp_path):
    """Also where now less would be enough: a half would pass for the whole."""
    data = saved(tmp_path, digits()[0][:48])
    uninterrupted = calibrated(model, data).table
    path = interrupted(model, data, tmp_path, 6)
    found = calibrated(model, data, Wanted({}, ("image",)), method="max", scales=path)
    assert found.table.to_bytes() == uninterrupted.to_bytes()


def test_an_interrupt_in_the_middle_of_a_batch_leaves_whole_batches(model, tmp_path, monkeypatch):
    """Ctrl-C comes at any moment: here between the tensors of one batch."""
    data = saved(tmp_path, digits()[0][:48])
    uninterrupted = calibrated(model, data).table
    original, calls = Seen.merged, []

    def breaking(self: Seen, other: Seen) -> Seen:
        calls.append(1)
        if len(calls) == 18:  # of five tensors a batch
            raise KeyboardInterrupt
        return original(self, other)

    tables: list[ScaleTable] = []
    with monkeypatch.context() as patch:
        patch.setattr(Seen, "merged", breaking)
        with pytest.raises(KeyboardInterrupt):
            config = QuantizeConfig("int8", data=data)
            calibrate(model, digest(model), WHOLE, config, no_progress, tables.append)
    path = tmp_path / "t.json"
    path.write_bytes(tables[0].to_bytes())
    assert calibrated(model, data, scales=path).table.to_bytes() == uninterrupted.to_bytes()


def test_an_interrupt_before_the_first_batch_leaves_nothing(model, tmp_path, monkeypatch):
    def see(self: Observer, inputs: Batch) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Observer, "see", see)
    with pytest.raises(KeyboardInterrupt):
        calibrated(model, saved(tmp_path, digits()[0][:48]))


@pytest.mark.parametrize("complete", [True, False])
def test_other_data_are_refused(model, tmp_path, complete):
    images = digits()[0][:48].copy()
    data = saved(tmp_path, images)
    path = tmp_path / "t.json"
    if complete:
        path.write_bytes(calibrated(model, data).table.to_bytes())
    else:
        path = interrupted(model, data, tmp_path, 6)
    count = 48 if complete else 24
    wrong = images.copy()
    wrong[17, 0, 3, 3] += 0.25
    for name, other in {"one pixel": wrong, "in another order": images[::-1], "fewer": images[: count - 4]}.items():
        with pytest.raises(DataError, match=rf"the data that the scale table was made on \({count} samples\)"):
            calibrated(model, saved(tmp_path, other, f"{name}.npz"), scales=path)
    wrong = images.copy()
    wrong[count - 1 :, 0, 3, 3] += 0.25
    with pytest.raises(DataError, match="found other data"):
        calibrated(model, saved(tmp_path, wrong, "last.npz"), scales=path)


def test_a_table_goes_on_with_what_was_added_to_the_data(model, tmp_path, feed):
    images = digits()[0][:48]
    path = tmp_path / "t.json"
    path.write_bytes(calibrated(model, feed(images)).table.to_bytes())
    longer = digits()[0][:60]
    found = calibrated(model, feed(longer), scales=path)
    assert found.table.to_bytes() == calibrated(model, feed(longer)).table.to_bytes()
    assert found.table.samples == 60


def test_a_complete_table_with_its_data_runs_what_was_held_back_alone(model, tmp_path, monkeypatch):
    data = saved(tmp_path, digits()[0][:48])
    first = calibrated(model, data)
    path = tmp_path / "t.json"
    path.write_bytes(first.table.to_bytes())
    seen: list[np.ndarray] = []
    original = Observer.see

    def counting(self: Observer, inputs: Batch) -> tuple[Statistics, Batch]:
        seen.append(inputs["image"])
        return original(self, inputs)

    monkeypatch.setattr(Observer, "see", counting)
    again = calibrated(model, data, scales=path)
    np.testing.assert_array_equal(np.concatenate(seen), held_inputs(first))
    assert again.table.to_bytes() == first.table.to_bytes()
    np.testing.assert_array_equal(held_inputs(again), held_inputs(first))
    np.testing.assert_array_equal(rest_inputs(again), rest_inputs(first))


def test_a_complete_table_without_data_is_taken_as_it_is(model, tmp_path):
    table = calibrated(model, saved(tmp_path, digits()[0][:48])).table
    path = tmp_path / "t.json"
    path.write_bytes(table.to_bytes())
    found = calibrated(model, None, scales=path)
    assert found.table.to_bytes() == table.to_bytes()
    assert found.held_back.samples == 0
    assert found.stream is None


CHANGED = [
    (300, {}, {"method": "max", "keep_layers": "auto"}),
    (300, {}, {"max_drop": 0.01}),
    (300, {"max_drop": 0.01}, {}),
    (6, {"max_drop": 0.01}, {}),
    (300, {"max_drop": 0.01}, {"method": "max", "min_sqnr_db": 3.0}),
]


@pytest.mark.parametrize("source", ["npz", "callable"])
@pytest.mark.parametrize(("count", "first", "then"), CHANGED)
def test_another_use_of_a_table_holds_back_the_same_samples(model, tmp_path, feed, source, count, first, then):
    """Other options have batches and shares of their own: held to those, the ranges would have seen some of them."""
    images = digits()[0][:count]
    data = saved(tmp_path, images) if source == "npz" else feed(images)
    before = calibrated(model, data, Wanted({"image": 1}), **first)
    path = tmp_path / "t.json"
    path.write_bytes(before.table.to_bytes())
    wanted = Wanted({}, ("image",)) if "method" in then else Wanted({"image": 1})
    after = calibrated(model, data, wanted, scales=path, **then)
    np.testing.assert_array_equal(held_inputs(after), held_inputs(before))
    assert after.table.to_bytes() == before.table.to_bytes()


def test_tables_that_do_not_tell_enough(model, tmp_path):
    data = saved(tmp_path, digits()[0][:48])
    path = tmp_path / "t.json"
    table = calibrated(model, data, Wanted({}, ("image", "a")), method="max").table
    path.write_bytes(table.to_bytes())
    for source in (None, data):
        with pytest.raises(DataError, match="to say what 'b' was seen"):
            calibrated(model, source, Wanted({}, ("a", "b")), method="max", scales=path)
        with pytest.raises(DataError, match="to say how 'a' was seen") as caught:
            calibrated(model, source, Wanted({"a": 1}), scales=path)
        assert "--method max" in str(caught.value)
    with pytest.raises(DataError, match="expected samples held back from the scale table"):
        calibrated(model, data, Wanted({}, ("a",)), method="max", keep_layers="auto", scales=path)
    part = replace(table, statistics=Statistics({"a": calibrated(model, data).table.statistics.tensors["a"]}))
    part.statistics.tensors["a"].channels = None
    path.write_bytes(part.to_bytes())
    with pytest.raises(DataError, match="to say how 'a' was seen"):
        calibrated(model, None, Wanted({"a": 1}), scales=path)


def test_without_data_and_table_there_is_no_guess(model):
    with pytest.raises(UsageError, match="expected real inputs to calibrate int8 on, found none"):
        calibrated(model, None)


def test_labels_stand_beside_the_samples(model, tmp_path):
    """From a file, whatever is asked for; each held-back sample meets its own label."""
    images, labels = digits()[0][:64], digits()[1][:64]
    rows = "\n".join(f"{index},{label}" for index, label in enumerate(labels))
    (tmp_path / "labels.csv").write_text("sample,label\n" + rows + "\n")
    found = calibrated(model, saved(tmp_path, images), labels=tmp_path / "labels.csv")
    held = numbers(held_inputs(found), images)

    def always(digit: int) -> Callable[[Batch], Batch]:
        return lambda batch: {"logits": np.eye(10, dtype=np.float32)[[digit] * len(batch["image"])]}

    logits = Observer(model, {}).see({"image": images[held]})[1]["logits"]
    right = np.mean(logits.argmax(axis=1) == labels[held])
    for digit in range(10):
        drop = found.held_back.score_of(always(digit)).drop
        assert drop == pytest.approx(right - np.mean(labels[held] == digit))
    assert calibrated(model, saved(tmp_path, images)).held_back.labels is None


def test_folders_of_pictures_label_themselves_where_a_drop_is_asked_for(model, tmp_path):
    image = pytest.importorskip("PIL.Image")
    images, labels = digits()[0][:32], digits()[1][:32]
    for index, (picture, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "pictures" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray((picture[0] * 255).astype(np.uint8)).save(folder / f"{index:02}.png")
    (tmp_path / "r.toml").write_text(
        '[preprocess]\nkind = "image"\ninput = "image"\nresize = 8\ncrop = 8\ncolour = "GRAY"\n'
        "mean = [0.0]\nstd = [255.0]\n"
    )
    asked = {"recipe": str(tmp_path / "r.toml"), "wanted": Wanted({"image": 1})}
    found = calibrated(model, str(tmp_path / "pictures"), max_drop=0.0, **asked)
    assert found.held_back.labels.tolist() == sorted(labels.tolist())
    assert found.held_back.samples == 16
    assert found.table.data == f"32 pictures of {tmp_path / 'pictures'}"
    assert calibrated(model, str(tmp_path / "pictures"), **asked).held_back.labels is None


def test_what_is_doubtful_is_in_the_table(model, tmp_path):
    data = saved(tmp_path, np.full((20, 1, 8, 8), 0.5, np.float32))
    assert calibrated(model, data).table.warnings == ("input 'image' is 0.5 in every sample",)
    assert read_table(interrupted(model, data, tmp_path, 2), digest(model)).warnings == ()


def test_whatever_fails_lets_go_of_what_was_held_back(model, tmp_path, monkeypatch):
    closed: list[int] = []
    original = HeldBack.close

    def closing(self: HeldBack) -> None:
        closed.append(self.samples)
        original(self)

    monkeypatch.setattr(HeldBack, "close", closing)
    images = digits()[0][:48].copy()
    data = saved(tmp_path, images)
    interrupted(model, data, tmp_path, 5)
    assert closed == [4]
    (tmp_path / "r.toml").write_text(
        '[preprocess]\nkind = "image"\ninput = "image"\nresize = 8\ncrop = 8\ncolour = "GRAY"\n'
        "mean = [0.0]\nstd = [255.0]\n"
    )
    with pytest.raises(DataError, match="these values went through another one"):
        calibrated(model, saved(tmp_path, images * 255, "raw.npz"), recipe=str(tmp_path / "r.toml"))
    assert closed == [4, 12]
    broken = graph([node("Log", "image", "logits")], [value("image", "batch", 1, 8, 8)], ["logits"], {})
    with pytest.raises(QuantizeError, match="NaN or Inf"):
        calibrated(broken, data, Wanted({"logits": 1}))
    assert closed == [4, 12, 0]


def test_where_only_weights_are_quantized_the_data_are_looked_at_all_the_same(model, tmp_path):
    found = calibrated(model, saved(tmp_path, digits()[0][:48]), Wanted({}), method="max")
    assert (found.table.samples, found.table.statistics.tensors) == (48, {})


def test_progress_is_told(model, tmp_path, feed):
    told: list[tuple[str, int, int]] = []
    calibrated(model, saved(tmp_path, digits()[0][:48]), progress=lambda *said: told.append(said))
    calibrated(model, feed(digits()[0][:48]), progress=lambda *said: told.append(said))
    assert told == [("calibrating", 4 * (batch + 1), total) for total in (48, 0) for batch in range(12)]


def test_the_shares_are_what_the_words_say():
    """The numbers above follow from these."""
    assert (calibration._HELD_SHARE, calibration._HELD_MOST, calibration._HELD_FROM) == (4, 64, 16)
