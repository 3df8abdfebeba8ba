"""edgekit: from a trained PyTorch network to a checked bundle that runs on a camera or a robot."""

import os

__version__ = "0.1.0"

# From 1.29 on, onnxruntime's builds for Linux tell Microsoft of every model that is loaded, its name and digests among
# it, unless this is set before they are imported. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
