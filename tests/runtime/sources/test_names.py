"""No password is in a name that is shown, wherever it stands; and what tells cameras apart still is."""

from __future__ import annotations

import io
import json
import logging
import sys
import types
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.runtime.loop import StreamLoop
from edgekit.runtime.loop.answers import AnswersFile
from edgekit.runtime.sources import Backoff, Reconnecting, open_source
from edgekit.runtime.sources.names import shown
from edgekit.runtime.web import LivePage
from tests.runtime.loop.cameras import number_of
from tests.runtime.web.pages import get

MARK = "Zq7"  # in every piece of a password, and in nothing else

PIECES = st.lists(st.sampled_from([*"@:/?#&;=%!._-+ $\"'\\[]{}|^~<>(),é", ""]), max_size=4)
PASSWORDS = PIECES.map(lambda between: MARK + "".join(sign + MARK for sign in between))
WRITTEN = st.tuples(PASSWORDS, st.sampled_from([str, quote, lambda text: quote(text, safe="")])).map(
    lambda pair: pair[1](pair[0])
)
ADDRESSES = st.sampled_from(
    [
        "rtsp://admin:{}@cam.local:554/live/1",
        "rtsp://{}@cam.local/live",
        "rtsp://{}:{}@cam.local/live@2?tcp",
        "RTSP://admin:{}@cam.local/x",
        "rtspx://admin:{}@cam.local",
        "rtsp:/admin:{}@cam.local/x",
        "admin:{}@cam.local/x",
        "http://cam.local/video?user=admin&password={}",
        "http://cam.local/video?user={}&pwd={}&channel=1",
        "cam.local/video?user=admin&password={}",
        "http://cam.local/video?a=1#token={}",
        "rtsp://cam.local:554/user=admin&password={}&channel=1&stream=0.sdp?real_stream",
        "rtsp://cam.local:554/user=admin_password={}_channel=1_stream=0.sdp",
        "http://cam.local/admin:{}/1;key={}",
        "camera:rtsp://admin:{}@cam.local",
        "synthetic:rtsp://admin:{}@cam.local",
        "microphone:rtsp://admin:{}@cam.local",
        "rtsp://admin:{}@cam.local/x#timeout_s=0",
        "rtsp://admin:x@127.0.0.1:1/x#timeout_s=abc{}",
    ]
)
# As gst-launch takes them, so that a space or a quote in one is quoted.
PIPELINES = st.sampled_from(
    [
        "gst:rtspsrc location=rtsp://u:{}@cam/x ! decodebin ! appsink",
        "gst:rtspsrc user-id=admin user-pw={} location=rtsp://cam/x ! decodebin ! appsink",
        "souphttpsrc location=http://cam/x?key={} cookies={} ! decodebin ! autovideosink",
        'gst:rtspsrc user-pw="{} ! decodebin ! appsink',
    ]
)


@given(ADDRESSES, WRITTEN)
@example("rtsp://admin:{}@cam.local/x", f"{MARK}@{MARK}")
@example("rtsp://admin:{}@cam.local/x", f"{MARK}/{MARK}")
def test_no_address_shows_its_password(form, password):
    assert MARK not in shown(form.replace("{}", password))


@given(PIPELINES, WRITTEN)
def test_no_pipeline_shows_its_password(form, password):
    whole = form.replace(
        "{}", password.replace("\\", r"\\").replace(" ", r"\ ").replace('"', r"\"").replace("'", r"\'")
    )
    assert MARK not in shown(whole)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rtsp://admin:p@s3cret@cam.local:554/live/1", "rtsp://cam.local:554/live/1"),
        ("rtsp://u:p@[fe80::1]:554/x", "rtsp://[fe80::1]:554/x"),
        ("rtsp://u:p@h/cam/realmonitor?channel=1&subtype=0", "rtsp://h/cam/realmonitor?channel=1&subtype=0"),
        ("http://h/x?channel=2&user=admin&password=s3cret", "http://h/x?channel=2&…"),
        ("http://h/x.mjpg#timeout_s=20", "http://h/x.mjpg"),
        ("rtsp://u:p/w@h/x", "rtsp://…/x"),
        ("rtsp://admin:s3cret", "rtsp://…"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("gst:v4l2src device=/dev/video2 ! appsink", "gst:v4l2src device=/dev/video2 ! appsink"),
        ("nvarguscamerasrc sensor-id=1 bufapi-version=1 ! appsink", "nvarguscamerasrc sensor-id=1 … ! appsink"),
        ("gst:rtspsrc location=rtsp://u:p@h/x user-pw=p ! appsink", "gst:rtspsrc location=rtsp://h/x … ! appsink"),
        ("camera:0:1280x720:mjpeg", "camera:0:1280x720:mjpeg"),
        ("camera:/dev/v4l/by-id/usb-A-1.0", "camera:/dev/v4l/by-id/usb-A-1.0"),
        ("/data/a@b/clip #2.mp4", "/data/a@b/clip #2.mp4"),
        ("microphone:hw:1,0", "microphone:hw:1,0"),
    ],
)  # fmt: skip
def test_what_tells_sources_apart_is_shown(name, said):
    assert shown(name) == said


def refused_by_opencv(monkeypatch) -> None:
    """An OpenCV with GStreamer, in which no pipeline starts."""
    module = types.ModuleType("cv2")
    module.CAP_GSTREAMER = 1800
    module.VideoCapture = lambda *given: types.SimpleNamespace(isOpened=lambda: False)
    module.videoio_registry = types.SimpleNamespace(hasBackend=lambda backend: True)
    monkeypatch.setitem(sys.modules, "cv2", module)


@pytest.mark.parametrize(
    "text",
    [
        f"rtsp://admin:{MARK}@{MARK}@127.0.0.1:1/x",
        f"rtsp://admin:{MARK}/{MARK}@127.0.0.1:1/x#timeout_s=1",
        f"http://127.0.0.1:1/x?user=admin&password={MARK}",
        f"rtspx://admin:{MARK}@127.0.0.1:1/x",
        f"admin:{MARK}@127.0.0.1:1/x",
        f"rtsp://admin:x@127.0.0.1:1/x#timeout_s={MARK}@",
        f"camera:rtsp://admin:{MARK}@127.0.0.1",
        f"synthetic:rtsp://admin:{MARK}@127.0.0.1",
        f"gst:rtspsrc location=rtsp://u:{MARK}@h user-pw={MARK} ! appsink",
        f"gst:rtspsrc location=rtsp://u:{MARK}@h user-pw={MARK} ! autovideosink",
    ],
)
def test_nothing_that_a_source_says_has_its_password(text, monkeypatch, tmp_path):
    """The error, its traceback, as -v and logging show it; events, reports, the page, answers and names of threads."""
    pytest.importorskip("av")
    refused_by_opencv(monkeypatch)
    heard = io.StringIO()
    log = logging.getLogger("sources")
    log.addHandler(logging.StreamHandler(heard))
    with pytest.raises(EdgekitError) as caught:
        open_source(text)
    log.error("in a traceback", exc_info=caught.value)
    assert "Traceback" in heard.getvalue()
    source = Reconnecting(lambda: open_source(text), name=text, backoff=Backoff(0.01, 0.01))
    with LivePage(0) as page, AnswersFile(tmp_path / "a.jsonl") as file:
        loop = StreamLoop(source, number_of, [file.write, page.sink], on_event=lambda event: print(event, file=heard))
        page.watch(loop)
        report = loop.run(seconds=0.3)
        state = get(page.port, "/state")[1].decode()
    assert report.events
    for said in (heard.getvalue(), json.dumps(report.to_json()), state, repr(source.name), str(loop.snapshot())):
        assert MARK not in said
