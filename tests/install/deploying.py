"""One process deploys two bundles in turn, another one opens what is there, both without a pause: run by
test_deploying.py.

    python deploying.py FOLDER SECONDS BUNDLE BUNDLE

They are deployed to three places: packed into a folder in the place of the last one, archived over the last archive,
and installed. Each bundle multiplies by the number that its verdict ends with, which stands in all of its other files,
too. Prints, as JSON, how often what was deployed, and how often which one was opened where.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from edgekit.bundle import Contents, archive, pack, read_manifest, verify
from edgekit.install import install
from edgekit.runtime import Session
from edgekit.runtime.opening import open_bundle
from tests.install.bundles import well
from tests.install.killing import forked

Counts = dict[str, int]


def deploy(folder: Path, bundle: Path) -> None:
    """To each of the places."""
    manifest = read_manifest(bundle)
    pack(folder / "bundle", manifest, Contents({name: bundle / name for name in manifest.files}))
    archive(bundle, folder / "b.ekb")
    install(bundle, folder / "root", check=well)


def deploy_all_the_time(folder: Path, bundles: list[Path]) -> None:
    """The second one first: the other is there."""
    for count in itertools.count(1):
        deploy(folder, bundles[count % len(bundles)])
        if (folder / "stop").exists():
            (folder / "deployed.json").write_text(json.dumps(count))
            return


def opened(place: Path) -> str:
    """Open what is there as an app does, have it compute, and read all of it: the number, the same throughout."""
    found = open_bundle(place, "ort", "raise")
    number = found.bundle.manifest.verdict.split()[1]
    with Session(found) as session:
        answer = session.run({"x": np.ones((1, 4), np.float32)})["y"]
    assert np.array_equal(answer, np.full((1, 4), float(number), np.float32)), (place, number, answer)
    manifest = read_manifest(place)
    names = {name for name in manifest.files if name.endswith(".txt")}
    whole = verify(place, keep=names)
    number_now = whole.manifest.verdict.split()[1].encode()
    assert len(names) > 1
    for name in names:
        assert set(whole.contents[name]) == set(number_now), (place, name)
    return number


def main(folder: Path, seconds: float, bundles: list[Path]) -> None:
    """See above."""
    deploy(folder, bundles[0])
    deployer = forked(lambda: deploy_all_the_time(folder, bundles))
    seen: dict[str, Counts] = {}
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            for name in ("bundle", "b.ekb", "root/current"):
                seen.setdefault(name, collections.Counter())[opened(folder / name)] += 1
    finally:
        (folder / "stop").touch()
        status = os.waitpid(deployer, 0)[1]
    assert status == 0, "a deploy failed"
    print(json.dumps({"deployed": json.loads((folder / "deployed.json").read_text()), "opened": seen}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
