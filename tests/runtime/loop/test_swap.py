"""Another network takes over while the loop runs: what is refused, kept or undone, and that no frame suffers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgekit.bundle import verify  # noqa: E402
from edgekit.errors import DataError, SessionError, UsageError  # noqa: E402
from edgekit.runtime import Session  # noqa: E402
from edgekit.runtime.choice import Choice  # noqa: E402
from edgekit.runtime.loop import Golden, Policy, StreamLoop  # noqa: E402
from edgekit.runtime.opening import Opened  # noqa: E402
from edgekit.specs import Stream  # noqa: E402
from tests.runtime.fakes import Doubler, Failing  # noqa: E402
from tests.runtime.loop.cameras import Scripted, frame, number_of  # noqa: E402
from tests.runtime.small_streams import bundle_of, running_sum  # noqa: E402

FIFO = Policy(buffer="fifo", capacity=100)
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)


class Recorded(Doubler):
    """Remembers which thread did what."""

    def __init__(self):
        super().__init__()
        self.threads = []

    def let_go(self):
        self.threads.append(("let go", threading.get_ident()))

    def take(self):
        self.threads.append(("take", threading.get_ident()))

    def close(self):
        super().close()
        self.threads.append(("close", threading.get_ident()))


class Trebler(Recorded):
    """Another network: three times as much; after `good` answers NaN."""

    def __init__(self, good: int = 1 << 30):
        super().__init__()
        self.left = good

    def enqueue(self, *, step=False):
        super().enqueue()
        self.left -= 1
        self.arrays["logits"] *= 1.5 if self.left >= 0 else np.nan


@pytest.fixture
def scene(small_bundle):
    """`scene.session(backend)`, and a loop that is fed frame by frame: `scene.answers(2)` are the next two."""
    return Scene(small_bundle)


class Scene:
    def __init__(self, bundle):
        self.bundle = bundle
        self.source = Scripted(ends=False)
        self.seen, self.changed = [], threading.Condition()
        self.fed = 0

    def session(self, backend) -> Session:
        return Session(Opened(verify(self.bundle), Choice(backend.name, None, "a test"), backend, None))

    def opens(self, backend):
        return lambda: self.session(backend)

    def sink(self, item):
        with self.changed:
            self.seen.append(item)
            self.changed.notify_all()

    def run(self, backend, policy=FIFO, work=None):
        """The loop in a thread of its own, which owns the session as an app's main thread does."""
        begun = threading.Event()

        def body():
            with self.session(backend) as session:
                self.loop = StreamLoop(self.source, work or session, self.sink, policy)
                begun.set()
                self.report = self.loop.run()

        self.thread = threading.Thread(target=body, daemon=True)
        self.thread.start()
        assert begun.wait(30)
        return self.loop

    def answers(self, count: int) -> list[float]:
        """Feed so many frames; how many times the picture each answer is, or what else it is."""
        first = len(self.seen)
        for _ in range(count):
            self.source.give(frame(self.fed, "front", IMAGES))
            self.fed += 1
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= first + count, 30)
        factors = []
        for item in self.seen[first : first + count]:
            ratios = item.answer["logits"] / IMAGES.reshape(-1)[:5]
            factors.append(round(float(ratios[0]), 4) if np.ptp(ratios) < 1e-3 else "mixed")
        return factors

    def end(self):
        self.source.close()
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.report.captured == self.report.processed + self.report.dropped
        return self.report

    def until_waiting(self, swap):
        """Until it is loaded, or refused."""
        for thread in list(self.loop._work._threads):
            thread.join(30)
        assert swap.state in ("loading", "refused")


def kinds(report) -> list[str]:
    return [event.kind for event in report.events]


def test_after_a_good_trial_the_new_network_stays_and_the_old_one_is_closed_once(scene):
    old, new = Recorded(), Trebler()
    loop = scene.run(old)
    assert scene.answers(2) == [2, 2]
    swap = loop.swap(scene.opens(new), trial=3)
    scene.until_waiting(swap)
    assert scene.answers(2) == [3, 3]
    assert (swap.state, swap.wait(0)) == ("trial", False)
    assert scene.answers(1) == [3]
    assert swap.wait(30)
    assert swap.state == "kept"
    for thread in list(loop._work._threads):
        thread.join(30)
    assert old.closed == 1, "and not again when the app leaves its `with`"
    assert scene.answers(2) == [3, 3]
    report = scene.end()
    assert kinds(report) == ["swapped", "swap kept"]
    assert (report.processed, report.bad, report.held) == (7, 0, 0)
    assert (report.health["backend"], report.health["state"]) == ("fake", "ready"), "as it was before it was closed"
    assert new.closed == 1
    loader, looper = new.threads[0][1], new.threads[1][1]
    (given_up, first), (taken, second), (closed, third) = old.threads
    assert (given_up, taken, closed) == ("let go", "take", "close")
    assert first == looper != second == third, "to close an engine takes longer than a frame"
    assert [step for step, _ in new.threads] == ["let go", "take", "close"]
    assert loader != looper == new.threads[2][1]


@pytest.mark.parametrize("failure", ["nan", "error"])
def test_a_bad_answer_in_the_trial_brings_the_old_one_back_for_that_very_frame(scene, failure):
    warm = 10
    new = Trebler(good=warm + 2) if failure == "nan" else Failing(warm + 2)
    factor = 3 if failure == "nan" else 2
    loop = scene.run(Doubler())
    swap = loop.swap(scene.opens(new), trial=5)
    scene.until_waiting(swap)
    assert scene.answers(4) == [factor, factor, 2, 2]
    assert swap.wait(30)
    assert swap.state == "undone"
    assert swap.reason.startswith("NaN or infinity" if failure == "nan" else "the GPU reported")
    report = scene.end()
    assert kinds(report) == ["swapped", "swap undone"]
    assert (report.processed, report.bad, report.held) == (4, 0, 0)
    assert new.closed == 1


def test_a_second_swap_waits_for_the_first_and_may_follow_one_that_was_undone(scene):
    loop = scene.run(Doubler())
    gate = threading.Event()

    def opens():
        gate.wait(30)
        raise SessionError("expected a bundle, found none")

    swap = loop.swap(opens)
    with pytest.raises(UsageError, match="found one with a swap under way"):
        loop.swap(scene.opens(Trebler()))
    gate.set()
    assert swap.wait(30)
    assert (swap.state, swap.reason) == ("refused", "expected a bundle, found none")
    second = loop.swap(scene.opens(Trebler()), trial=1)
    scene.until_waiting(second)
    assert scene.answers(2) == [3, 3]
    third = loop.swap(scene.opens(Trebler()), trial=1)
    scene.until_waiting(third)
    scene.answers(1)
    report = scene.end()
    assert kinds(report) == ["swap refused", *["swapped", "swap kept"] * 2]
    with pytest.raises(UsageError, match="found one that has ended"):
        loop.swap(scene.opens(Trebler()))


def golden(session) -> Golden:
    return Golden.of(session, {"image": np.stack([IMAGES])})


def test_a_golden_input_refuses_another_network_and_takes_the_same(scene):
    with scene.session(Doubler()) as session:
        wanted = golden(session)
    loop = scene.run(Doubler())
    other = Trebler()
    swap = loop.swap(scene.opens(other), wanted)
    assert swap.wait(30)
    assert (swap.state, other.closed) == ("refused", 1)
    # 1.5 times what it should be: 20 log10(1 / 0.5) dB
    assert swap.reason == "golden input: expected logits within 20 dB of what it should be, found 6.0 dB"
    same = loop.swap(scene.opens(Doubler()), wanted, trial=1)
    scene.until_waiting(same)
    assert scene.answers(1) == [2]
    assert kinds(scene.end()) == ["swap refused", "swapped", "swap kept"]


def test_one_that_is_slower_than_the_deadline_is_refused(scene):
    class Slow(Doubler):
        def synchronise(self, timeout_s):
            return not threading.Event().wait(0.03)

    loop = scene.run(Doubler(), Policy(deadline_ms=20))
    swap = loop.swap(scene.opens(Slow()))
    assert swap.wait(30)
    assert swap.reason.startswith("expected an inference within the deadline of 20 ms, found 3")
    scene.end()


def test_whatever_opening_and_checking_raise_refuses_and_closes(scene):
    loop = scene.run(Doubler())
    opened = Doubler()
    for opens, check, said in (
        (lambda: 1 / 0, None, "ZeroDivisionError: division by zero"),
        (scene.opens(opened), lambda session: [][0], "IndexError: list index out of range"),
    ):
        swap = loop.swap(opens, check)
        assert swap.wait(30)
        assert (swap.state, swap.reason) == ("refused", said)
    assert opened.closed == 1
    assert scene.answers(1) == [2]
    assert scene.end().event_counts == {"swap refused": 2}


@pytest.mark.parametrize("moment", ["loading", "waiting", "trial"])
def test_a_loop_that_ends_meanwhile_closes_what_it_opened(scene, moment):
    new, gate = Trebler(), threading.Event()
    loop = scene.run(Doubler())

    def opens():
        gate.wait(30)
        return scene.session(new)

    swap = loop.swap(opens)
    if moment != "loading":
        gate.set()
        scene.until_waiting(swap)
    if moment == "trial":
        assert scene.answers(1) == [3]
    scene.source.close()
    gate.set()
    report = scene.end()
    assert (swap.state, swap.reason) == ("undone" if moment == "trial" else "refused", "the loop ended")
    assert new.closed == 1
    assert report.health["backend"] == "fake"


def test_a_loop_that_ends_in_a_trial_closes_what_an_earlier_swap_brought_too(scene):
    old, first, second = Recorded(), Trebler(), Trebler()
    loop = scene.run(old)
    for backend, trial in ((first, 1), (second, 100)):
        scene.until_waiting(loop.swap(scene.opens(backend), trial=trial))
        assert scene.answers(1) == [3]
    scene.end()
    assert [backend.closed for backend in (old, first, second)] == [1, 1, 1]


def test_a_function_cannot_be_swapped_and_a_trial_is_at_least_one_turn(scene):
    loop = StreamLoop(Scripted(0), number_of)
    with pytest.raises(UsageError, match="expected a loop whose work is a Session"):
        loop.swap(scene.opens(Trebler()))
    with scene.session(Doubler()) as session, pytest.raises(UsageError, match="trial of at least 1"):
        StreamLoop(Scripted(0), session).swap(scene.opens(Trebler()), trial=0)


@pytest.mark.parametrize(("trial", "state"), [(2, "kept"), (100, "undone")])
def test_a_network_with_states_begins_anew_and_all_resets_are_counted(tmp_path, trial, state):
    ranges = {"batch": (1, 1, 4), "time": (1, 1, 8)}
    bundle = bundle_of(running_sum(), tmp_path, Stream(("total=total_out",)), ranges)
    step = np.ones((1, 2), np.float32)
    seen, swap = [], None
    numbers = (0, 1, 3, 4, 5, 7, 8)  # two gaps, one before the swap and one after it
    source = Scripted(*(frame(number, "front", step) for number in numbers))

    def sink(item):
        nonlocal swap
        seen.append(float(item.answer["y"][0, 0]))
        if item.frame.number == 3:
            swap = loop.swap(lambda: Session.open(bundle, "ort"), trial=trial)
            for thread in list(loop._work._threads):
                thread.join(30)

    with Session.open(bundle, "ort") as session:
        loop = StreamLoop(source, session, sink, FIFO)
        report = loop.run()
    # y is the sum so far plus ten times x; the new network has seen nothing before frame 4
    assert seen == [11, 12, 11, 11, 12, 11, 12]
    assert (swap.state, report.resets) == (state, 2)


def test_a_session_that_falls_back_to_another_backend_is_an_event(small_bundle):
    opened = Opened(verify(small_bundle), Choice("failing", None, "a test"), Failing(2), Doubler)
    source = Scripted(*(frame(number, "front", IMAGES) for number in range(4)))
    with Session(opened) as session:
        report = StreamLoop(source, session, (), FIFO).run()
    (event,) = report.events
    assert (event.kind, report.bad, report.health["state"]) == ("fallback", 0, "degraded")
    assert event.message == "failing failed: the GPU reported: an illegal address; fake took over"


def test_a_golden_input_is_saved_and_read_again(scene, tmp_path):
    with scene.session(Doubler()) as session:
        wanted = golden(session)
        wanted.save(tmp_path / "golden.npz")
        read = Golden.load(tmp_path / "golden.npz", sqnr_db=40)
        assert (read.inputs.keys(), read.sqnr_db) == ({"image"}, 40)
        np.testing.assert_array_equal(read.outputs["logits"], 2 * IMAGES.reshape(1, -1)[:, :5])
        read(session)
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", image=IMAGES)
    for name, said in (
        ("none.npz", "expected arrays at .*, found: .*No such file"),
        ("text.npz", "expected arrays at .*, found: "),
        ("other.npz", "expected arrays of inputs/… and of outputs/…, found image"),
    ):
        with pytest.raises(DataError, match=said):
            Golden.load(tmp_path / name)


def test_a_golden_output_of_another_shape_or_name_is_refused(scene):
    with scene.session(Doubler()) as session:
        for outputs, said in (
            ({"logits": np.zeros((1, 4), np.float32)}, r"expected logits as float32\[1, 4\], found float32\[1, 5\]"),
            ({"boxes": np.zeros(3, np.float32)}, "expected boxes as .*, found none of this name"),
        ):
            with pytest.raises(SessionError, match=said):
                Golden({"image": np.stack([IMAGES])}, outputs)(session)
