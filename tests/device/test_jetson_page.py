"""docs/jetson.md: no Jetson runs it here, so what can be held is held: options, paths, versions, sample and program."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import click
import pytest

from edgekit.cli import root
from edgekit.device import preflight, summary_lines
from edgekit.device.jetpack import JETPACKS, target_for
from edgekit.postprocess.classify import Label
from edgekit.runtime import Session
from edgekit.runtime.session import Timing
from tests.device import trees

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs/jetson.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split(" #")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.startswith("edgekit ")
]
NOT_RUN = "# not run: no Jetson\n"


def parsed(command: str) -> click.Context:
    """The context of the last sub-command; click raises a UsageError for what it does not know."""
    group, arguments = root, shlex.split(command)[1:]
    context = root.make_context("edgekit", list(arguments))
    while isinstance(group, click.Group):
        name, group, arguments = group.resolve_command(context, arguments)
        context = group.make_context(name, list(arguments), parent=context)
    return context


def options(group: click.Group) -> set[str]:
    """Every option of every command."""
    found: set[str] = set()
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found |= options(command) if isinstance(command, click.Group) else set()
        found |= {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return found


def test_the_page_has_the_way_from_apt_to_a_camera():
    assert len(COMMANDS) >= 10
    words = [
        "apt install",
        "-m venv --system-site-packages",
        "pip install '.[build]'",
        "edgekit doctor",
        "nvpmodel -m",
        "sh build.sh",
        "edgekit run",
        "VideoCapture",
    ]
    code = "\n".join(block for _, block in BLOCKS)
    places = [code.index(word) for word in words]
    assert places == sorted(places)


def test_every_block_for_the_device_says_that_it_was_not_run():
    assert "**No command on this page has been run on a Jetson: we have none.**" in TEXT.split("\n## ")[0]
    first_lines = [block.partition("\n")[0] + "\n" for language, block in BLOCKS if language in ("sh", "python")]
    assert set(first_lines) == {NOT_RUN, "# on the desktop\n"}
    assert first_lines.count("# on the desktop\n") == 2
    assert {language for language, _ in BLOCKS} == {"sh", "python", "text"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_edgekit_parses(command):
    parsed(command)


@pytest.mark.parametrize(
    "command", ["edgekit doctor --colour", "edgekit doctors", "edgekit run out", "edgekit plugins x"]
)
def test_a_command_that_is_not_there_is_caught(command):
    with pytest.raises(click.UsageError):
        parsed(command)


def test_every_option_named_in_the_prose_exists():
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    named = {span.split()[0] for span in re.findall(r"`(--[^`]+)`", prose)}
    assert {"--target", "--json", "--shape"} <= named
    assert named <= options(root)


def test_paths_and_extras_that_are_named_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / link).exists(), link
    project = (REPOSITORY / "pyproject.toml").read_text()
    for extra in {name for group in re.findall(r"'\.\[([\w,-]+)\]'", TEXT) for name in group.split(",")}:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    for advice in re.findall(r"docs/[\w.]+", (REPOSITORY / "edgekit/device/advice.py").read_text()):
        assert (REPOSITORY / advice).exists(), advice


def test_the_table_of_jetpacks_is_that_of_the_code():
    rows = [re.findall(r"[^|]+", line) for line in TEXT.splitlines() if re.match(r"\| [67]\.", line)]
    cells = [tuple(cell.strip() for cell in row) for row in rows]
    assert cells == [
        (
            item.version,
            ", ".join(item.l4t) or "unknown",
            item.cuda,
            item.tensorrt,
            item.python,
            target_for(item.tensorrt, "8.7") or "none",
            target_for(item.tensorrt, "11.0") or "none",
        )
        for item in JETPACKS
    ]


def test_the_sample_is_what_doctor_says(tree):
    lines = summary_lines(preflight(tree(trees.ORIN_NANO_JETPACK_62), "libcuda-that-is-not-there.so.1"))
    [sample] = [block for language, block in BLOCKS if language == "text"]
    assert sample in "\n".join(lines) + "\n"
    assert sample.startswith("memory")
    assert "throttled" in sample


def test_the_camera_program_runs_on_a_camera_of_two_frames(monkeypatch, capsys):
    """With stand-ins that have the signatures of Session; the camera gives BGR, and RGB goes in."""
    [program] = [block for language, block in BLOCKS if language == "python"]
    frames = [(True, "bgr 1"), (True, "bgr 2"), (False, None)]
    camera = SimpleNamespace(set=lambda *_: True, read=lambda: frames.pop(0))
    cv2 = SimpleNamespace(
        VideoCapture=lambda index: camera,
        CAP_PROP_BUFFERSIZE=38,
        COLOR_BGR2RGB=4,
        cvtColor=lambda frame, code: frame.replace("bgr", "rgb"),
    )
    session = create_autospec(Session, instance=True)
    session.__enter__.return_value = session
    session.execute.return_value = Timing(0, 2_500_000)
    session.postprocess.return_value = [[Label(index=3, name="cup", probability=0.9)]]
    opened = create_autospec(Session)
    opened.open.return_value = session
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.setattr("edgekit.runtime.Session", opened)
    monkeypatch.setattr(sys, "argv", ["camera.py", "out/bundle"])
    exec(compile(program, "camera.py", "exec"), {})
    opened.open.assert_called_once_with("out/bundle")
    assert [call.args for call in session.preprocess.call_args_list] == [("rgb 1",), ("rgb 2",)]
    assert capsys.readouterr().out.splitlines()[1:] == ["cup 90% 2.5 ms"] * 2
