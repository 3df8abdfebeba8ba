"""MODEL on the command line -> a torch module with example inputs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekit.errors import ModelError, UsageError, nearest
from edgekit.models import ARCHITECTURES
from edgekit.models.network import Network

_FORMS = "an architecture's name, module:callable or path/file.py:callable"


def load_network(model: str, weights: Path | None) -> Network:
    """Build the network that `model` names and load `weights` into it; the module is in eval mode.

    Raises ModelError (the nearest architecture is named) or UsageError for an ONNX file.
    """
    if model in ARCHITECTURES:
        network: Network = _import(ARCHITECTURES[model].builder)()
    elif model.endswith(".onnx"):
        raise UsageError(f"expected {_FORMS}, found the ONNX file {model}", "edgekit build-engine, or edgekit deploy")
    elif ":" in model:
        network = _users_network(model)
    else:
        raise ModelError(
            f"expected {_FORMS}, found {model!r}; {nearest(model, ARCHITECTURES)}", "edgekit export --list"
        )
    if weights is not None:
        _load_weights(network.module, weights)
        network = Network(**{**network.__dict__, "trained": True})
    network.module.eval().requires_grad_(False)
    return network


def _users_network(model: str) -> Network:
    """Call a user's function; it returns (torch module, dict of example inputs) or a Network."""
    make = _import(model)
    try:
        made = make()
    except (Exception, SystemExit) as error:  # a training script may end in sys.exit()
        raise ModelError(f"expected {model} to return a module, found {type(error).__name__}: {error}") from error
    if isinstance(made, Network):
        return made
    if not (isinstance(made, tuple) and len(made) == 2):
        raise ModelError(f"expected {model} to return (torch module, dict of example inputs), found {_kind(made)}")
    module, examples = made
    if not isinstance(module, torch.nn.Module) or not isinstance(examples, dict) or not examples:
        raise ModelError(
            f"expected {model} to return (torch module, dict of example inputs), "
            f"found ({_kind(module)}, {_kind(examples)})"
        )
    tensors = {str(name): _tensor(model, name, value) for name, value in examples.items()}
    return Network(module, _in_forwards_order(model, module, tensors))


def _in_forwards_order(
    model: str, module: torch.nn.Module, examples: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Sort the examples as forward declares them: torch's exporter names axes by position."""
    arguments = list(inspect.signature(module.forward).parameters)
    for name in examples:
        if name not in arguments:
            raise ModelError(
                f"{model}: expected example inputs named as the arguments of {_kind(module)}.forward, "
                f"found {name!r}; {nearest(name, arguments)}"
            )
    return {name: examples[name] for name in arguments if name in examples}


def _tensor(model: str, name: str, value: Any) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or value.shape[0] == 0:
        raise ModelError(f"{model}: expected example {name!r} as a tensor with batch axis 0, found {_kind(value)}")
    return value.detach()


def _import(path: str) -> Callable[[], Any]:
    """Import `module:name` or `path/file.py:name` and return the callable."""
    where, _, name = path.rpartition(":")
    try:
        module = _import_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (Exception, SystemExit) as error:
        raise ModelError(f"expected to import {where}, found {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        callables = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f"expected a callable {name!r} in {where}, found none; {nearest(name, callables)}")
    made: Callable[[], Any] = found
    return made


def _import_file(file: Path) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # As `python file.py` does: the file's own neighbours can be imported, and its classes can be found by name.
    sys.path.insert(0, str(file.parent.resolve()))
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def _load_weights(module: torch.nn.Module, file: Path) -> None:
    """Load a state dict from .safetensors or from a .pt that holds tensors only: nothing is unpickled into code."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        module.load_state_dict(state)
    except FileNotFoundError as error:
        raise ModelError(f"expected weights at {file}, found no such file") from error
    except Exception as error:  # a hostile or damaged file fails in many ways inside the readers
        raise ModelError(
            f"expected weights for {type(module).__name__} in {file}, found {type(error).__name__}: {str(error)[:300]}",
            "a .safetensors file, or torch.save(module.state_dict(), file)",
        ) from error


def _kind(value: Any) -> str:
    return type(value).__name__
