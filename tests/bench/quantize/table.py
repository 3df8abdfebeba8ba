"""The rows of the bench, the bars that they have to clear, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench.quantize.judging import Judged
from tests.bench.quantize.models import TRANSFORMER

PEERS = {"minmax": "onnxruntime MinMax", "percentile": "onnxruntime 99.99 %", "modelopt": "modelopt", "nncf": "nncf"}
# What the prototype reached, in dB: on pretrained networks a bar, within 0.3 dB; the others were trained otherwise.
PROTOTYPE = {
    ("resnet", "int8"): 40.5,
    ("efficientnet", "int8"): 32.3,
    ("lite0", "int8"): 18.4,
    ("gpt", "int8"): 48.3,
    ("gpt", "int4"): 38.1,
    ("minilm", "int8"): 23.5,
    ("resemblyzer", "int8"): 19.0,
}
LEAST_DB = {
    ("lite0", "int8"): 18.1,
    ("minilm", "int8"): 23.2,
    ("minilm", "int8+fp16"): 23.5,
    ("resemblyzer", "int8"): 19.0,
}
MARGIN_DB, MARGIN_OF_TRANSFORMERS_DB = 1.0, 0.5
# Nobody else quantizes these weights in a form that TensorRT takes: peers keep 1.4 million of them in FP32.
WITHOUT_PEER = "resemblyzer"


@dataclass(frozen=True)
class Figure:
    """What one tool reached: by which setting, how good, and how many of how many layers it kept as they were."""

    setting: str
    judged: Judged
    kept: int = 0
    layers: int = 0

    @property
    def legal(self) -> bool:
        """Whether TensorRT takes it, by its rules and by building it."""
        return self.judged.legal

    @property
    def sqnr_db(self) -> float:
        """Of the worst output, on the samples held out."""
        return self.judged.sqnr_db


@dataclass(frozen=True)
class Row:
    """One network at one precision. `every` is edgekit with every layer quantized, `keeping` with the worst ones kept;
    a string says why there is none. `peers` has the best of each column, and `dynamic`, which is for the record.

    `score` is FP32's on labels, `weight_bytes` FP32's, `attention` the number of its Attention nodes.
    """

    network: str
    title: str
    kind: str
    precision: str
    score: float | None
    weight_bytes: int
    attention: int
    every: Figure | str
    keeping: Figure | str | None = None
    peers: dict[str, Figure] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The network and the precision."""
        return self.network, self.precision


@dataclass(frozen=True)
class Bar:
    """One promise, in words with numbers, and whether it holds."""

    what: str
    holds: bool


def best_legal(row: Row) -> tuple[str, Figure] | None:
    """The peer to beat: its column and its figure. What TensorRT refuses does not count."""
    legal = {name: row.peers[name] for name in PEERS if name in row.peers and row.peers[name].legal}
    name = max(legal, key=lambda name: legal[name].sqnr_db, default=None)
    return None if name is None else (name, legal[name])


def bars(row: Row) -> list[Bar]:
    """All that this row has to keep."""
    if isinstance(row.every, str):
        return [Bar(f"edgekit quantizes it: {row.every}", False)]
    found = row.every
    made = [Bar(f"TensorRT takes it {_because(found)}".strip(), found.legal), *_beside_peers(row, found.sqnr_db)]
    least = LEAST_DB.get(row.key)
    if least is not None:
        made.append(Bar(f"{found.sqnr_db:.2f} dB >= {least:g}", found.sqnr_db >= least))
    if row.network == WITHOUT_PEER:
        made.append(Bar(f"right on {_percent(found.judged.score)}, FP32 on {_percent(row.score)}",
                        (found.judged.score or 0) >= (row.score or 0)))  # fmt: skip
    if row.kind == TRANSFORMER and row.precision == "int8+fp16":
        fused = found.judged.fused_attention
        made.append(Bar(f"{fused} of {row.attention} attentions are fused", fused == row.attention > 0))
    return made + _of_keeping(row.keeping, found.sqnr_db)


def _beside_peers(row: Row, db: float) -> Iterable[Bar]:
    best = best_legal(row)
    if row.network == WITHOUT_PEER or best is None:
        return
    margin = MARGIN_OF_TRANSFORMERS_DB if row.kind == TRANSFORMER else MARGIN_DB
    # Both have two decimals; their sum must not be short of one by a rounding.
    bar = round(best[1].sqnr_db + margin, 2)
    yield Bar(f"{db:.2f} dB >= {PEERS[best[0]]} {best[1].sqnr_db:.2f} + {margin:g}", db >= bar)


def _of_keeping(keeping: Figure | str | None, every_db: float) -> list[Bar]:
    """More dB for the layers that are kept, where any are."""
    if keeping is None:
        return []
    if isinstance(keeping, str):
        return [Bar(f"--keep-layers auto: {keeping}", False)]
    more = keeping.kept == 0 or keeping.sqnr_db > every_db
    what = f"{keeping.sqnr_db:.2f} dB with {keeping.kept} layers kept {_because(keeping)}".strip()
    return [Bar(what, keeping.legal and more)]


def _because(figure: Figure) -> str:
    return f"({figure.judged.refused})" if figure.judged.refused else ""


def cells(rows: Iterable[Row]) -> list[list[str]]:
    """The table, its head first."""
    head = ["network", "FP32", *PEERS.values(), "best legal", "edgekit", "decisions", "--keep-layers auto"]
    return [[*head, "prototype", "RTX", "bars"], *map(_cells, rows)]


def _cells(row: Row) -> list[str]:
    best = best_legal(row)
    every = row.every
    return [
        f"{row.title}, {row.precision.upper()}",
        _percent(row.score),
        *(_db(row.peers.get(name)) for name in PEERS),
        "-" if best is None else f"{best[1].sqnr_db:.2f}",
        every if isinstance(every, str) else _db(every),
        "-" if isinstance(every, str) else _decisions(every.judged),
        "-" if row.keeping is None else row.keeping if isinstance(row.keeping, str) else _kept(row.keeping),
        f"{PROTOTYPE[row.key]:g}" if row.key in PROTOTYPE else "-",
        "-" if isinstance(every, str) else "builds" if every.legal else "refused",
        "hold" if all(bar.holds for bar in bars(row)) else "BROKEN",
    ]


def _db(figure: Figure | None) -> str:
    """In brackets where TensorRT does not take it."""
    if figure is None:
        return "-"
    return f"{figure.sqnr_db:.2f}" if figure.legal else f"({figure.sqnr_db:.2f})"


def _decisions(judged: Judged) -> str:
    right = "" if judged.score is None else f", right {_percent(judged.score)}"
    return f"same {_percent(judged.agreement)}{right}"


def _kept(figure: Figure) -> str:
    return f"{_db(figure)}, {figure.kept} of {figure.layers} kept"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def weight_cells(rows: Iterable[Row]) -> list[list[str]]:
    """The second figure of recurrent networks: bytes of weights, and what onnxruntime's dynamic form reaches."""
    made = [["weights", "FP32", "best legal peer", "edgekit", "onnxruntime dynamic (TensorRT refuses it)"]]
    for row in rows:
        best, dynamic = best_legal(row), row.peers.get("dynamic")
        ours = None if isinstance(row.every, str) else row.every
        made.append([row.title, f"{row.weight_bytes / 1e3:.0f} kB", _kilobytes(best[1] if best else None),
                     _kilobytes(ours), _kilobytes(dynamic)])  # fmt: skip
    return made


def _kilobytes(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure.judged.weight_bytes / 1e3:.0f} kB, {_db(figure)} dB"


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """For the README."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])
