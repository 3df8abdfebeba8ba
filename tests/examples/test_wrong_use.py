"""Examples that are called wrongly, or find no bundle, camera or port, say so in one line."""

from __future__ import annotations

import contextlib
import re
import socket

import pytest

from tests.examples.conftest import like_a_checkout
from tests.reading import tried
from tests.run.conftest import colours  # noqa: F401

MAIN = {name: f"python examples/{name}/main.py" for name in ("02_camera", "03_voice", "07_your_model")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return like_a_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize("name", MAIN)
@pytest.mark.parametrize("words", ["", "one", "one two three four five"])
def test_other_arguments_are_told_what_they_are(folder, name, words):
    done = tried(f"{MAIN[name]} {words}", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"[^\n]+: python main\.py [A-Z]+[^\n]*\n", done.stderr)


@pytest.mark.parametrize("name", MAIN)
def test_no_bundle(folder, name):
    done = tried(f"{MAIN[name]} none other" + " photo.png" * (name == "07_your_model"), folder)
    assert done.returncode == 1
    assert re.fullmatch(r"edgekit: error: expected .*(none|other|cryptography).*\n", done.stderr)


@pytest.mark.parametrize(("source", "taken"), [("camera:77", False), ("clip.mp4", False), ("synthetic:30", True)])
def test_no_camera_and_no_port(folder, colours, source, taken):  # noqa: F811
    pytest.importorskip("av")
    with socket.socket() as other:
        if taken:
            with contextlib.suppress(OSError):  # by somebody else, which does as well
                other.bind(("127.0.0.1", 8080))
                other.listen()
        done = tried(f"{MAIN['02_camera']} {colours} {source} 1", folder)
    assert done.returncode == 1
    said = "8080" if taken else source.removeprefix("camera:")
    assert re.fullmatch(rf"edgekit: error: expected .*{said}.*\n", done.stderr)
