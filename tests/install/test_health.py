"""A bundle is opened and asked in a process of its own; what that finds, and how it may end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from edgekit import fresh  # noqa: E402
from edgekit.bundle import Contents, EngineEntry, make_keys, pack, read_manifest, sign  # noqa: E402
from edgekit.configs import InstallConfig  # noqa: E402
from edgekit.errors import DataError, IntegrityError, SessionError, TargetError  # noqa: E402
from edgekit.install import Health, check_health, health, install  # noqa: E402
from edgekit.install.health import check_golden  # noqa: E402
from edgekit.runtime.loop import Golden  # noqa: E402
from tests.install.bundles import HEALTH, names, version  # noqa: E402
from tests.runtime.small_streams import FLOAT, bundle_of, made, running_sum, value  # noqa: E402


def times(factor: float, folder: Path) -> Path:
    """A bundle: x [batch,4] -> y, so many times x."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    factors = {"factor": np.array(factor, np.float32)}
    model = made(nodes, [value("x", FLOAT, "batch", 4)], [value("y", FLOAT, "batch", 4)], factors)
    return bundle_of(model, folder, None, {"batch": (1, 2, 4)})


def golden(path: Path, factor: float) -> Path:
    x = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    Golden({"x": x}, {"y": x * np.float32(factor)}).save(path)
    return path


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> Path:
    return times(2, tmp_path_factory.mktemp("twice"))


def checked(folder: Path, **config) -> Health:
    """In this process, which is quicker."""
    return health._checked(folder, InstallConfig(**config))


def test_in_a_process_of_its_own(twice, tmp_path):
    made_up = checked(twice)
    assert made_up == Health(
        "ort", "cpu", "", "the bundle has no engine", "nothing: a made-up input gave finite outputs"
    )
    right = check_health(twice, InstallConfig(golden=golden(tmp_path / "right.npz", 2), backend="ort"))
    assert right == Health("ort", "cpu", "", "asked for", "y within 20 dB of right.npz")
    with pytest.raises(SessionError, match=r"golden input: expected y within 20 dB .*, found 6\.0 dB"):
        check_health(twice, InstallConfig(golden=golden(tmp_path / "wrong.npz", 4)))


@pytest.mark.parametrize(("kind", "code"), [(IntegrityError, 7), (TargetError, 6), (SessionError, 1)])
def test_an_error_comes_back_as_it_was(monkeypatch, kind, code):
    said = json.dumps({"error": "expected this, found that", "next": "do so", "code": code})
    monkeypatch.setattr(fresh, "START", f"print({said!r})")
    with pytest.raises(kind, match="expected this, found that; next: do so") as error:
        check_health(Path("nowhere"), InstallConfig())
    assert type(error.value) is kind


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import os; os.kill(os.getpid(), 11)", "its process ended, killed by SIGSEGV: nothing said"),
        ("import sys; sys.exit('what it said')", "its process ended, exit code 1: what it said"),
        (f"import os; print({json.dumps(asdict(HEALTH))!r}, flush=True); os.abort()", "killed by SIGABRT"),
        ("pass", "ended, without an answer: nothing said"),
    ],
)
def test_a_process_that_ends_otherwise_is_no_answer(monkeypatch, program, says):
    monkeypatch.setattr(fresh, "START", program)
    with pytest.raises(SessionError, match=says):
        check_health(Path("nowhere"), InstallConfig())


def test_a_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(health, "LONGEST_S", 0.2)
    monkeypatch.setattr(fresh, "START", "import time; time.sleep(600)")
    with pytest.raises(SessionError, match=r"expected the bundle to answer in 0\.2 s, found its process busy"):
        check_health(Path("nowhere"), InstallConfig())


def test_the_process_ends_with_an_installer_that_is_killed():
    """What hangs in a deserialiser must not hold the GPU for ever."""
    hangs = (
        "import os, threading, time; from edgekit.install.health import _end_with_installer; "
        "threading.Thread(target=_end_with_installer, daemon=True).start(); "
        "print(os.getpid(), file=open('/dev/stderr', 'w'), flush=True); time.sleep(600)"
    )
    program = (
        "import sys; from pathlib import Path; from edgekit import fresh; from edgekit.install import health; "
        "from edgekit.configs import InstallConfig; "
        "fresh.START = sys.argv[1]; health.tempfile.TemporaryFile = lambda: open('/dev/stdout', 'wb'); "
        "health.check_health(Path('x'), InstallConfig())"
    )
    with subprocess.Popen([sys.executable, "-c", program, hangs], stdout=subprocess.PIPE) as installer:
        child = int(installer.stdout.readline())
        os.kill(child, 0)
        installer.kill()
        until = time.monotonic() + 60
        while not _ended(child):
            assert time.monotonic() < until, "it hangs on"
            time.sleep(0.01)


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_libraries_print_is_no_answer(twice, monkeypatch):
    noisy = (
        "import os, edgekit.install.health as it; real = it._checked; "
        "it._checked = lambda *given: [print('noise'), os.system('echo more'), real(*given)][-1]; "
    )
    monkeypatch.setattr(fresh, "START", fresh.START.replace("import_module(sys", noisy + "import_module(sys"))
    assert check_health(twice, InstallConfig()).backend == "ort"


def test_a_bundle_has_its_own_golden_input_and_a_given_one_comes_first(twice, tmp_path):
    def with_golden(name: str, factor: float) -> Path:
        copies = {"model.onnx": twice / "model.onnx", "golden.npz": golden(tmp_path / f"{name}.npz", factor)}
        pack(tmp_path / name, read_manifest(twice), Contents(copies=copies))
        return tmp_path / name

    assert checked(with_golden("good", 2)).compared == "y within 20 dB of golden.npz"
    bad = with_golden("bad", 5)
    with pytest.raises(SessionError, match="golden input"):
        checked(bad)
    assert checked(bad, golden=golden(tmp_path / "mine.npz", 2)).compared == "y within 20 dB of mine.npz"


def test_its_own_golden_input_is_of_the_bytes_that_were_verified(twice, tmp_path, monkeypatch):
    """Another program writes over the file between the check and the use: not a byte of that reaches NumPy."""
    from edgekit.data import arrays
    from edgekit.runtime import opening

    copies = {"model.onnx": twice / "model.onnx", "golden.npz": golden(tmp_path / "good.npz", 2)}
    pack(tmp_path / "bundle", read_manifest(twice), Contents(copies=copies))
    right, real, read = (tmp_path / "good.npz").read_bytes(), opening.open_bundle, []

    def opened(*arguments):
        found = real(*arguments)
        (tmp_path / "bundle/golden.npz").write_bytes(swap[-1])
        return found

    real_read = arrays.read_npz
    monkeypatch.setattr(arrays, "read_npz", lambda file: (read.append(file.read()), file.seek(0), real_read(file))[2])
    monkeypatch.setattr(opening, "open_bundle", opened)
    swap = [right + b"x"]  # what is behind it nobody reads
    assert checked(tmp_path / "bundle").compared == "y within 20 dB of golden.npz"
    assert read == [right]
    for other in (golden(tmp_path / "other.npz", 5).read_bytes(), right[:-1], b""):
        swap.append(other)
        (tmp_path / "bundle/golden.npz").write_bytes(right)
        with pytest.raises(IntegrityError, match=r"expected golden\.npz in .* as it was when it was opened"):
            checked(tmp_path / "bundle")
    assert read == [right]


def test_a_golden_input_that_is_none_is_told_by_its_name(twice, tmp_path):
    """Whoever made the bundle made it so: the digests are right."""
    (tmp_path / "text").write_text("no arrays")
    copies = {"model.onnx": twice / "model.onnx", "golden.npz": tmp_path / "text"}
    pack(tmp_path / "bundle", read_manifest(twice), Contents(copies=copies))
    with pytest.raises(DataError, match=r"expected arrays at golden\.npz, found: "):
        checked(tmp_path / "bundle")


def test_without_one_the_outputs_have_to_be_finite(tmp_path):
    with pytest.raises(SessionError, match="y: expected finite outputs, found NaN or infinity; next: --golden"):
        checked(times(np.inf, tmp_path))


def test_outputs_that_the_golden_input_does_not_name_have_to_be_finite(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Log", ["x"], ["z"])]
    outputs = [value(name, FLOAT, "batch", 4) for name in "yz"]
    bundle = bundle_of(made(nodes, [value("x", FLOAT, "batch", 4)], outputs, {}), tmp_path, None, {"batch": (1, 1, 4)})
    for factor, good in ((1, True), (-1, False)):
        x = factor * np.ones((1, 4), np.float32)
        path = tmp_path / f"{factor}.npz"
        Golden({"x": x}, {"y": x}).save(path)
        if good:
            assert checked(bundle, golden=path).compared == "y within 20 dB of 1.npz"
        else:
            with pytest.raises(SessionError, match="z: expected finite outputs"):
                checked(bundle, golden=path)


def test_an_input_that_cannot_be_made_up_needs_a_real_one(twice, monkeypatch):
    def refuses(specs, shapes):
        assert ([spec.name for spec in specs], shapes) == (["x"], {"x": (2, 4)})
        raise DataError("x: expected real inputs, found none", "--data D")

    monkeypatch.setattr("edgekit.latency.inputs.made_up", refuses)
    with pytest.raises(DataError, match=r"expected real inputs, found none; next: --golden F.npz"):
        checked(twice)


def test_a_network_with_states_answers_too(tmp_path):
    from edgekit.specs import Stream

    ranges = {"batch": (1, 1, 4), "time": (1, 1, 8)}
    assert checked(bundle_of(running_sum(), tmp_path, Stream(("total=total_out",)), ranges)).backend == "ort"


def test_a_golden_input_that_is_none_is_told_before_anything_is_copied(tmp_path):
    check_golden(InstallConfig())
    check_golden(InstallConfig(golden=golden(tmp_path / "right.npz", 2)))
    with pytest.raises(DataError, match="expected arrays at"):
        check_golden(InstallConfig(golden=tmp_path / "none.npz"))


def test_an_engine_that_does_not_load_is_no_engine_where_one_has_to_run(twice, monkeypatch):
    """It seemed to fit, and TensorRT refused it: onnxruntime took its place."""
    from edgekit.runtime import opening

    real = opening.open_bundle

    def opened(*arguments):
        found = real(*arguments)
        engines = (EngineEntry("m.engine", "tensorrt", "10.3.0", ("8.9",)),)
        object.__setattr__(found.bundle.manifest, "engines", engines)
        object.__setattr__(found.choice, "reason", "no engine of the bundle loads here; it was refused")
        return found

    monkeypatch.setattr(opening, "open_bundle", opened)
    with pytest.raises(TargetError, match=r"found none: m\.engine is for SM 8\.9, TensorRT 10\.3\.0; this device"):
        checked(twice, fallback=False)
    assert checked(twice).reason == "no engine of the bundle loads here; it was refused"


def test_installed_with_the_check_that_an_app_gets(twice, root, tmp_path):
    with pytest.raises(SessionError, match="golden input"):
        install(twice, root, InstallConfig(golden=golden(tmp_path / "wrong.npz", 4)))
    assert names(root) == []
    report = install(twice, root, InstallConfig(golden=golden(tmp_path / "right.npz", 2)))
    assert report.health.compared == "y within 20 dB of right.npz"
    assert version(root) == report.version


def test_keys_reach_the_process_as_paths(small_bundle, tmp_path):
    make_keys(tmp_path / "key")
    signed = shutil.copytree(small_bundle, tmp_path / "signed")
    sign(signed, tmp_path / "key")
    config = InstallConfig(trusted_keys=(tmp_path / "key.pub",))
    assert check_health(signed, config).backend == "ort"
    make_keys(tmp_path / "other")
    with pytest.raises(IntegrityError, match="expected"):
        check_health(signed, InstallConfig(trusted_keys=(tmp_path / "other.pub",)))


def test_a_system_without_a_place_for_temporary_files_has_one_beside_the_bundle(twice, monkeypatch):
    real = tempfile.TemporaryFile

    def nowhere(dir=None):
        if dir is None:
            raise FileNotFoundError(2, "No usable temporary directory found")
        return real(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    assert checked(twice).backend == "ort"
