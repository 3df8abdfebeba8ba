"""What happens in another thread than the main one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def elsewhere(call: Callable[[], object]) -> object:
    """What it returns there, or raises."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()
