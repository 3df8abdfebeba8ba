"""The commands of examples/10_install: signed, archived, installed, changed on the way and refused."""

from __future__ import annotations

import shutil

import pytest

from edgekit.errors import IntegrityError
from edgekit.runtime import Session
from tests.reading import commands, tried

pytestmark = pytest.mark.slow  # starts twenty processes
pytest.importorskip("cryptography", reason="signatures: pip install 'edgekit[sign]'")


def test_its_commands(checkout, small_bundle):
    (checkout / "out/demo").mkdir(parents=True)
    shutil.copytree(small_bundle, checkout / "out/demo/bundle")
    said = []
    for command in commands("examples/10_install/README.md"):
        done = tried(command, checkout)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "test $? -eq 7" in command:
            (line,) = done.stderr.splitlines()
            said.append(line)
    damaged, hidden, stranger = said
    assert "of damaged/model.onnx, found " in damaged
    assert "to be one of this manifest, found that it is not" in hidden
    assert "expected a signature by a trusted key, " in stranger
    versions = [path.name for path in (checkout / "robot/versions").iterdir()]
    assert versions == [(checkout / "robot/current").resolve().name]
    with Session.open(checkout / "robot/current", trusted_keys=str(checkout / "keys/maker.pub")) as session:
        assert session.signed.startswith("signed by ")
    with pytest.raises(IntegrityError):
        Session.open(checkout / "robot/current", trusted_keys=str(checkout / "keys/stranger.pub"))
