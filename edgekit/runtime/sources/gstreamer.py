"""A GStreamer pipeline, through an OpenCV that was built with it: the one of JetPack is, those of PyPI are not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgekit.errors import TargetError, UsageError
from edgekit.runtime.backend import Array
from edgekit.runtime.sources.frame import SourceLost
from edgekit.runtime.sources.names import shown


class Pipeline:
    """An open Device of a pipeline that ends in appsink and gives BGR, as OpenCV expects.

    Raises UsageError for a text that does not end so, TargetError where OpenCV or its GStreamer is missing, SourceLost
    for a pipeline that does not start.
    """

    def __init__(self, text: str) -> None:
        if not text.split("!")[-1].split()[:1] == ["appsink"]:
            raise UsageError(
                f"expected a pipeline that ends in appsink, found {shown(f'gst:{text}')}", "… ! videoconvert ! appsink"
            )
        self._name = shown(f"gst:{text}")
        self._cv2 = _opencv()
        self._capture = self._cv2.VideoCapture(text, self._cv2.CAP_GSTREAMER)
        if not self._capture.isOpened():
            raise SourceLost(
                f"expected a pipeline that starts, found that {self._name} does not", "the same with gst-launch-1.0 -v"
            )
        self.rate: float | None = self._capture.get(self._cv2.CAP_PROP_FPS) or None

    def read(self) -> Iterator[tuple[Array | None, int]]:
        """uint8 [H,W,3] RGB."""
        while True:
            there, picture = self._capture.read()
            now = time.perf_counter_ns()
            if not there:
                raise SourceLost(f"expected frames of the pipeline {self._name}, found its end")
            yield self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB, dst=picture), now

    def close(self) -> None:
        """By the thread that reads."""
        self._capture.release()


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise TargetError("expected OpenCV for a GStreamer pipeline, found none", "OpenCV of JetPack") from error
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise TargetError(
            "expected an OpenCV built with GStreamer, found one without, as PyPI's are",
            "OpenCV of JetPack, or rtsp://…",
        )
    return cv2
