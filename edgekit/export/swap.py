"""While a module is exported, recurrent layers and packed sequences are those of `edgekit.export.recurrent`.

The user's module and code stay as they are: children are replaced for the time of the export and put back, and the
functions of torch.nn.utils.rnn are replaced wherever a loaded Python module holds them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import rnn as torch_rnn

from edgekit.errors import ExportError
from edgekit.export import recurrent  # noqa: F401 (registers the operators)
from edgekit.export.replacing import replaced

# torch's order of gates -> ONNX's: ifgo -> iofc, rzn -> zrh.
_GATE_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
_KINDS: dict[type[torch.nn.RNNBase], str] = {torch.nn.LSTM: "LSTM", torch.nn.GRU: "GRU", torch.nn.RNN: "RNN"}


@dataclass(frozen=True)
class Padded:
    """A packed sequence that stays padded: `steps` [T,N,F], valid up to `lengths` [N]; `zeroed` says zero beyond."""

    steps: Tensor
    lengths: Tensor
    zeroed: bool = False

    def __getattr__(self, name: str) -> Any:
        raise ExportError(
            f"expected a packed sequence to go into a recurrent layer and pad_packed_sequence, found a read of its "
            f"{name!r}, which has no form at open lengths"
        )


class Recurrent(torch.nn.Module):
    """The stand-in of an nn.LSTM, nn.GRU or nn.RNN: the same call, one operator a layer."""

    def __init__(self, original: torch.nn.RNNBase) -> None:
        torch.nn.Module.__init__(self)  # not super(): see _stand_in
        if getattr(original, "proj_size", 0):
            raise ExportError(
                f"expected an LSTM without projections, found proj_size={original.proj_size}: ONNX's LSTM has none"
            )
        # In a list, so that it does not become a child: its weights would be exported a second time.
        self._original = [original]
        self._kind = _kind(original)
        self.training = original.training
        self._directions = 2 if original.bidirectional else 1
        for layer in range(original.num_layers):
            for name, value in zip("wrb", _weights(original, self._kind, layer), strict=True):
                # A parameter, as forward may ask next(self.parameters()) for a device and a dtype.
                self.register_parameter(f"{name}{layer}", torch.nn.Parameter(value, requires_grad=False))

    def __getattr__(self, name: str) -> Any:
        """Parameters are found first; hidden_size, weight_ih_l0 and the like are the original's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_original" not in self.__dict__:
                raise
            return getattr(self.__dict__["_original"][0], name)

    def flatten_parameters(self) -> None:
        """Nothing to do: there is no cuDNN here."""

    def extra_repr(self) -> str:
        """As the original, which reads its own __dict__."""
        return self._original[0].extra_repr()

    def forward(self, input: Tensor | Padded, hx: Any = None) -> tuple[Any, Any]:
        """As the original's: output and last state(s), [layers * D, N, H]."""
        if isinstance(input, Padded):
            output, states = self._layers(input.steps, input.lengths, hx)
            return Padded(output, input.lengths, zeroed=True), states
        if input.dim() == 2:  # one sequence without a batch axis
            output, states = self._layers(input.unsqueeze(1), None, _each(hx, lambda state: state.unsqueeze(1)))
            return output.squeeze(1), _each(states, lambda state: state.squeeze(1))
        output, states = self._layers(input.transpose(0, 1) if self.batch_first else input, None, hx)
        return output.transpose(0, 1) if self.batch_first else output, states

    def _layers(self, steps: Tensor, lengths: Tensor | None, hx: Any) -> tuple[Tensor, Any]:
        given = () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,)
        for state in given:
            # torch.export learns here that this axis is not open.
            if state.shape[0] != self.num_layers * self._directions:
                raise ExportError(f"expected states [{self.num_layers * self._directions},N,H], found {state.shape[0]}")
        lasts = []
        for layer in range(self.num_layers):
            rows = slice(layer * self._directions, (layer + 1) * self._directions)
            first = [state[rows] for state in given]
            y, *last = self._layer(layer, steps, lengths, first)
            if lengths is not None and first:  # ONNX leaves open what a sample of length 0 does to its state
                empty = (lengths == 0)[None, :, None]
                last = [torch.where(empty, before, after) for before, after in zip(first, last, strict=True)]
            steps = y.permute(0, 2, 1, 3).flatten(2)
            lasts.append(last)
        states = tuple(torch.cat(parts) for parts in zip(*lasts, strict=True))
        return steps, states if self._kind == "LSTM" else states[0]

    def _layer(self, layer: int, x: Tensor, lengths: Tensor | None, first: list[Tensor]) -> Any:
        weights = [getattr(self, f"{name}{layer}") for name in "wrb"]
        count = 2 if self._kind == "LSTM" else 1
        states: list[Any] = first or [None] * count
        if self._kind == "LSTM":
            return torch.ops.edgekit.lstm(x, weights, lengths, *states)
        if self._kind == "GRU":
            return torch.ops.edgekit.gru(x, weights, lengths, *states)
        return torch.ops.edgekit.rnn(x, weights, lengths, *states, self.nonlinearity.capitalize())


@contextlib.contextmanager
def exportable(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield `module` with its recurrent layers swapped; afterwards it is as it was.

    Raises ExportError for an LSTM with projections.
    """
    made: dict[int, Recurrent] = {}
    # Not named_children(), which leaves out a layer's second name.
    places = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent._modules.items()
        if isinstance(child, torch.nn.RNNBase) and _kind(child)
    ]
    hook = module.register_forward_hook(_refuse_packed)
    try:
        for parent, name, child in places:
            if id(child) not in made:
                made[id(child)] = _stand_in(child)
            setattr(parent, name, made[id(child)])
        with replaced(
            (torch_rnn.pack_padded_sequence, _pack),
            (torch_rnn.pad_packed_sequence, _pad),
            (torch_rnn.pack_sequence, _unpackable),
        ):
            yield _stand_in(module) if isinstance(module, torch.nn.RNNBase) and _kind(module) else module
    finally:
        hook.remove()
        for parent, name, child in places:
            setattr(parent, name, child)


def _stand_in(original: torch.nn.RNNBase) -> Recurrent:
    """A Recurrent that is an instance of the original's class too, for isinstance(layer, nn.LSTM) in forward."""
    kind: type[Recurrent] = type(type(original).__name__, (Recurrent, type(original)), {})
    return kind(original)


def _kind(layer: torch.nn.RNNBase) -> str:
    """LSTM, GRU or RNN; empty for a subclass with a forward of its own."""
    return next((name for kind, name in _KINDS.items() if type(layer).forward is kind.forward), "")


def _refuse_packed(module: torch.nn.Module, _: Any, output: Any) -> None:
    if isinstance(output, Padded):
        raise ExportError(
            f"expected {type(module).__name__}.forward to return tensors, found a packed sequence: pad it first"
        )


def _weights(original: torch.nn.RNNBase, kind: str, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """w [D,GH,I], r [D,GH,H] and b [D,2GH] of one layer in ONNX's gate order."""

    def ordered(name: str, suffix: str) -> Tensor:
        gates = getattr(original, f"{name}_l{layer}{suffix}").detach().chunk(len(_GATE_ORDER[kind]))
        return torch.cat([gates[index] for index in _GATE_ORDER[kind]])

    suffixes = ["", "_reverse"] if original.bidirectional else [""]
    w, r = (torch.stack([ordered(name, suffix) for suffix in suffixes]) for name in ("weight_ih", "weight_hh"))
    if not original.bias:
        return w, r, w.new_zeros(w.shape[0], 2 * w.shape[1])
    b = [torch.cat([ordered("bias_ih", suffix), ordered("bias_hh", suffix)]) for suffix in suffixes]
    return w, r, torch.stack(b)


def _each(states: Any, change: Any) -> Any:
    if states is None:
        return None
    return tuple(map(change, states)) if isinstance(states, (tuple, list)) else change(states)


def _pack(input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> Padded:
    """In the place of pack_padded_sequence."""
    steps = input.transpose(0, 1) if batch_first else input
    if not isinstance(lengths, Tensor):
        raise ExportError("expected lengths as a tensor, found a list, which has no open batch: leave out .tolist()")
    return Padded(steps, lengths.to(torch.int64))


def _pad(
    sequence: Padded, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """In the place of pad_packed_sequence: cut to the longest sample, or to `total_length`."""
    steps, lengths = sequence.steps, sequence.lengths
    if padding_value or not sequence.zeroed:
        valid = torch.arange(steps.shape[0], device=steps.device)[:, None] < lengths[None, :]
        steps = torch.where(valid[:, :, None], steps, padding_value)
    if total_length is None:
        steps = torch.ops.edgekit.longest(steps, lengths)
    elif total_length != steps.shape[0]:
        raise ExportError(f"expected total_length to be the length of the input, found {total_length}")
    return steps.transpose(0, 1) if batch_first else steps, lengths


def _unpackable(*_: Any, **__: Any) -> Any:
    raise ExportError("expected pack_padded_sequence, found pack_sequence, whose list of tensors has no open batch")
