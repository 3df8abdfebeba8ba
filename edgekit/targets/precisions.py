"""Which precision a flavour of TensorRT takes on which architecture, as data with sources in precisions.toml."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from edgekit.targets.facts import read_facts

# int4 is weight-only: the products are done in sixteen bits.
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8", "int4", "fp4")

_Key = tuple[str, str, str]


def precision_support(flavour: str, compute_capability: str, precision: str) -> bool | None:
    """Whether `flavour` ("tensorrt" or "tensorrt_rtx") builds `precision` for a compute capability such as "8.7".

    None is unknown, also for anything that precisions.toml does not name. The reason is in `precision_source`: a
    False may be of one kind of layer only, such as the FP32 matrix products that TensorRT-RTX refuses on 7.5.
    """
    claim = _claims().get((flavour, compute_capability, precision))
    return claim[0] if claim else None


def precision_source(flavour: str, compute_capability: str, precision: str) -> str:
    """Where the answer of `precision_support` is from; empty when that is None."""
    claim = _claims().get((flavour, compute_capability, precision))
    return claim[1] if claim else ""


@functools.cache
def _claims() -> Mapping[_Key, tuple[bool, str]]:
    """Each claim of the file once for every architecture and precision that it names."""
    return {
        (claim["flavour"], capability, precision): (takes, claim["source"])
        for claim in read_facts("precisions.toml")["claim"]
        for takes, key in ((True, "takes"), (False, "refuses"))
        for capability in claim["compute_capabilities"]
        for precision in claim.get(key, ())
    }
