"""Every fact of every file has a source, every source a fact, and each is a page, a measurement or our own word."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import edgekit
from edgekit.errors import RecipeError
from edgekit.recipe import read_toml
from edgekit.targets import facts
from edgekit.targets.devices import Device
from edgekit.targets.facts import read_facts, with_sources

FOLDER = Path(edgekit.__file__).parent / "targets"
FILES = sorted(path.name for path in FOLDER.glob("*.toml"))
TABLES = [(file, name) for file in ("targets.toml", "devices.toml") for name in read_facts(file)]
SOURCE = re.compile(r"(https://\S|measured with |edgekit: ).*")


def sources_of(value) -> list[str]:
    """All texts under a key `source`, at any depth."""
    if isinstance(value, list):
        return [text for item in value for text in sources_of(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("source", [])
    found = list(own.values()) if isinstance(own, dict) else [own] if own else []
    return found + [text for key, item in value.items() if key != "source" for text in sources_of(item)]


def test_all_four_files_are_read():
    assert FILES == ["devices.toml", "operators.toml", "precisions.toml", "targets.toml"]


@pytest.mark.parametrize(("file", "name"), TABLES)
def test_each_fact_has_one_source_and_no_source_stands_alone(file, name):
    table = dict(read_facts(file)[name])
    assert set(table.pop("source")) == set(table)


@pytest.mark.parametrize(("file", "key"), [("precisions.toml", "claim"), ("operators.toml", "documented"),
                                           ("operators.toml", "added"), ("operators.toml", "restriction")])  # fmt: skip
def test_each_entry_of_a_list_has_a_source(file, key):
    assert all(item.get("source") for item in read_facts(file)[key])


@pytest.mark.parametrize("file", FILES)
def test_a_source_is_a_page_or_a_measurement_or_our_own_word(file):
    found = sources_of(read_facts(file))
    assert len(found) >= 10
    for text in found:
        assert SOURCE.fullmatch(text), text
        assert "{" not in text


@pytest.mark.parametrize("file", FILES)
def test_every_cited_page_is_cited_and_secure(file):
    tables = read_toml(FOLDER / file)
    cited = tables.pop("cited")
    named = {name for text in sources_of(tables) for _, name, _, _ in string.Formatter().parse(text) if name}
    assert named == set(cited)
    assert all(page.startswith("https://") for page in cited.values())


def test_a_key_or_a_type_that_the_spec_does_not_have_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "__file__", str(tmp_path / "facts.py"))
    (tmp_path / "unread.toml").write_text(
        '[cited]\npage = "https://a.b"\n[one]\ntitle = "One"\ntargets = ["rtx"]\ncompute_capability = "8.6"\n'
        'dla_cores = 2\n[one.source]\ntitle = "{page}: here"\n[two]\ndla_cores = 2.5\n[three]\ncores = 2\n'
    )
    one = with_sources(Device, "unread.toml", "one")
    assert (one.dla_cores, one.sources) == (2, {"title": "https://a.b: here"})
    for name, problem in (("two", "dla_cores: expected int"), ("three", "unknown key 'cores'")):
        with pytest.raises(RecipeError, match=rf"unread\.toml: \[{name}\].*{problem}"):
            with_sources(Device, "unread.toml", name)
