"""Standard output and standard error that do not take what is written."""

from __future__ import annotations

import os
from typing import TextIO


def drop(stream: TextIO) -> None:
    """Let what a broken stream still holds go nowhere: Python would try again at its end, and fail in its own words."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
