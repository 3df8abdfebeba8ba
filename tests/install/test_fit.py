"""What is said of a bundle's engines beside the device, before anything is copied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.bundle import EngineEntry, Trust
from edgekit.configs import InstallConfig
from edgekit.device import Gpu, GpuSearch, Host
from edgekit.errors import TargetError
from edgekit.install.fit import check_fit
from edgekit.install.health import Health
from edgekit.install.report import report_on
from edgekit.install.root import Root
from edgekit.install.source import read_source
from edgekit.reports import Stopwatch
from edgekit.runtime.choice import choose
from edgekit.runtime.fit import engine_fits

ORIN = EngineEntry("orin.engine", "tensorrt", "10.3.0", ("8.7",))
ADA = EngineEntry("ada.engine", "tensorrt", "11.4.0", ("8.6", "8.9"))
RTX = EngineEntry("rtx.engine", "tensorrt_rtx", "1.7.1", ("8.9",))


@pytest.fixture
def device(monkeypatch):
    """`device("8.9", tensorrt="11.4.0")`: what this machine is made to be; None for no GPU."""

    def make(capability: str | None, reason: str = "", driver: str | None = None, **versions: str) -> None:
        gpus = (Gpu("Test GPU", capability, 8192, False),) if capability else ()
        monkeypatch.setattr("edgekit.device.find_gpus", lambda: GpuSearch(gpus, reason, driver))
        monkeypatch.setattr("edgekit.device.this_host", lambda: Host("linux", "x86_64"))
        for module in ("edgekit.runtime.choice", "edgekit.runtime.fit"):
            monkeypatch.setattr(f"{module}.installed_version", lambda flavour: versions.get(flavour, ""))
        known = {*versions, "pycuda"}
        monkeypatch.setattr("edgekit.runtime.choice.installed", lambda module: module in known)

    return make


@pytest.fixture
def manifest_of(bundles):
    return lambda *engines: replace(read_source(bundles["A"], Trust()).manifest, engines=engines)


def refusal(manifest, **config) -> str:
    with pytest.raises(TargetError) as error:
        check_fit(manifest, InstallConfig(**config))
    assert error.value.exit_code == 6
    return str(error.value)


def test_an_engine_for_another_device_is_named_beside_this_one(device, manifest_of):
    device("8.9", tensorrt="11.4.0")
    assert refusal(manifest_of(ORIN), fallback=False) == (
        "expected an engine that runs here, found none: orin.engine is for SM 8.7, TensorRT 10.3.0; "
        "this device is SM 8.9, TensorRT 11.4.0; "
        "next: edgekit build-engine BUNDLE/model.onnx OUT.engine --target T here, then "
        "edgekit bundle add-engine BUNDLE OUT.engine NEW"
    )
    (fit,) = check_fit(manifest_of(ORIN), InstallConfig())
    assert (fit.file, fit.fits) == ("orin.engine", False)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ((None, "no driver"), "rtx.engine is for SM 8.9, TensorRT-RTX 1.7.1; this device has no GPU (no driver), with"),
        (("8.9", ""), "this device is SM 8.9, without TensorRT-RTX; next"),
    ],
)
def test_what_is_missing_is_said(device, manifest_of, made, says):
    device(*made)
    assert says in refusal(manifest_of(RTX), fallback=False)


def test_several_engines_are_all_named(device, manifest_of):
    device("7.5", tensorrt="11.4.0")
    assert (
        "orin.engine is for SM 8.7, TensorRT 10.3.0, ada.engine is for SM 8.6 and 8.9, TensorRT 11.4.0, rtx.engine is "
        "for SM 8.9, TensorRT-RTX 1.7.1; this device is SM 7.5, TensorRT 11.4.0 and is SM 7.5, without TensorRT-RTX;"
    ) in refusal(manifest_of(ORIN, ADA, RTX), fallback=False)


def test_which_fit(device, manifest_of):
    device("8.9", tensorrt="11.4.0")
    fits = check_fit(manifest_of(ORIN, ADA, RTX), InstallConfig(fallback=False))
    assert {fit.file: fit.fits for fit in fits} == {"orin.engine": False, "ada.engine": True, "rtx.engine": False}
    device("8.9", tensorrt="10.3.0")
    assert [fit.fits for fit in engine_fits((ORIN, ADA))] == [False, True], "TensorRT has the last word"


def test_who_asks_for_onnxruntime_may_have_it(device, manifest_of):
    device("8.9", tensorrt="11.4.0")
    check_fit(manifest_of(ORIN), InstallConfig(backend="ort", fallback=False))
    assert "the bundle has no engine" in refusal(manifest_of(), fallback=False)
    assert "expected an engine for rtx in the bundle, found none" in refusal(manifest_of(ORIN), backend="rtx")


def test_an_engine_without_a_runtime_is_a_warning_of_the_report(device, manifest_of, bundles, root):
    device("8.9", tensorrt="11.4.0")
    source = replace(read_source(bundles["A"], Trust()), manifest=manifest_of(ORIN))
    place = Root(root)
    place.make()

    def warnings(engine: str, *engines: EngineEntry) -> tuple[str, ...]:
        health = Health("ort", "cpu", engine, "a reason", "nothing")
        return report_on(place, source, engine_fits(engines), health, Stopwatch()).warnings

    assert warnings("", ORIN) == (
        "no engine of the bundle runs here, onnxruntime does (a reason): orin.engine is for SM 8.7, TensorRT 10.3.0; "
        "this device is SM 8.9, TensorRT 11.4.0; next: edgekit build-engine BUNDLE/model.onnx OUT.engine --target T "
        "here, then edgekit bundle add-engine BUNDLE OUT.engine NEW",
    )
    assert warnings("ada.engine", ORIN, ADA) == warnings("") == ()


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        (
            {"os": "linux", "architecture": "aarch64"},
            "is for SM 8.9, TensorRT-RTX 1.7.1, linux aarch64; this device is SM 8.9, TensorRT-RTX 1.7.1, linux x86_64",
        ),
        (
            {"os": "windows", "architecture": "x86_64"},
            "is for SM 8.9, TensorRT-RTX 1.7.1, windows x86_64; this device is SM 8.9, TensorRT-RTX 1.7.1, linux x86",
        ),
        (
            {"minimum_cuda": "13.0"},
            "is for SM 8.9, TensorRT-RTX 1.7.1, a driver of CUDA 13.0; this device is SM 8.9, TensorRT-RTX 1.7.1, a "
            "driver of CUDA 12.9;",
        ),
    ],
)
@pytest.mark.parametrize("backend", ["auto", "rtx"])
def test_an_engine_is_bound_to_platform_and_driver_too(device, manifest_of, backend, bound, says):
    device("8.9", driver="12.9", tensorrt_rtx="1.7.1")
    engine = replace(RTX, **bound)
    assert says in refusal(manifest_of(engine), backend=backend, fallback=False)
    assert choose(manifest_of(RTX, engine), backend)[0].engine == RTX
    assert not any(choice.engine == engine for choice in choose(manifest_of(RTX, engine), backend))


@pytest.mark.parametrize("bound", [{"os": "linux", "architecture": "x86_64", "minimum_cuda": "12.0"}, {}])
def test_what_is_bound_to_this_very_device_is_chosen(device, manifest_of, bound):
    device("8.9", driver="12.9", tensorrt_rtx="1.7.1")
    engine = replace(RTX, **bound)
    for backend in ("auto", "rtx"):
        assert choose(manifest_of(engine), backend)[0].engine == engine


def test_who_asks_for_an_engine_of_another_gpu_is_told_before_it_is_read(device, manifest_of):
    device("7.5", tensorrt_rtx="1.7.1")
    with pytest.raises(TargetError, match=r"expected an engine that runs here, found none: rtx\.engine is for SM 8.9"):
        choose(manifest_of(RTX), "rtx")
    device(None, "no driver", tensorrt_rtx="1.7.1")  # then the loading says what is missing
    assert choose(manifest_of(RTX), "rtx")[0].engine == RTX
