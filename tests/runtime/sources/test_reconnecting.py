"""Opening again what was lost: with sources that fail as they are told to, and a clock that only pauses move."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from edgekit.errors import DataError, ShapeError, TargetError, UsageError
from edgekit.runtime.sources import Backoff, Frame, Reconnecting, SourceLost

GONE = SourceLost("gone")


class Fake:
    """Gives frames of these numbers, then raises `error`, or ends where that is None."""

    name, rate = "camera:0", 30.0

    def __init__(self, numbers: tuple[int, ...] = (), error: BaseException | None = GONE) -> None:
        self.numbers, self.error, self.closed = numbers, error, 0

    def frames(self) -> Iterator[Frame]:
        for number in self.numbers:
            yield Frame(np.zeros(1), 7, number, self.name)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


class World:
    """Opens the next of `sources`, where an error stands for an opening that fails; its clock moves by pauses alone."""

    def __init__(self, *sources: Fake | Exception) -> None:
        self.sources, self.opened, self.now_s, self.pauses, self.heard = list(sources), [], 100.0, [], []

    def open(self) -> Fake:
        source = self.sources.pop(0)
        if isinstance(source, Exception):
            raise source
        self.opened.append(source)
        return source

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def camera(self, **options) -> Reconnecting:
        options = {"backoff": Backoff(seed=1), **options}
        source = Reconnecting(self.open, sleep=self.sleep, clock=lambda: self.now_s, **options)
        source.listen(lambda kind, message: self.heard.append((kind, message)))
        return source


def numbers(source: Reconnecting) -> list[int]:
    return [frame.number for frame in source.frames()]


def test_numbers_go_on_behind_a_hole_and_keep_the_holes_of_the_source():
    world = World(Fake((0, 1, 4)), Fake((0, 2)), Fake((1, 2), None))
    source = world.camera()
    assert numbers(source) == [0, 1, 4, 6, 8, 11, 12]
    kinds = ["lost", "back", "lost", "back"]
    assert (source.losses, [kind for kind, _ in world.heard], source.connected) == (2, kinds, True)
    assert world.heard[0] == ("lost", str(GONE))
    assert [fake.closed for fake in world.opened] == [1, 1, 0]
    assert (source.name, source.rate) == ("camera:0", 30.0)


def test_a_loss_before_the_first_frame_leaves_a_hole_too():
    assert numbers(World(Fake(), Fake((0, 1), None)).camera()) == [1, 2]


def test_frames_before_a_loss_are_those_of_the_source_itself():
    world = World(Fake((0, 3), None))
    assert [(frame.number, frame.captured_ns, frame.source) for frame in world.camera().frames()] == [
        (0, 7, "camera:0"),
        (3, 7, "camera:0"),
    ]


def test_attempts_come_less_and_less_often_and_are_one_loss():
    world = World(
        Fake((0,)), *[TargetError("no /dev/video0"), DataError("no stream"), OSError("no route")] * 3, Fake((0,))
    )
    source = world.camera(backoff=Backoff(first_s=0.5, most_s=30, seed=1))
    assert list(islice(source.frames(), 2))[1].number == 2
    limits = np.array([0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30])
    assert (np.array(world.pauses) <= limits).all()
    assert (np.array(world.pauses) >= limits / 2).all()
    assert len(set(world.pauses / limits)) == 10  # drawn
    assert (source.losses, world.heard[0]) == (1, ("lost", str(GONE)))


def test_after_a_frame_the_pauses_begin_small_again():
    world = World(Fake((0,)), *[GONE] * 5, Fake((0,)), Fake((0,), None))
    list(world.camera().frames())
    assert len(world.pauses) == 7
    assert world.pauses[5] > 8
    assert world.pauses[6] <= 0.5


def test_a_source_that_opens_and_gives_nothing_does_not_begin_the_pauses_again():
    world = World(Fake((0,)), *[Fake() for _ in range(6)], Fake((0,), None))
    source = world.camera()
    assert numbers(source) == [0, 2]
    assert world.pauses[6] > 15
    assert source.losses == 1


def test_the_draws_repeat_with_a_seed_and_differ_without():
    assert list(islice(Backoff(seed=3).waits(), 9)) == list(islice(Backoff(seed=3).waits(), 9))
    assert list(islice(Backoff().waits(), 9)) != list(islice(Backoff().waits(), 9))


def test_it_gives_up_when_nothing_came_for_so_long():
    world = World(Fake((0,)), *[SourceLost(f"attempt {index}") for index in range(99)])
    source = world.camera(give_up_s=60)
    with pytest.raises(SourceLost, match=r"expected camera:0 to come back within 60 s, found: attempt \d+"):
        numbers(source)
    assert 60 <= world.now_s - 100 < 60 + 30


def test_giving_up_counts_from_the_last_frame_and_not_from_the_beginning():
    world = World(Fake((0, 1, 2)), GONE, Fake((0,), None))
    source = world.camera(give_up_s=60)
    for _ in source.frames():
        world.now_s += 50
    assert source.losses == 1


def test_the_first_opening_is_not_tried_again():
    with pytest.raises(TargetError, match="no /dev/video0"):
        World(TargetError("no /dev/video0")).camera()


def test_what_is_wrong_with_the_program_is_not_tried_again():
    with pytest.raises(ShapeError):
        numbers(World(Fake((0,), ShapeError("a bug"))).camera())


def test_an_error_of_the_system_is_heard_as_a_loss():
    world = World(Fake((0,), OSError("unplugged")), Fake((0,), None))
    numbers(world.camera())
    assert world.heard[0] == ("lost", "unplugged")


def test_closing_ends_a_pause_soon():
    source = Reconnecting(iter([Fake((0,))]).__next__, backoff=Backoff(first_s=60, most_s=60))
    threading.Timer(0.05, source.close).start()
    begun = time.perf_counter()
    assert numbers(source) == [0]
    assert time.perf_counter() - begun < 1
    source.close()


def test_closing_closes_the_source_that_is_open_and_its_loss_is_none():
    world = World(Fake((0, 1)))
    source = world.camera()
    frames = source.frames()
    next(frames)
    source.close()
    assert world.opened[0].closed == 1
    assert [frame.number for frame in frames] == [1]  # the fake's own
    assert (source.losses, world.heard) == (0, [])


def test_a_source_that_opens_while_it_is_closed_is_closed_too():
    world = World(Fake((0,)), Fake((), None))
    source = world.camera()
    opening, world.open = world.open, None

    def slow() -> Fake:
        fake = opening()
        source.close()  # as another thread may
        return fake

    source._open = slow
    assert numbers(source) == [0]
    end_s = time.monotonic() + 30
    while not world.opened[1].closed:  # by the thread that opened it
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_with_a_name_a_camera_may_come_up_later_than_the_robot():
    world = World(TargetError("expected a camera, found none"), TargetError("still none"), Fake((0, 1), None))
    source = world.camera(name="camera:0")
    assert (source.name, source.rate, world.opened) == ("camera:0", None, [])
    assert numbers(source) == [1, 2], "nobody knows what was missed"
    assert [kind for kind, _ in world.heard] == ["lost", "back"]
    assert world.heard[0][1] == "not seen yet: expected a camera, found none"
    assert len(world.pauses) == 2


def missing_package() -> TargetError:
    error = TargetError("expected PyAV for video, found none")
    error.__cause__ = ImportError()
    return error


@pytest.mark.parametrize("error", [UsageError("no such scheme"), DataError("no such file"), missing_package()])
def test_what_waiting_does_not_cure_is_not_tried_again(error):
    world = World(error, Fake((0,), None))
    with pytest.raises(type(error), match=str(error)):
        numbers(world.camera(name="camera:0"))
    assert (world.pauses, world.heard) == ([], [])


def test_an_error_of_data_behind_a_frame_is_a_loss():
    world = World(Fake((0,), DataError("cut off")), Fake((0,), None))
    assert numbers(world.camera(name="camera:0")) == [0, 2]


def test_a_name_is_shown_without_its_password():
    assert World().camera(name="rtsp://me:secret@camera/1").name == "rtsp://camera/1"
