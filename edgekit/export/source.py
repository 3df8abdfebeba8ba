"""MODEL on the command line -> a torch module with example inputs."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch

from edgekit.errors import ModelError, UsageError, nearest
from edgekit.export.nesting import flat, leaves
from edgekit.models import ARCHITECTURES
from edgekit.models.network import Network
from edgekit.specs import from_table
from edgekit.usercode import call, load_callable

_FORMS = "an architecture's name, module:callable or path/file.py:callable"


def load_network(model: str, weights: Path | None, settings: tuple[str, ...] = ()) -> Network:
    """Build the network that `model` names, with `settings` of key=value, and load `weights`; it is in eval mode.

    Raises ModelError (the nearest architecture is named) or UsageError for an ONNX file.
    """
    if model in ARCHITECTURES:
        network = _architecture(model, settings)
    elif settings:
        raise UsageError(f"expected --set with an architecture's name, found {model}", "edgekit export --list")
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
        network = replace(network, trained=True)
    network.module.eval()
    for parameter in network.module.parameters():  # a ScriptModule has no requires_grad_
        parameter.requires_grad_(False)
    return _flattened(model, network)


def _architecture(model: str, settings: tuple[str, ...]) -> Network:
    """Call the builder; one with a `config` gets it from the preset and the settings."""
    entry = ARCHITECTURES[model]
    build: Any = load_callable(entry.builder, ModelError)
    kind = get_type_hints(build).get("config")
    if kind is None:
        if settings:
            raise UsageError(f"expected no --set for {model}, whose size is fixed, found {', '.join(settings)}")
        network: Network = build()
        return network
    given = dict(_setting(text) for text in settings)
    made: Network = build(from_table(kind, {**entry.preset, **given}, f"{model}: --set"))
    return made


def _setting(text: str) -> tuple[str, Any]:
    """key=value, the value as TOML has it: a number, true, false, or else text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"expected --set as key=value, found {text!r}", "--set hidden_size=256")
    for read in (int, float):
        with contextlib.suppress(ValueError):
            return key, read(value)
    return key, {"true": True, "false": False}.get(value, value)


def _users_network(model: str) -> Network:
    """Call a user's function; it returns (torch module, dict of example inputs) or a Network."""
    made = call(model, load_callable(model, ModelError), ModelError)
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
    return Network(module, _in_forwards_order(model, module, examples))


def _flattened(model: str, network: Network) -> Network:
    """Every example as a tensor of its own name: a state `hx` of (h, c) becomes hx_0 and hx_1."""
    tensors = {name: _tensor(model, name, value) for name, value in leaves(network.examples)}
    nested = any(isinstance(value, (tuple, list, dict)) for value in network.examples.values())
    module = flat(network.module, network.examples) if nested else network.module
    return replace(network, module=module, examples=tensors)


def _in_forwards_order(model: str, module: torch.nn.Module, examples: dict[str, Any]) -> dict[str, Any]:
    """Sort the examples as forward declares them: torch's exporter names axes by position."""
    arguments = _arguments(module)
    for name in examples:
        if name not in arguments:
            raise ModelError(
                f"{model}: expected example inputs named as the arguments of {_kind(module)}.forward, "
                f"found {name!r}; {nearest(name, arguments)}"
            )
    return {name: examples[name] for name in arguments if name in examples}


def _arguments(module: torch.nn.Module) -> list[str]:
    forward: Any = module.forward
    if isinstance(module, torch.jit.ScriptModule):
        return [argument.name for argument in forward.schema.arguments[1:]]
    return list(inspect.signature(forward).parameters)


def _tensor(model: str, name: str, value: Any) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or value.shape[0] == 0:
        raise ModelError(f"{model}: expected example {name!r} as a tensor with batch axis 0, found {_kind(value)}")
    return value.detach()


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
