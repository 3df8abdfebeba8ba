"""The old name of `node_cases`."""

from tests.plugins.node_cases import attributes_of, emulated

__all__ = ["attributes_of", "emulated"]
