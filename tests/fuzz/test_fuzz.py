"""What `make fuzz` begins with and what it found, on every run of the tests; and that a target would find a bug."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.errors import IntegrityError, ShapeError
from edgekit.latency.beside import Company
from tests.bundle.hostile_onnx import FILES
from tests.fuzz import __main__ as command
from tests.fuzz import bundles, models, texts
from tests.fuzz.mutate import mutants, tokens
from tests.fuzz.target import Target
from tests.fuzz.targets import HERE, TARGETS, inputs

SEEDS = {name: [path.read_bytes() for path in inputs("corpus", name)] for name in TARGETS}
FOUND = [(name, path) for name in TARGETS for kind in ("corpus", "crashes") for path in inputs(kind, name)]


@pytest.mark.parametrize(("name", "path"), FOUND, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_no_input_of_the_repository_breaks_its_parser(name, path):
    TARGETS[name].accepts(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_random_changes_of_seeds_break_nothing(name):
    """A parser that refused everything would show nothing: seeds are accepted, and so are some of their changes, but
    for an archive's, of whose bytes none may be another."""
    target = TARGETS[name]
    assert any(map(target.accepts, SEEDS[name]))
    accepted = 0
    for data in mutants(name, SEEDS[name], target.trials, target.longest):
        try:
            accepted += target.accepts(data) and data not in SEEDS[name]
        except BaseException as error:
            # The file is what the next run of the tests begins with, once it is moved there.
            kept = Path("out/fuzz/crashes", name, f"{zlib.crc32(data):08x}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            pytest.fail(f"{type(error).__name__}: {str(error)[:300]}; next: mv {kept} tests/fuzz/crashes/{name}/")
    assert bool(accepted) == (name != "archive")
    assert accepted < target.trials or not target.refusals


def test_every_folder_of_inputs_has_a_target():
    folders = {path.name for kind in ("corpus", "crashes") for path in (HERE / kind).iterdir()}
    assert folders == {*TARGETS} == {name for name in TARGETS if SEEDS[name]}


def test_the_corpus_stays_small():
    assert sum(path.stat().st_size for _, path in FOUND) < 200_000


def test_what_is_not_documented_is_a_crash():
    def wrong(data: bytes) -> None:
        raise KeyError(data) if data else ShapeError("expected a, found b")

    target = Target(wrong, (ShapeError,))
    assert target.accepts(b"") is False
    with pytest.raises(KeyError):
        target.accepts(b"x")
    with pytest.raises(ShapeError):
        replace(target, refusals=(IntegrityError,)).accepts(b"")


class Untidy(ShapeError):
    """Shows what it is given as it is."""

    def __str__(self) -> str:
        return "expected a name, found \x1b[31m"


def test_an_error_that_a_terminal_would_obey_is_a_crash():
    def wrong(data: bytes) -> None:
        raise Untidy("")

    with pytest.raises(AssertionError, match="a terminal"):
        Target(wrong, (ShapeError,)).accepts(b"")


@pytest.mark.parametrize(
    ("module", "name", "wrong", "target", "data"),
    [
        (models, "check_onnx", lambda window, name: None, "onnx_bounds", FILES["a constant elsewhere, in a branch"]),
        (models, "check_onnx", lambda window, name: None, "onnx_bounds", FILES["dimensions without data"]),
        (bundles, "dump_signatures", lambda found: b"", "signatures", SEEDS["signatures"][-1]),
        (bundles, "check_signatures", lambda *_: (), "signatures", SEEDS["signatures"][-1]),
        (bundles, "parse_json", lambda data, name: {"a": 1}, "strict_json", b"{}"),
        (bundles, "archive", lambda bundle, out: out.write_bytes(b""), "archive", SEEDS["archive"][-1]),
        (bundles, "check_engine", lambda *_: None, "engine", b"ptrt"),
        (texts, "parse_company", lambda text: Company(Path("a"), float("nan")), "company", b"a@nan"),
        (texts, "load_recipe", lambda name: float("nan"), "recipe", b""),
    ],
)
def test_a_target_finds_a_parser_that_is_wrong(monkeypatch, module, name, wrong, target, data):
    monkeypatch.setattr(module, name, wrong)
    with pytest.raises(AssertionError):
        TARGETS[target].accepts(data)


def test_what_a_window_of_a_large_engine_shows_is_its_ends():
    """The oracle is the file itself."""
    data = bytes(range(1, 61))
    whole = data[:-4] + bytes(40) + data[-4:]
    load = bundles._stretched(data, len(whole))
    for start in range(len(whole)):
        for count in (0, 1, 7, 50, 200):
            assert load(start, count) == whole[start : start + count]


def test_changes_are_the_same_each_time_and_no_longer_than_asked():
    first, again = (list(mutants("a", [b"one two 3", b"{[x]}"], 300, 20)) for _ in range(2))
    assert first == again
    assert len({*first}) > 200
    assert max(map(len, first)) <= 20
    assert first != list(mutants("b", [b"one two 3", b"{[x]}"], 300, 20))


def test_the_words_of_a_dictionary_are_those_of_the_seeds():
    assert tokens([b'{"size": 12}', b"p99_ms<=20"]) == [b"12", b"20", b":", b"<=", b"p99_ms", b"size", b"{", b"}"]
    assert command.dictionary([b"ab @"]) == '"\\x40"\n"\\x61\\x62"\n'


# As libFuzzer prints them; the middle left out.
DONE = """\
#2	INITED cov: 12 ft: 30 corp: 3/1766b exec/s: 0 rss: 116Mb
#4096	pulse  cov: 156 ft: 474 corp: 51/31Kb lim: 1800 exec/s: 2048 rss: 120Mb
Done 23531 runs in 9 second(s)
stat::number_of_executed_units: 23531
"""
BROKEN = """\
#38	NEW    cov: 86 ft: 176 corp: 13/90b lim: 4 exec/s: 0 rss: 101Mb

 === Uncaught Python exception: ===
OSError: [Errno 36] File name too long: 'aaa'
Traceback (most recent call last):
==77== ERROR: libFuzzer: fuzz target exited
artifact_prefix='out/fuzz/crashes/company/'; Test unit written to out/fuzz/crashes/company/crash-5342
stat::number_of_executed_units: 61
"""
HUNG = "#9\tNEW    cov: 8 ft: 9 corp: 1/1b\n==77== ERROR: libFuzzer: timeout after 5 seconds\n"


def test_what_libfuzzer_says_is_read():
    run = command.report("a", DONE, 0)
    assert run == command.Run("a", 23531, 156, 474, 51)
    assert "CRASH" not in str(run)
    run = command.report("company", BROKEN, 77)
    where = "out/fuzz/crashes/company/crash-5342"
    assert run == command.Run("company", 61, 86, 176, 13, "OSError: [Errno 36] File name too long: 'aaa'", where)
    assert str(run).endswith(where)
    assert command.report("a", HUNG, 70) == command.Run("a", 9, 8, 9, 1, "timeout after 5 seconds")
    assert command.report("a", "", 1).crash == "the process ended with 1"
    assert command.report("a", DONE, -9).crash == "the process ended with -9"


def test_the_command_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", "1"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command.main() == 1
    assert "expected atheris, found none; next: make fuzz" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["fuzz", "manifests"])
    with pytest.raises(SystemExit):
        command.main()
    assert "found manifests" in capsys.readouterr().err


def test_a_crash_makes_the_command_fail(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "budget", "shape"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    crashes = {"budget": "KeyError: 'a'", "shape": ""}
    monkeypatch.setattr(command, "fuzzed", lambda name, seconds: command.Run(name, 1, 1, 1, 1, crashes[name]))
    assert command.main() == 1
    assert "CRASH: KeyError" in capsys.readouterr().out
    crashes["budget"] = ""
    assert command.main() == 0
