"""Reports of builds: what they say is shown in text and on a page, whatever they hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import ModelError
from edgekit.inspect import inspect, write_html
from edgekit.inspect.built import read_built
from edgekit.inspect.paper import engine_page
from edgekit.inspect.text import layer_lines, shortened
from tests.html_checks import Page
from tests.inspect.cases import LAYERS, REPORT, TOTAL, layer, report, without_costs

HOSTILE = '<script>alert("x")</script>\x1b[31m'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "macs", "nodes", "x"]), inner),
    max_leaves=8,
)


def found_in(tmp_path, table, name="model.engine.json"):
    path = tmp_path / name
    path.write_text(json.dumps(table))
    return inspect(path)


def page_of(tmp_path, table) -> Page:
    write_html(found_in(tmp_path, table), tmp_path / "page.html")
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_the_facts_of_a_report(tmp_path):
    found = found_in(tmp_path, REPORT)
    assert found.kind == "report of build"
    assert found.facts["layer_count"] == 7
    assert found.facts["multiply_adds"] == TOTAL == 248_512_512
    assert found.facts["computed_in"] == {"fp16": 0.940071, "fp32": 0.008241, "int8": 0.051688}
    assert found.facts["attention"] == "3 of 4 blocks fused"
    # The size of what the report does not know is left out; 0 is a size.
    assert found.facts["memory"] == {"weights_bytes": 51_014_400, "activation_bytes": 4_816_896, "device_bytes": 0}
    assert [item["name"] for item in found.to_json()["layers"]] == [item["name"] for item in LAYERS]


def test_the_lines_show_the_costliest_layers_in_the_order_of_execution():
    few = layer_lines(read_built(REPORT))
    assert len(few) == 2 + 1 + len(LAYERS)
    assert few[5].split() == [
        *("2", "node_Conv_755_myl0_2", "correlation", "fp16", "fp16", "25.1", "kB"),
        *("118,013,952", "47.5", "%", "node_Conv_755,", "node_relu"),
    ]
    many = [layer(f"layer {index}", "gemm", ("fp16", "fp16"), [], (1, index * 7 % 100)) for index in range(100)]
    lines = layer_lines(read_built(report(layers=many)))
    shown = [int(line.split()[0]) for line in lines[3:-1]]
    assert len(shown) == 20
    assert shown == sorted(index for index in range(100) if index * 7 % 100 >= 80)
    assert lines[-1] == "  and 80 more layers; all of them: --json, or --html FILE"


def test_an_older_report_has_no_columns_for_what_it_does_not_say(tmp_path):
    lines = layer_lines(read_built(without_costs()))
    assert lines[2].split() == ["#", "layer", "kind", "output", "ONNX", "nodes"]
    assert "fp16" in lines[4]
    found = page_of(tmp_path, without_costs())
    assert found.faults == []
    assert "This report does not say what layers cost" in found.text()
    assert "multiply-adds not known" in found.text()
    assert "0 bytes" not in found.text()
    assert found.count("tr") == 1 + len(LAYERS) + 1 + 5  # the two tables with their heads; five kinds


def test_the_page_of_an_engine_says_it_all(tmp_path):
    found = page_of(tmp_path, REPORT)
    text = found.text()
    assert found.faults == []
    assert "a warning of the builder" in text
    assert "Not counted, for their size is not known: node_of_no_size" in text
    assert "1 of 4 attention blocks do not run as one fused kernel" in text
    assert "fp16 94.0 %" in text
    assert "fp16 4.74 MB (53.6 %)" in text  # (25,096 + 4,718,592) of 8,849,888
    for item in LAYERS:
        assert item["name"] in text
        assert all(node in text for node in item["nodes"])
    # The columns of multiply-adds are drawn to the scale of the largest: 118,013,952 of layer 2.
    heights = [float(box["height"]) for tag, box in found.tags if tag == "rect"]
    assert 100 in heights
    assert pytest.approx(100 * 12_845_056 / 118_013_952, abs=0.01) in heights


def test_what_the_numbers_do_not_cover_is_said(tmp_path):
    """As in a loop: layers that name no node, and that read the same weights."""
    looped = [layer(f"unrolled {index}", "gemm", ("fp32", "fp32"), [], (262_144, 0)) for index in range(8)]
    built = read_built(report(layers=[*LAYERS, *looped]))
    text = Page(engine_page("t", "s", {"weights_bytes": 8_849_888 + 262_144}, built)).text()
    assert "8 layers with weights name no ONNX node" in text
    assert "The layers read 10.9 MB of weights where the engine holds 9.11 MB" in text
    quiet = Page(engine_page("t", "s", {"weights_bytes": 8_849_888}, read_built(REPORT))).text()
    assert "name no ONNX node" not in quiet
    assert "some share them" not in quiet


def test_names_are_text_on_the_page_and_harmless_in_the_terminal(tmp_path):
    layers = [layer(HOSTILE, HOSTILE, ("fp16", HOSTILE), [HOSTILE], (1, 1))]
    table = report(layers=layers, warnings=[HOSTILE], source=HOSTILE, shapes=[HOSTILE], target=HOSTILE)
    table["compute"] |= {"unsized": [HOSTILE], "shares": {HOSTILE: 1.0}}
    found = page_of(tmp_path, table)
    assert found.faults == []
    assert found.count("script") == 1
    assert found.text().count('<script>alert("x")</script>\N{REPLACEMENT CHARACTER}[31m') >= 8
    lines = "\n".join(found_in(tmp_path, table).lines())
    assert "alert" in lines
    assert "\x1b" not in lines


def test_a_network_of_many_layers_makes_a_small_page(tmp_path):
    """More layers than a ResNet-50 has in any precision, each with the names of five nodes."""
    nodes = [f"node_of_some_name_{index}" for index in range(5)]
    name = "__myl_CastGathSlicCastGathGathSlicCastReplGathReshReshAdd_myl0_"
    many = [layer(f"{name}{index}", "kgen", ("fp16", "fp16"), nodes, (10**6, 10**8)) for index in range(150)]
    page_of(tmp_path, report(layers=many))
    assert (tmp_path / "page.html").stat().st_size <= 200_000


@settings(max_examples=150, deadline=None)
@given(
    table=st.fixed_dictionaries(
        {},
        optional={key: JSON for key in REPORT if key != "layers"}
        | {"layers": st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(LAYERS[0], JSON)) | JSON, max_size=3)},
    )
)
def test_no_report_makes_it_fail(table):
    built = read_built(table)
    layer_lines(built)
    assert Page(engine_page("t", "s", built.facts, built)).faults == []


def test_values_that_cannot_be_are_not_known():
    odd = report(compute={"total_macs": -1, "shares": {"a": -0.1, "b": 1.1, "c": "x", "d": True, "e": 0.5}})
    odd["layers"] = [{**LAYERS[2], "macs": value, "weight_bytes": value} for value in (-1, True, 1.5, 2**63, None)]
    built = read_built(odd)
    assert built.shares == {"e": 0.5}
    assert built.total_macs is None
    assert {(item.macs, item.weight_bytes) for item in built.layers} == {(None, None)}


def test_json_that_is_no_report_is_refused_in_one_line(tmp_path):
    for text in ('{"a": 1}', '{"stage": 7}', "{", '{"stage": ' * 100_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ModelError) as caught:
            inspect(tmp_path / "a.json")
        assert "\n" not in str(caught.value)


def test_long_names_keep_both_ends():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 10) == "abcd…ghijk"
