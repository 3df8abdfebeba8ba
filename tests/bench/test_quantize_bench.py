"""The bars of `make bench-quantize` on made-up rows: what breaks one, and who does not count."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("onnx")

from tests.bench.quantize import __main__ as bench
from tests.bench.quantize.costs import MANY, SMALL, judged
from tests.bench.quantize.judging import Judged
from tests.bench.quantize.table import Figure, Row, as_markdown, as_text, bars, best_legal, cells


def figure(db: float, refused: str = "", *, score: float = 0.9, fused: int = 0, quantized: bool = True) -> Figure:
    return Figure("a setting", Judged(db, 0.99, score, quantized, refused, 1000, fused))


def row(every: Figure | str, network: str = "resnet", kind: str = "cnn", precision: str = "int8", **more) -> Row:
    peers = {"minmax": figure(38.0), "nncf": figure(40.0), "modelopt": figure(50.0, "int32-bias 3x")}
    start = Row(network, "a network", kind, precision, 0.9, 4000, 6, every, peers=peers)
    return replace(start, **more)


def holds(item: Row) -> bool:
    return bench.exit_code([item], []) == 0


def test_a_peer_that_tensorrt_refuses_does_not_count():
    name, best = best_legal(row(figure(41.0)))
    assert (name, best.sqnr_db) == ("nncf", 40.0)
    allowed = {"modelopt": figure(50.0)}
    assert best_legal(row(figure(41.0), peers=allowed))[0] == "modelopt"
    assert best_legal(row(figure(41.0), peers={"nncf": figure(40.0, quantized=False)})) is None
    assert best_legal(row(figure(41.0), peers={"dynamic": figure(40.0)})) is None


@pytest.mark.parametrize(
    ("kind", "precision", "least"),
    [("cnn", "int8", 41.0), ("recurrent", "int8", 41.0), ("transformer", "int8", 40.5), ("transformer", "int4", 40.5)],
)
def test_the_bar_is_the_best_legal_peer_and_a_margin(kind, precision, least):
    assert holds(row(figure(least), "gpt", kind, precision))
    assert not holds(row(figure(least - 0.01), "gpt", kind, precision))


def test_a_sum_of_two_decimals_is_not_short_by_a_rounding():
    """15.06 + 1 is 16.06, and in binary a little more."""
    assert 15.06 + 1 > 16.06
    assert holds(row(figure(16.06), peers={"nncf": figure(15.06)}))


def test_a_model_that_tensorrt_refuses_breaks_the_bar_however_good_it_is():
    assert not holds(row(figure(60.0, "TensorRT-RTX: no")))
    assert not holds(row(figure(60.0, quantized=False)))
    assert not holds(row("expected a layer, found none"))


@pytest.mark.parametrize(("network", "least"), [("lite0", 18.1), ("minilm", 23.2)])
def test_pretrained_networks_have_the_prototypes_bar_too(network, least):
    kind = "transformer" if network == "minilm" else "cnn"
    assert holds(row(figure(least), network, kind, peers={}))
    assert not holds(row(figure(least - 0.01), network, kind, peers={}))


def test_resemblyzer_is_not_held_against_weights_in_fp32_but_against_its_speakers():
    assert holds(row(figure(19.0), "resemblyzer", "recurrent"))
    assert not holds(row(figure(18.99), "resemblyzer", "recurrent"))
    assert not holds(row(figure(19.0, score=0.89), "resemblyzer", "recurrent"))


def test_every_attention_has_to_be_fused_in_half_precision():
    made = {fused: row(figure(24.0, fused=fused), "minilm", "transformer", "int8+fp16", peers={}) for fused in (5, 6)}
    assert holds(made[6])
    assert not holds(made[5])
    assert not holds(replace(made[6], attention=0, every=figure(24.0)))


def test_layers_are_kept_for_more_decibels():
    every = row(figure(41.0))
    kept = replace(figure(41.0), kept=2, layers=16)
    assert not holds(replace(every, keeping=kept))
    assert holds(replace(every, keeping=replace(kept, judged=figure(41.01).judged)))
    assert holds(replace(every, keeping=replace(kept, kept=0)))
    assert not holds(replace(every, keeping=replace(kept, judged=figure(45.0, "zero-point 1x").judged)))
    assert not holds(replace(every, keeping="refused"))


def test_the_table_shows_refused_figures_in_brackets_and_what_is_broken():
    table = cells([row(figure(41.0)), row(figure(40.99))])
    good, bad = (dict(zip(table[0], line, strict=True)) for line in table[1:])
    assert (good["modelopt"], good["nncf"], good["best legal"]) == ("(50.00)", "40.00", "40.00")
    assert (good["onnxruntime 99.99 %"], good["decisions"]) == ("-", "same 99.0 %, right 90.0 %")
    assert (good["bars"], bad["bars"]) == ("hold", "BROKEN")
    assert [bar.what for bar in bars(row(figure(40.99))) if not bar.holds] == ["40.99 dB >= nncf 40.00 + 1"]
    assert len(as_text(table).splitlines()) == 3
    assert as_markdown(table).splitlines()[1] == "|" + "---|" * len(table[0])


def measured(**changes: float) -> dict[str, dict[str, float]]:
    """Seconds and MiB at the bars, or just inside."""
    seconds = {"max": 3.0, "auto": 30.0, "minmax": 2.0, "pass": 1.0}
    found = {f"{kind} {count}": {"seconds": value, "tree_mib": 500.0} for kind, value in seconds.items()
             for count in (SMALL, 64, MANY)}  # fmt: skip
    found["percentile 48"] = {"seconds": 9.0, "tree_mib": 3500.0}
    for kind in ("max", "auto"):
        found[f"{kind} {MANY}"]["tree_mib"] = 549.0
    for name, value in changes.items():
        kind, count, key = name.split("_", 2)
        found[f"{kind} {count}"][key] = value
    return found


def test_costs_hold_at_their_bars():
    assert bench.exit_code([], judged(measured())) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"max_512_tree_mib": 551.0},
        {"auto_512_tree_mib": 551.0},
        {"auto_48_tree_mib": 954.0},
        {"max_48_seconds": 3.01},
        {"auto_512_seconds": 30.1},
    ],
    ids=str,
)
def test_a_cost_beyond_its_bar_breaks_it(change):
    assert bench.exit_code([], judged(measured(**change))) == 1
