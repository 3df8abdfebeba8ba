"""Kill installers at random moments, while another process opens what is current: run by test_killed.py.

    python killing.py ROOT KILLS SEED BUNDLE…

Each bundle multiplies by the number that its verdict ends with. Prints how many kills left what behind.
"""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from edgekit.install import install
from tests.install.bundles import mark_of, names, state, version, well


def forked(work) -> int:
    """Do it in a process of its own, until that is killed; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def read_all_the_time(root: Path, stop: Path) -> None:
    """Open what is current as an app does, and have it compute: the answer is that of the manifest which it has."""
    import numpy as np

    from edgekit.bundle import verify
    from edgekit.runtime import Session
    from edgekit.runtime.opening import open_bundle

    seen: collections.Counter[str] = collections.Counter()
    while not stop.exists():
        opened = open_bundle(root / "current", "ort", "raise")
        mark = opened.bundle.manifest.verdict.split()[1]
        with Session(opened) as session:
            answer = session.run({"x": np.ones((1, 4), np.float32)})["y"]
        assert np.array_equal(answer, np.full((1, 4), float(mark), np.float32)), (mark, answer)
        verified = verify(root / "current", keep={"labels.txt"})
        assert verified.manifest.verdict.split()[1] == verified.contents["labels.txt"].decode(), "two bundles mixed"
        seen[mark] += 1
    stop.with_name("seen.json").write_text(json.dumps(seen))


def install_all_the_time(root: Path, bundles: list[Path], first: int, begun: int) -> None:
    """One after the other."""
    os.write(begun, b"!")
    while True:
        for bundle in bundles[first:] + bundles[:first]:
            install(bundle, root, check=well)


def left_behind(root: Path) -> str:
    """In which state a killed installer has left the versions and the links."""
    links = [version(root), version(root, "previous")]
    if any(name.endswith(".part") for name in names(root)):
        return "a part of a version"
    if set(names(root)) - set(links):
        return "a version without a link"
    return "both links on one version" if links[0] == links[1] else "all in order"


def main(root: Path, kills: int, seed: int, bundles: list[Path]) -> None:
    """See above."""
    pick = random.Random(seed)
    for bundle in bundles[:2]:
        install(bundle, root, check=well)
    stop = root.with_name("stop")
    reader = forked(lambda: read_all_the_time(root, stop))
    left: collections.Counter[str] = collections.Counter()
    takes_s = 0.01
    for _ in range(kills):
        told, begun = os.pipe()
        first = pick.randrange(len(bundles))
        installer = forked(lambda first=first, begun=begun: install_all_the_time(root, bundles, first, begun))
        os.close(begun)
        os.read(told, 1)
        os.close(told)
        time.sleep(pick.uniform(0, 2 * takes_s))
        os.kill(installer, signal.SIGKILL)
        assert os.waitpid(installer, 0)[1] == signal.SIGKILL, "it failed by itself"
        mark_of(root / "current")
        left[left_behind(root)] += 1
        again = pick.choice(bundles)
        start = time.perf_counter()
        install(again, root, check=well)
        takes_s = time.perf_counter() - start
        assert state(root)["current"] == mark_of(again)
        assert set(names(root)) == {version(root), version(root, "previous")}
    stop.touch()
    assert os.waitpid(reader, 0)[1] == 0, "what was opened was no whole bundle"
    print(json.dumps({"left": left, "seen": json.loads(stop.with_name("seen.json").read_text())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
