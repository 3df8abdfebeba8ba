"""ONNX passes, one a file: `(model) -> PassResult(model, modified)`."""

from __future__ import annotations

from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class PassResult:
    """The model after a pass (the same object where nothing changed) and what the user should hear of it."""

    model: onnx.ModelProto
    modified: bool
    notes: tuple[str, ...] = ()
