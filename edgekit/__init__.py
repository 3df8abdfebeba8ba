"""edgekit: from a trained PyTorch network to a checked bundle that runs on a camera or a robot."""

__version__ = "0.1.0"
