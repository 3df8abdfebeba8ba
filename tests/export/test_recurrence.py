"""The plain recurrence that wrong exports are compared with: torch's own layers are the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

from edgekit.export import recurrent  # noqa: E402, F401 (registers the operators)
from edgekit.export.swap import Recurrent  # noqa: E402

KINDS = [("LSTM", {}), ("GRU", {}), ("RNN", {"nonlinearity": "tanh"}), ("RNN", {"nonlinearity": "relu"})]


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_it_computes_what_torch_computes(kind, layers, bidirectional, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layer = getattr(torch.nn, kind[0])(3, 4, layers, bidirectional=bidirectional, **kind[1]).requires_grad_(False)
    steps, batch = max(lengths), len(lengths)
    x, counts = torch.randn(steps, batch, 3, generator=generator), torch.tensor(lengths)
    state = torch.randn(layers * (1 + bidirectional), batch, 4, generator=generator)
    given = (state, state * 0.5) if kind[0] == "LSTM" else state
    packed, wanted = layer(pack_padded_sequence(x, counts, enforce_sorted=False), given)
    found, states = Recurrent(layer)._layers(x, counts, given)
    torch.testing.assert_close(found, pad_packed_sequence(packed)[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(states, wanted, atol=1e-6, rtol=0)


def test_longest_cuts_to_the_longest():
    y = torch.arange(24.0).reshape(4, 2, 3)
    assert torch.equal(torch.ops.edgekit.longest(y, torch.tensor([1, 3])), y[:3])
