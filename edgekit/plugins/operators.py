"""edgekit's ONNX operators, once for all who write, run, parse or document them.

Domain and plugin namespace are `edgekit`; every node says `plugin_version` "1" and `plugin_namespace` "edgekit" too,
since TensorRT 10.3's parser does not read the domain. All inputs are always there: one that is absent is a constant of
no elements, shape [0]. All outputs are named, read or not: onnx-tensorrt wants as many as the plugin has. Shapes: T
steps, N batch, D directions, H hidden, G gates (4, 3, 1), h heads of q and h_kv of k and v, S_q queries, S_kv new keys,
P past keys, D_k and D_v sizes of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DOMAIN = NAMESPACE = "edgekit"
PLUGIN_VERSION = "1"
INT, FLOAT, TEXT = "int", "float", "text"


@dataclass(frozen=True)
class Operator:
    """`inputs` and `outputs` in their order, all of which a node names.

    `attributes` has the type of each, INT, FLOAT or TEXT: in TensorRT a plugin field of INT32, FLOAT32 or CHAR.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, str]


_RECURRENT = {"hidden_size": INT, "direction": TEXT, "clip": FLOAT}

OPERATORS = {
    item.name: item
    for item in (
        Operator(
            # xproj [T,N,D,4H] FP32 is x W^T + Wb + Rb; r [D,4H,H] FP32, FP16 or INT8; r_scale [D,4H] FP32 for INT8;
            # lengths [N] INT32; h0, c0 [D,N,H] FP32. y [T,D,N,H], h_n, c_n [D,N,H] FP32. direction: forward, reverse,
            # bidirectional.
            "EdgekitLSTM",
            ("xproj", "r", "r_scale", "lengths", "h0", "c0"),
            ("y", "h_n", "c_n"),
            _RECURRENT,
        ),
        Operator(
            # xproj [T,N,D,3H] without the Rb of the candidate, which is rb_h [D,H].
            "EdgekitGRU",
            ("xproj", "r", "r_scale", "lengths", "h0", "rb_h"),
            ("y", "h_n"),
            {**_RECURRENT, "linear_before_reset": INT},
        ),
        Operator(
            # activation: tanh or relu.
            "EdgekitRNN",
            ("xproj", "r", "r_scale", "lengths", "h0"),
            ("y", "h_n"),
            {**_RECURRENT, "activation": TEXT},
        ),
        Operator(
            # q [N,h,S_q,D_k], k [N,h_kv,S_kv,D_k], v [N,h_kv,S_kv,D_v], of FP32, FP16 or BF16; bias FP32 or that type,
            # broadcasts to [N,h,S_q,P + S_kv]; key_lengths [N] INT32; past_k [N,h_kv,P,D_k], past_v [N,h_kv,P,D_v].
            # at_end: 1 counts a query's position from key_lengths. Windows: -1 for none. in_place: 1 for a cache of
            # fixed capacity in past_k and past_v, to which new keys and values are appended behind past_length [1]
            # INT32, and which present_k and present_v alias. o [N,h,S_q,D_v]; present_* are of shape [0] without a
            # cache.
            "EdgekitAttention",
            ("q", "k", "v", "bias", "key_lengths", "past_k", "past_v", "past_length"),
            ("o", "present_k", "present_v"),
            {
                "scale": FLOAT,
                "causal": INT,
                "at_end": INT,
                "window_left": INT,
                "window_right": INT,
                "softcap": FLOAT,
                "in_place": INT,
            },
        ),
    )
}
