"""MTCNN (Zhang et al. 2016), which finds faces in three steps, with the weights that facenet-pytorch carries.

P-Net looks at a whole picture for squares of 12 pixels that may be a face, R-Net and O-Net at what is left, cut out and
resized. A pixel is (value - 127.5) / 128. `facenet_code().MTCNN` has what stands between the nets.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from edgekit.errors import ModelError
from edgekit.models.network import Network

# The smallest picture, a photograph of a camera, and its double.
_HEIGHT, _WIDTH = (12, 480, 960), (12, 640, 1280)


def mtcnn_pnet() -> Network:
    """image [N,3,height,width] -> boxes [N,4,h,w], the offsets of each square's edges, and probabilities [N,2,h,w]."""
    return _network(
        "PNet",
        (96, 128),
        ("boxes", "probabilities"),
        axes={"x": {0: "batch", 2: "height", 3: "width"}},
        ranges={"height": _HEIGHT, "width": _WIDTH},
    )


def mtcnn_rnet() -> Network:
    """image [N,3,24,24] -> boxes [N,4], the offsets of the square's edges, and probabilities [N,2] of none and face."""
    return _network("RNet", (24, 24), ("boxes", "probabilities"))


def mtcnn_onet() -> Network:
    """image [N,3,48,48] -> boxes [N,4], landmarks [N,10] (five x, then five y), and probabilities [N,2]."""
    return _network("ONet", (48, 48), ("boxes", "landmarks", "probabilities"))


@functools.cache
def facenet_code() -> ModuleType:
    """The module of facenet-pytorch with MTCNN, PNet, RNet and ONet.

    It is loaded by itself: the package's own start asks for `requests`, to fetch the weights of another network.
    Raises ModelError without the package.
    """
    package = importlib.util.find_spec("facenet_pytorch")
    folders = list((package and package.submodule_search_locations) or ())
    if not folders:
        raise ModelError(
            "expected the package that carries MTCNN and its weights, found none",
            "pip install --no-deps facenet-pytorch",
        )
    folder, name = Path(folders[0]) / "models", "edgekit_facenet"
    # Its neighbours, as utils/detect_face.py, are named relative to it.
    spec = importlib.util.spec_from_file_location(name, folder / "mtcnn.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise ModelError(f"expected facenet-pytorch with models/mtcnn.py, found none in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _network(
    kind: str,
    size: tuple[int, int],
    outputs: tuple[str, ...],
    axes: dict[str, dict[int, str]] | None = None,
    ranges: dict[str, tuple[int, int, int]] | None = None,
) -> Network:
    return Network(
        getattr(facenet_code(), kind)(),
        {"x": torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))},
        inputs=("image",),
        outputs=outputs,
        examples_are="seeded noise",
        axes=axes or {},
        ranges=ranges or {},
    )
