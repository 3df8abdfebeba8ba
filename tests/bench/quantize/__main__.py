"""`make bench-quantize`: edgekit's INT8 and INT4 against other tools' on real data; exits 1 when a bar is broken.

Models, what other tools made of them and all judgements are kept under out/bench-quantize/; --fresh makes all anew.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx

from edgekit.files import write_json
from tests.bench.quantize.costs import Cost, cost_cells, costs
from tests.bench.quantize.judging import HERE, score_of
from tests.bench.quantize.models import NETWORKS, OUT, RECURRENT
from tests.bench.quantize.ours import attention_nodes, figure_of
from tests.bench.quantize.peers import best_of_each
from tests.bench.quantize.table import Row, as_markdown, as_text, bars, cells, weight_cells

RESULTS = HERE / "results.json"
ROWS = [(name, "int8") for name in ("resnet", "efficientnet", "lite0", "vit", "gpt")]
ROWS += [("gpt", "int4"), ("minilm", "int8"), ("minilm", "int8+fp16")]
ROWS += [(name, "int8") for name in ("lstm", "resemblyzer", "silero")]
TOOLS = ("onnx", "onnxruntime", "tensorrt-rtx-cu13", "torch", "numpy")
NOTES = """\
Figures are the SQNR in dB of the worst output against FP32, on samples that no tool saw, computed by onnxruntime
without optimisation. All tools calibrate on the same samples. In brackets: TensorRT refuses it or it breaks
TensorRT's rules, and it does not count. Of each peer the best of several settings stands here, chosen on the very
samples that judge: that favours the peers; edgekit runs once, with its defaults. "decisions" is how often the class,
the next character, the nearest sentence, the speaker, or speech or none is that of FP32, and how often it is right
where there are labels. Recurrent networks: static peers leave the weights of LSTMs in FP32 and quantize what is
around them, so the bar for the LSTM and silero-vad is theirs plus 1 dB although edgekit's weights are INT8; nobody
else quantizes Resemblyzer's weights in a form that TensorRT takes: there the bar is 19 dB and as many right speakers
as in FP32. The prototype was measured on networks trained otherwise; it is a bar for pretrained ones, less 0.3 dB.
INT4 is in blocks of 128: edgekit computes the rest in FP16, the others in FP32; under MinMax stands onnxruntime's
rounding one by one, and nncf leaves the last product in FP32."""


def main() -> int:
    """Print the tables; 1 when a bar is broken."""
    arguments = _arguments()
    rows = []
    for name, precision in ROWS:
        if arguments.only and name not in arguments.only:
            continue
        rows.append(row_of(name, precision, arguments.fresh))
        # One is there to look at before the last is done.
        _write(OUT / "table.txt", _tables(rows, [], as_text))
    spent = [] if arguments.only else costs(arguments.fresh)
    print(_tables(rows, spent, as_markdown if arguments.markdown else as_text))
    _write(OUT / "table.txt", _tables(rows, spent, as_text))
    if arguments.save:
        write_json(RESULTS, {**about(), "rows": list(map(_json, rows)), "costs": list(map(asdict, spent))})
    return exit_code(rows, spent)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-quantize", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="make models, other tools' outputs and judgements anew")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name} beside the code")
    parser.add_argument("--markdown", action="store_true", help="print tables as the README has them")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, help="these networks alone, and no costs")
    return parser.parse_args()


_made: set[str] = set()


def row_of(name: str, precision: str, fresh: bool) -> Row:
    """All figures of one network at one precision."""
    network = NETWORKS[name]
    network.prepare(fresh and name not in _made)
    _made.add(name)
    return Row(
        network=name,
        title=network.title,
        kind=network.kind,
        precision=precision,
        score=score_of(network),
        weight_bytes=sum(tensor.ByteSize() for tensor in onnx.load(network.model).graph.initializer),
        attention=attention_nodes(network.model),
        every=figure_of(network, precision, False, fresh),
        keeping=None if precision == "int4" else figure_of(network, precision, True, fresh),
        peers=best_of_each(network, precision, fresh),
    )


def exit_code(rows: list[Row], spent: list[Cost]) -> int:
    """0 when all bars hold."""
    return 0 if all(bar.holds for row in rows for bar in bars(row)) and all(cost.holds for cost in spent) else 1


def _tables(rows: list[Row], spent: list[Cost], form: Any) -> str:
    recurrent = [row for row in rows if row.kind == RECURRENT]
    tables = [form(cells(rows)), NOTES]
    tables += [form(weight_cells(recurrent))] if recurrent else []
    tables += [form(cost_cells(spent))] if spent else []
    broken = [f"BROKEN: {row.title}, {row.precision}: {bar.what}" for row in rows for bar in bars(row) if not bar.holds]
    broken += [f"BROKEN: {cost.what}: {cost.value:g} {cost.unit}" for cost in spent if not cost.holds]
    found = about()
    line = f"{found['date']}, {found['machine']}; " + ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    return "\n\n".join([*tables, line, *broken])


def about() -> dict[str, Any]:
    """When, on what machine, and by which versions."""
    return {"date": datetime.date.today().isoformat(), "machine": _machine(), "versions": _versions()}


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{platform.machine()}, {name}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _versions() -> dict[str, str]:
    """Our own, and those of the peers as the requirements pin them."""
    found = {"edgekit": version("edgekit")}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    lines = (HERE / "requirements-peers.txt").read_text().splitlines()
    pins = [line.partition("==") for line in lines if "==" in line]
    return found | {name.partition("[")[0]: pinned for name, _, pinned in pins}


def _json(row: Row) -> dict[str, Any]:
    return {**asdict(row), "bars": [asdict(bar) for bar in bars(row)]}


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
