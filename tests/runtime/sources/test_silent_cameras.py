"""A camera that takes the connect and then says no more, at each step of RTSP: nobody waits longer than was meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

av = pytest.importorskip("av")

from edgekit.runtime.loop import StreamLoop  # noqa: E402
from edgekit.runtime.sources import Reconnecting, SourceLost, open_source  # noqa: E402
from tests.runtime.loop.cameras import number_of  # noqa: E402
from tests.runtime.sources.clips import difference, moving, until_lost, write_video  # noqa: E402
from tests.runtime.sources.rtsp import Camera  # noqa: E402

PATIENCE_S = 60  # far more than a busy machine takes, far less than what would hang


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    options = {"tune": "zerolatency", "g": "5", "crf": "14", "preset": "ultrafast"}
    return write_video(tmp_path_factory.mktemp("silent") / "c.ts", moving(20), options=options).read_bytes()


def wait_for(true, what: str) -> None:
    end_s = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.005)


@pytest.mark.parametrize("step", ["OPTIONS", "DESCRIBE", "PLAY"])
def test_a_connect_that_hangs_is_lost_after_its_timeout(step):
    with Camera(step) as camera:
        begun_s = time.monotonic()
        with pytest.raises(
            SourceLost, match=rf"a stream at {camera.address}, found nothing for 0.4 s; next: #timeout_s=1.6 "
        ):
            open_source(f"{camera.address}#timeout_s=0.4")
        assert 0.35 < time.monotonic() - begun_s < 4  # it would hang for 30 s
        assert camera.asked[-1] == step


def test_an_answer_that_comes_byte_by_byte_does_not_stretch_the_timeout():
    with Camera("ALL", drip_s=0.2) as camera:
        begun_s = time.monotonic()
        with pytest.raises(SourceLost, match=r"found nothing for 0\.5 s"):
            open_source(f"{camera.address}#timeout_s=0.5")
        assert time.monotonic() - begun_s < 5


def test_silence_behind_the_first_packets_is_a_loss(clip):
    with Camera("ALL", clip) as camera:
        frames, lost = until_lost(open_source(f"{camera.address}#timeout_s=0.4"))
    assert 15 <= len(frames) <= 20
    assert difference(frames[0].data, moving(1)[0]) < 7
    assert str(lost) == f"expected data of {camera.address}, found none for 0.4 s"


def test_a_loop_ends_at_once_while_its_camera_is_being_opened():
    with Camera("OPTIONS") as camera:
        text = f"{camera.address}#timeout_s=600"
        loop = StreamLoop(Reconnecting(lambda: open_source(text), name="front"), number_of)
        reports: list = []
        thread = threading.Thread(target=lambda: reports.append(loop.run()))
        thread.start()
        wait_for(lambda: camera.asked, "the camera to be asked")
        loop.stop()
        thread.join(PATIENCE_S)
        (report,) = reports
    assert (report.ended, report.event_counts) == ("stopped", {}), "no source hangs"


def test_what_is_opened_after_the_end_is_closed():
    closed, may_open = threading.Event(), threading.Event()

    class Late:
        name, rate = "late", None

        def close(self) -> None:
            closed.set()

    def opens() -> Late:
        asked.set()
        assert may_open.wait(30)
        return Late()

    asked = threading.Event()
    source = Reconnecting(opens, name="late")
    found: list = []
    thread = threading.Thread(target=lambda: found.extend(source.frames()))
    thread.start()
    assert asked.wait(30)
    source.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not closed.is_set()
    may_open.set()
    assert closed.wait(30)
    assert found == []


@pytest.mark.parametrize("name", ["", "front"])
def test_ctrl_c_is_heard_at_once_while_a_camera_is_being_opened(name, tmp_path):
    script = tmp_path / "app.py"
    script.write_text(
        "import sys\n"
        "from edgekit.runtime.loop import StreamLoop\n"
        "from edgekit.runtime.sources import Reconnecting, open_source\n"
        f"source = Reconnecting(lambda: open_source(sys.argv[1]), name={name!r})\n"
        "loop = StreamLoop(source, lambda frames: frames)\n"
        "with loop.signals():\n"
        "    print(loop.run().ended)\n"
    )
    with Camera("OPTIONS") as camera:
        command = [sys.executable, str(script), f"{camera.address}#timeout_s=600"]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        app = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        try:
            wait_for(lambda: camera.asked, "the camera to be asked")
            app.send_signal(signal.SIGINT)
            out, err = app.communicate(timeout=PATIENCE_S)
        finally:
            app.kill()
    assert (out, "KeyboardInterrupt" in err) == (("SIGINT\n", False) if name else ("", True))
