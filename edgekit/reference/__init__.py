"""Each plugin operator in NumPy and float64: its definition, and the oracle of its kernel."""

from edgekit.reference.recurrent import DIRECTIONS, LSTM, LSTMOutputs, input_projection, lstm

__all__ = ["DIRECTIONS", "LSTM", "LSTMOutputs", "input_projection", "lstm"]
