"""Nested arguments and results, such as a state (h, c), as single tensors with names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, leaf) of every leaf of tuples, lists and dicts, in torch.export's order.

    The leaves of a dict are called as their keys, those of a named tuple as its fields, of others by their index, each
    behind the name of what holds them: `hx_0`.
    """
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (tuple, list)):
        items = list(zip(getattr(value, "_fields", map(str, range(len(value)))), value, strict=True))
    else:
        yield name, value
        return
    for key, item in items:
        yield from leaves(item, f"{name}_{key}" if name else key)


class Flat(torch.nn.Module):
    """`module` with the nested arguments of its forward as one tensor each, in the order of `leaves`."""

    def __init__(self, module: torch.nn.Module, examples: dict[str, Any]) -> None:
        super().__init__()
        self.module = module
        self._examples = examples
        self.training = module.training

    def forward(self, **tensors: torch.Tensor) -> Any:
        """Call the module with what its forward expects."""
        return self.module(**_rebuilt(self._examples, iter(tensors.values())))


def flat(module: torch.nn.Module, examples: dict[str, Any]) -> Flat:
    """A Flat whose class has the module's name: messages are about the user's module."""
    kind: type[Flat] = type(type(module).__name__, (Flat,), {})
    return kind(module, examples)


def _rebuilt(like: Any, tensors: Iterator[torch.Tensor]) -> Any:
    if isinstance(like, dict):
        return {key: _rebuilt(item, tensors) for key, item in like.items()}
    if isinstance(like, (tuple, list)):
        parts = [_rebuilt(item, tensors) for item in like]
        return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)
    return next(tensors)
