"""The cases that the onnx package keeps to test backends with: models, inputs and stored outputs."""

from __future__ import annotations

import functools
import warnings
from typing import Any


@functools.cache
def stored_cases() -> dict[str, Any]:
    """Every case with a model, by its name. Making those of some operators overflows on purpose, and warns."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in collect_testcases(None) if case.model is not None}
