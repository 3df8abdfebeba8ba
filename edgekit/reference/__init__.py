"""Each plugin operator in NumPy and float64: its definition, and the oracle of its kernel."""

from edgekit.reference.attention import Attention, AttentionOutputs, attention
from edgekit.reference.recurrent import (
    ACTIVATIONS,
    DIRECTIONS,
    GRU,
    LSTM,
    RNN,
    LSTMOutputs,
    Outputs,
    Recurrent,
    gru,
    input_projection,
    lstm,
    rnn,
)

__all__ = [
    "ACTIVATIONS",
    "DIRECTIONS",
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
    "AttentionOutputs",
    "LSTMOutputs",
    "Outputs",
    "Recurrent",
    "attention",
    "gru",
    "input_projection",
    "lstm",
    "rnn",
]
