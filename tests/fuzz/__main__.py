"""`make fuzz`: every parser of what comes from outside, fuzzed by the branches that inputs reach; exits 1 on a crash.

    .venv/bin/python -m tests.fuzz --seconds 600 manifest recipe

Each target runs alone in a process of its own until the time is over or an input breaks it: an exception that it does
not document, a broken promise about what it accepted, more than 5 s or 2 GiB. That input is kept in out/fuzz/crashes/;
it belongs into tests/fuzz/crashes/ with the repair. What reached new branches is kept in out/fuzz/corpus/ and is where
the next run begins.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutate import tokens
from tests.fuzz.targets import HERE, TARGETS, inputs

OUT = Path("out/fuzz")
_TIMEOUT_S, _MEMORY_MIB = 5, 2048
_WHY = re.compile(r"^ === Uncaught Python exception: ===\n(.*)|^==\d+== ERROR: libFuzzer: (.*)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What one process did: `features` are branches and how often each is taken; `crash` is empty where none broke."""

    name: str
    executions: int
    branches: int
    features: int
    kept: int
    crash: str = ""
    input: str = ""

    def __str__(self) -> str:
        line = f"{self.name:12} {self.executions:>9,} executions  {self.branches:>5} branches  "
        line += f"{self.features:>6} features  {self.kept:>5} inputs kept"
        return f"{line}  CRASH: {self.crash}\n{'':12} {self.input}" if self.crash else line


def main() -> int:
    """Print a line a target, and 1 where one broke."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}; all unless given")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - TARGETS.keys():
        parser.error(f"expected names among {', '.join(TARGETS)}, found {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        print("expected atheris, found none; next: make fuzz, or pip install -r tests/fuzz/requirements.txt")
        return 1
    runs = []
    for name in arguments.names or TARGETS:
        runs.append(fuzzed(name, arguments.seconds))
        print(runs[-1], flush=True)
    return 1 if any(run.crash for run in runs) else 0


def fuzzed(name: str, seconds: int) -> Run:
    """Run one target; its whole output is kept in out/fuzz/NAME.txt."""
    grown, broken = OUT / "corpus" / name, OUT / "crashes" / name
    for folder in (grown, broken):
        folder.mkdir(parents=True, exist_ok=True)
    words = OUT / f"{name}.dict"
    words.write_text(dictionary([path.read_bytes() for path in inputs("corpus", name)]))
    options = {"max_total_time": seconds, "timeout": _TIMEOUT_S, "rss_limit_mb": _MEMORY_MIB, "seed": 1}
    options |= {"max_len": TARGETS[name].longest, "artifact_prefix": f"{broken}/", "dict": words}
    options |= {"print_final_stats": 1}
    folders = [grown, HERE / "corpus" / name]
    if inputs("crashes", name):
        folders.append(HERE / "crashes" / name)
    command = [sys.executable, "-m", "tests.fuzz.one", name, *(f"-{key}={value}" for key, value in options.items())]
    with tempfile.TemporaryDirectory(prefix="edgekit-fuzz-") as scratch:
        done = subprocess.run(
            [*command, *map(str, folders)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": scratch},
            text=True,
            errors="replace",
        )
    (OUT / f"{name}.txt").write_text(done.stdout)
    return report(name, done.stdout, done.returncode)


def report(name: str, said: str, code: int) -> Run:
    """What libFuzzer's output says; a process that ended otherwise than by itself is a crash, too."""
    last = (re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said) or [("0", "0", "0")])[-1]
    executions = re.findall(r"number_of_executed_units:\s*(\d+)", said) or re.findall(r"^#(\d+)", said, re.MULTILINE)
    why, path = _WHY.search(said), re.search(r"Test unit written to (\S+)", said)
    crash = ""
    if code or why or path:
        crash = next(filter(None, why.groups()), "") if why else f"the process ended with {code}"
    branches, features, kept = map(int, last)
    return Run(name, int((executions or ["0"])[-1]), branches, features, kept, crash, path.group(1) if path else "")


def dictionary(seeds: list[bytes]) -> str:
    """The words of the seeds as libFuzzer reads them."""
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in tokens(seeds))
    return "".join(f'"{line}"\n' for line in lines)


if __name__ == "__main__":
    sys.exit(main())
