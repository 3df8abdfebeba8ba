"""A user's own code is imported and called; what it does wrong is one line of the caller's kind of error."""

from __future__ import annotations

import sys

import pytest

from edgekit.errors import DataError, ModelError
from edgekit.usercode import call, load_callable


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a module `users_own`; what importing it leaves behind is taken away."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("users_own", "users_other"):
        monkeypatch.setitem(sys.modules, name, None)

    def write(text, name="users_own"):
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(text)
        return str(tmp_path / f"{name}.py")

    return write


def refused(path, blame=DataError):
    with pytest.raises(blame) as error:
        load_callable(path, blame)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_module_and_a_file(file):
    assert load_callable("textwrap:dedent", DataError)("  a") == "a"
    assert load_callable(file("def make():\n    return 3\n") + ":make", DataError)() == 3


def test_a_file_finds_its_neighbours_and_its_own_classes(file):
    """As `python file.py` does; pickling a dataclass needs its module by name."""
    file("VALUE = 5\n", "users_other")
    text = "import pickle, users_other\nclass Own: pass\nmake = lambda: (users_other.VALUE, pickle.dumps(Own()))\n"
    value, pickled = load_callable(file(text) + ":make", DataError)()
    assert value == 5
    assert b"users_own" in pickled


def test_two_files_of_one_name(file, tmp_path):
    first = load_callable(file("def make():\n    return 1\n") + ":make", DataError)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "users_own.py").write_text("def make():\n    return 2\n")
    second = load_callable(f"{tmp_path}/b/users_own.py:make", DataError)
    assert (first(), second()) == (1, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_thing\n", "found ModuleNotFoundError: No module named 'no_such_thing'"),
        ("raise SystemExit(2)\n", "found SystemExit: 2"),
        ("raise ValueError('two\\nlines')\n", "found ValueError: two lines"),
        ("def make(:\n", "found SyntaxError"),
        ("def mak():\n    pass\n", "expected a callable 'make'"),
        ("def mak():\n    pass\n", "did you mean 'mak'?"),
        ("make = 3\n", "found none"),
    ],
)
def test_a_file_that_cannot_be_used(file, text, says):
    assert says in refused(file(text) + ":make")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no_such_module:make", "expected to import no_such_module, found ModuleNotFoundError"),
        ("none/file.py:make", "found FileNotFoundError: no file none/file.py"),
        ("textwrap:dedant", "expected a callable 'dedant' in textwrap, found none; did you mean 'dedent'"),
        ("textwrap:", "expected a callable '' in textwrap"),
        (":make", "expected to import , found ValueError"),
        (".relative:make", "found TypeError"),
    ],
)
def test_what_is_not_there(path, says):
    assert says in refused(path)
    assert says in refused(path, ModelError)


def test_what_a_call_raises_is_told_with_its_type():
    def broken():
        raise RuntimeError("no\ncamera")

    assert call("m:f", lambda: 3, DataError) == 3
    for function, says in ((broken, "RuntimeError: no camera"), (lambda: sys.exit("done"), "SystemExit: done")):
        with pytest.raises(ModelError) as error:
            call("m:f", function, ModelError)
        assert str(error.value) == f"expected m:f to return, found {says}"
        assert error.value.__cause__ is not None


def test_an_interrupt_stays_one():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call("m:f", interrupted, DataError)
