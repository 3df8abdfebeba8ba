"""Where frames come from: cameras, files, folders, microphones, and clocks for tests."""

from __future__ import annotations

from edgekit.runtime.sources.frame import Frame, Source, SourceLost
from edgekit.runtime.sources.opening import open_source
from edgekit.runtime.sources.reconnecting import Backoff, Reconnecting

__all__ = ["Backoff", "Frame", "Reconnecting", "Source", "SourceLost", "open_source"]
