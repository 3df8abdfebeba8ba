"""TensorRT-RTX: its own graphs, and the kernels that it compiled, kept where only this user can write."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from edgekit.runtime.trt import TensorRTBackend
from edgekit.runtime.trt_cache import CacheFile
from tests.runtime.fake_driver import models, stand_in
from tests.runtime.fake_driver.check_states import bind, by_hand, frames, recurrent, step
from tests.runtime.fake_driver.harness import bind_tagger, feeds, oracle, outputs, tagger


@pytest.fixture(autouse=True)
def fresh():
    stand_in.RtxEngine.compiled.clear()
    stand_in.RtxEngine.strategies.clear()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "edgekit"


def open_and_close():
    backend = tagger("tensorrt_rtx")
    backend.close()
    return backend


def test_it_computes_the_same_and_captures_by_itself(kind, driver):
    backend, reference = tagger("tensorrt_rtx"), oracle(*models.tagger())
    for each in (backend, reference):
        bind_tagger(each, 2, 3)
    for seed in range(6):
        np.testing.assert_array_equal(
            outputs(backend, feeds(2, 3, seed), "y"), outputs(reference, feeds(2, 3, seed), "y")
        )
    assert stand_in.RtxEngine.strategies == [stand_in.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE]
    assert (backend.name, backend.notes["cuda_graph"]) == ("rtx", "TensorRT-RTX captures the whole graph itself")
    assert driver.get("launches") == 0
    backend.close()


def test_with_states_it_captures_nothing_since_their_addresses_change(kind):
    backend = recurrent("tensorrt_rtx")
    bind(backend, 2)
    xs = frames(5)
    for x, y in zip(xs, by_hand(xs)[0], strict=True):
        np.testing.assert_array_equal(step(backend, x), y)
    assert stand_in.RtxEngine.strategies == [stand_in.CudaGraphStrategy.DISABLED]
    assert backend.notes["cuda_graph"].startswith("none: a carried state changes its address")
    backend.close()


def test_the_second_start_compiles_nothing(folder):
    first = open_and_close()
    (file,) = folder.iterdir()
    assert first.notes["kernel_cache"] == f"written to {file}"
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert open_and_close().notes["kernel_cache"] == f"read {file}"
    assert stand_in.RtxEngine.compiled == ["all"]


def test_a_folder_of_the_apps_own_choice(tmp_path, folder):
    model, specs = models.tagger()
    backend = TensorRTBackend(stand_in.make_engine(model), "tensorrt_rtx", specs, cache=tmp_path / "mine" / "here")
    backend.close()
    assert len(list((tmp_path / "mine" / "here").iterdir())) == 1
    assert not folder.exists()


def test_the_users_own_folder_is_found_without_xdg(monkeypatch, tmp_path):
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        monkeypatch.setenv("HOME", str(tmp_path))
        open_and_close()
        assert len(list((tmp_path / ".cache" / "edgekit").iterdir())) == 1


def test_what_is_compiled_later_is_kept_when_the_session_ends(folder):
    backend = tagger("tensorrt_rtx")
    (file,) = folder.iterdir()
    backend._engine._runtime_cache.content += b" for another shape"
    backend.close()
    assert file.read_bytes().endswith(b" for another shape")
    assert list(folder.iterdir()) == [file]


def test_another_engine_version_or_device_has_another_file(folder):
    names = {
        CacheFile(folder, engine, version, device)._name
        for engine in (b"a", b"b")
        for version in ("1.7", "1.8")
        for device in ("Orin", "4090")
    }
    assert len(names) == 8


def test_what_another_version_compiled_is_not_used(folder):
    open_and_close()
    (file,) = folder.iterdir()
    file.write_bytes(b"kernels of 1.6: old")
    backend = tagger("tensorrt_rtx")
    assert file.read_bytes() == b"kernels of 1.7: convolution, product"
    assert stand_in.RtxEngine.compiled == ["all", "all"]
    backend.close()


def test_a_cache_without_a_serial_form_is_not_written(folder, monkeypatch):
    monkeypatch.setattr(stand_in.RuntimeCache, "serialize", lambda self: None)
    assert open_and_close().notes["kernel_cache"] == "none yet"
    assert not folder.exists()


@pytest.mark.parametrize("harm", ["others may write", "group may write", "folder", "foreign", "link", "directory"])
def test_what_others_may_have_written_is_not_read(folder, harm, monkeypatch, tmp_path):
    open_and_close()
    (file,) = folder.iterdir()
    content = file.read_bytes()
    if harm == "others may write":
        file.chmod(0o602)
    elif harm == "group may write":
        file.chmod(0o620)
    elif harm == "folder":
        folder.chmod(0o770)
    elif harm == "foreign":
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    elif harm == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.unlink()
        file.mkdir()
    cache = CacheFile(folder, b"", "", "")
    cache._name = file.name
    assert cache.read() == b""
    assert cache.note.startswith("not read: ")
    backend = open_and_close()
    assert stand_in.RtxEngine.compiled == ["all", "all"]
    assert len(list(folder.iterdir())) == 1
    if harm in ("folder", "foreign", "directory"):
        assert backend.notes["kernel_cache"].startswith("not written: ")
    else:  # it is replaced by one that is ours
        assert not file.is_symlink()
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (content, 0o600)


def test_a_folder_that_cannot_be_made_is_a_note(monkeypatch, tmp_path):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert open_and_close().notes["kernel_cache"].startswith("not written: ")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home")))
    assert "Could not determine home" in open_and_close().notes["kernel_cache"]


def test_what_does_not_fit_on_the_disk_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        for _ in range(2):
            cache = CacheFile(tmp_path / "cache", b"", "", "")
            cache.write(bytes(1 << 17))
            assert cache.note.startswith("not written: ")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache").iterdir()) == []
