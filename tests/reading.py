"""READMEs and other pages as their readers use them: blocks of code, and commands that are run as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page, a path from the checkout's root."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def program(page: str, name: str) -> str:
    """The block of Python that begins with this file's name."""
    (found,) = [block for block in blocks(page, "python") if block.startswith(f"# {name}\n")]
    return found


def commands(page: str) -> list[str]:
    """The lines of all blocks of shell, without what they say of themselves."""
    return [line.split(" #")[0].strip() for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def tried(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with this run's Python, and `more` in its environment."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}
    command = re.sub(r"^edgekit ", "python -m edgekit ", command)
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


def run(command: str, folder: Path, **more: str) -> str:
    """The same, which has to succeed: what it printed."""
    done = tried(command, folder, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
