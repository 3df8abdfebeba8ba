"""edgekit on one network: `quantize` with its defaults, every layer, and once more with `--keep-layers auto`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx

from edgekit.configs import QuantizeConfig
from edgekit.errors import EdgekitError
from edgekit.quantize import quantize
from edgekit.reports import report_file
from tests.bench.quantize.judging import QUANTIZER, digest, judged
from tests.bench.quantize.models import OUT, Network
from tests.bench.quantize.table import Figure


def figure_of(network: Network, precision: str, keep: bool, fresh: bool) -> Figure | str:
    """What edgekit makes of it, made anew when any of its code has changed; else why it fails."""
    out = OUT / "edgekit" / f"{network.name}.{precision}{'.kept' if keep else ''}.onnx"
    key, stamp = digest([*QUANTIZER, network.model, network.calibration]), out.with_name(out.name + ".key")
    config = QuantizeConfig(precision, data=str(network.calibration), keep_layers="auto" if keep else None)
    try:
        if fresh or not stamp.exists() or stamp.read_text() != key:
            print(f"{network.name}: edgekit {precision}{' --keep-layers auto' * keep}", file=sys.stderr, flush=True)
            quantize(network.model, out, config)
            stamp.write_text(key)
        found = judged(out, network, fresh)
    except EdgekitError as error:
        return str(error)
    report = json.loads(report_file(out).read_text())
    kept, layers = len(report["kept_layers"]), len(report["kept_layers"]) + report["quantized_layers"]
    chosen = "; ".join(item["what"] for item in report["tried"] if item["kept"])
    return Figure(chosen, found, kept, layers)


def attention_nodes(model: Path) -> int:
    """How many whole attentions the exported model has."""
    return sum(node.op_type == "Attention" for node in onnx.load(model, load_external_data=False).graph.node)
