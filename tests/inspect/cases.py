"""A build report written by hand, in the form of edgekit's own.

Its layers have the names, kinds and weights of a real log: TensorRT-RTX 1.7.1.116 building a ResNet-50 in FP16 for
compute capability 8.6. That some compute in another precision, and the sums, are made up to have something to tell.
"""

from __future__ import annotations

import copy
from typing import Any


def layer(name: str, kind: str, types: tuple[str, str], nodes: list[str], cost: tuple[int, int]) -> dict[str, Any]:
    """One layer of a report: `types` are those it computes in and writes, `cost` its weight bytes and multiply-adds."""
    return {
        "name": name,
        "kind": kind,
        "dtype": types[1],
        "computes": types[0],
        "tactic": "__myelin_CASK_STUB",
        "nodes": nodes,
        "inputs": ["fp16[-1,64,56,56]"],
        "outputs": ["fp16[-1,64,56,56]"],
        "weight_bytes": cost[0],
        "macs": cost[1],
    }


LAYERS = [
    layer("__mye2064_0_myl0_0", "shape_call", ("", ""), [], (0, 0)),
    layer("__myl_CastReplConc_myl0_1", "kgen", ("fp32", "fp16"), ["graph_input_cast0"], (0, 0)),
    layer(
        "node_Conv_755_myl0_2", "correlation", ("fp16", "fp16"), ["node_Conv_755", "node_relu"], (25_096, 118_013_952)
    ),
    layer("node_max_pool2d_myl0_3", "maxpool", ("", "fp16"), ["node_max_pool2d"], (0, 0)),
    layer(
        "node_Conv_758_myl0_4", "correlation", ("int8", "fp16"), ["node_Conv_758", "node_relu_1"], (8_200, 12_845_056)
    ),
    layer("node_Conv_887_myl0_47", "correlation", ("fp16", "fp16"), ["node_Conv_887"], (4_718_592, 115_605_504)),
    layer("__myl_Fc_myl0_57", "runtime_fusion", ("fp32", "fp32"), ["node_linear", "linear"], (4_098_000, 2_048_000)),
]
TOTAL = sum(item["macs"] for item in LAYERS)
REPORT: dict[str, Any] = {
    "stage": "build",
    "version": "1.7.1.116",
    "target": "rtx",
    "flavour": "tensorrt_rtx",
    "compute_capabilities": ["8.6"],
    "shapes": ["image:1x3x224x224:1x3x224x224:8x3x224x224"],
    "source": "resnet50.fp16.onnx",
    "bytes": 51_433_180,
    "sha256": "6afcf541e9bf99fd2e0acb66e4e0bbf3f6a80a9b844a345d9018faa23dbee7f0",
    "warnings": ["a warning of the builder"],
    "layers": LAYERS,
    "memory": {"weights_bytes": 51_014_400, "activation_bytes": 4_816_896, "host_bytes": None, "device_bytes": 0},
    "compute": {
        "total_macs": TOTAL,
        "shares": {"fp16": 233_619_456 / TOTAL, "fp32": 2_048_000 / TOTAL, "int8": 12_845_056 / TOTAL},
        "unsized": ["node_of_no_size"],
    },
    "attention": {"blocks": 4, "fused": 3},
}


def report(**changes: Any) -> dict[str, Any]:
    """A copy of REPORT with other values."""
    return {**copy.deepcopy(REPORT), **changes}


def without_costs() -> dict[str, Any]:
    """REPORT as edgekit wrote it before it knew what layers cost: TensorRT's names of types, and no sums."""
    old = {"fp16": "half", "fp32": "float", "int8": "int8", "": ""}
    kept = ("name", "kind", "tactic", "nodes")
    layers = [{**{key: item[key] for key in kept}, "dtype": old[item["dtype"]]} for item in LAYERS]
    return {key: value for key, value in report(layers=layers).items() if key not in ("memory", "compute", "attention")}
