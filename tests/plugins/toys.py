"""Compiles the toy kernels beside this file against the emulator, and runs them.

What was compiled stays under out/plugins/toys, by a digest of the sources and the flags; one worker compiles, the
others wait for it, and a file is written aside and renamed, so that no one ever sees half of one.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
TOYS = Path(__file__).parent / "toys"
CACHE = ROOT / "out/plugins/toys"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = (
    "-std=c++20",
    "-g",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-missing-field-initializers",
)
INCLUDE = (f"-I{PLUGINS}", f"-I{PLUGINS / 'include'}")
SANITIZE = {
    "": ("-O2",),
    "thread": ("-O1", "-fsanitize=thread"),
    "address": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}


@functools.cache
def sources_digest() -> str:
    """Of everything that a toy includes or links."""
    digest = hashlib.sha256()
    for folder in (PLUGINS / "emu", PLUGINS / "include", TOYS):
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def compiled(name: str, *arguments: str, text: str = "") -> Path:
    """What the compiler made with these arguments, `-o` and `text` as its input; `name` is the file's name.

    Raises AssertionError with the compiler's messages.
    """
    command = [COMPILER, *FLAGS, *INCLUDE, *arguments]
    digest = hashlib.sha256("\0".join([sources_digest(), text, *command]).encode()).hexdigest()[:16]
    made = CACHE / f"{digest}-{name}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as aside:
                part = Path(aside) / name
                done = subprocess.run([*command, "-o", str(part)], input=text, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
                part.rename(made)
    return made


@functools.cache
def emulator(sanitize: str) -> str:
    """The emulator's object file, "" plain, "thread" or "address" sanitized.

    All its sources are one for the compiler, which takes half the time: no two may have a name of their own in common.
    """
    sources = sorted((PLUGINS / "emu").glob("*.cpp"))
    text = "".join(f'#include "{path}"\n' for path in sources)
    return str(compiled("emulator.o", *SANITIZE[sanitize], "-c", "-x", "c++", "-", text=text))


def toy(name: str, bug: str = "", sanitize: str = "") -> Path:
    """The program of toys/<name>.cu, right or with one `bug`."""
    define = (f"-DBUG_{bug}",) if bug else ()
    source = ("-x", "c++", str(TOYS / f"{name}.cu"), "-x", "none")
    return compiled(name, *SANITIZE[sanitize], *define, *source, emulator(sanitize))


def library(name: str) -> Path:
    """The shared library of toys/<name>.cu."""
    source = ("-x", "c++", str(TOYS / f"{name}.cu"), "-x", "none")
    return compiled(f"{name}.so", *SANITIZE[""], "-shared", *source, emulator(""))


@functools.cache
def fixed_addresses() -> tuple[str, ...]:
    """A prefix without address randomization: ThreadSanitizer cannot start where a kernel randomizes widely."""
    prefix = ("setarch", platform.machine(), "-R")
    if shutil.which("setarch") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
        return prefix
    return ()


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The program's run, which ends with 66 after a race and with 99 after a bad address."""
    sanitizers = {"TSAN_OPTIONS": "exitcode=66", "ASAN_OPTIONS": "exitcode=99"}
    command = [*fixed_addresses(), str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **sanitizers})


def result(program: Path, *arguments: object) -> list[float]:
    """The numbers that a right toy prints. Raises when it tells a fault."""
    done = run(program, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return [float(word) for word in done.stdout.removeprefix("result:").split()]


def fault(program: Path, *arguments: object) -> str:
    """The fault that a wrong toy tells."""
    done = run(program, *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("fault: ")
    assert done.stdout.count("\n") == 1
    return done.stdout.removeprefix("fault: ").strip()


def line(name: str, mark: str) -> str:
    """Where toys/<name>.cu says `// line: <mark>`, as "name.cu:12"; the last such line of several."""
    lines = (TOYS / f"{name}.cu").read_text().splitlines()
    (*_, number) = [index for index, text in enumerate(lines, 1) if text.endswith(f"// line: {mark}")]
    return f"{name}.cu:{number}"


def kernel_lines(report: str, name: str) -> list[str]:
    """The first line of toys/<name>.cu in each of a race report's two stacks."""
    stacks = re.split(r"Previous (?:atomic )?(?:write|read)", report.split("created by")[0])
    found = [re.search(rf"/{name}\.cu:\d+", stack) for stack in stacks]
    return [match.group(0)[1:] for match in found if match]
