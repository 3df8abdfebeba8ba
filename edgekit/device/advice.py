"""What a person on this device could do, most useful first; never done for them."""

from __future__ import annotations

from edgekit.device.board import Board
from edgekit.device.jetpack import JETPACKS, target_for
from edgekit.device.jetson import Jetson
from edgekit.device.memory import Memory
from edgekit.device.power import Power
from edgekit.device.preflight import Preflight
from edgekit.device.readiness import reaches_gpu
from edgekit.device.thermal import Thermal

# Thresholds of ours, not measured on a Jetson: below these a build is likely to be killed, or clocks to be lowered.
LITTLE_MEMORY_MIB = 3072
NEAR_LIMIT_C = 10.0
# From here on a module has memory enough to build without swap.
_MEMORY_WITHOUT_SWAP_MIB = 12 * 1024
_OLDEST_L4T = 36
_OLDER = {"tegra194": "Xavier (tegra194)", "tegra186": "TX2 (tegra186)", "tegra210": "Nano or TX1 (tegra210)"}


def advice(found: Preflight) -> list[str]:
    """The lines of advice, without the word."""
    if found.jetson is None or found.board is None:
        return _for_any_machine(found)
    jetson, board = found.jetson, found.board
    unfit = _unfit(jetson, board)
    return [
        *unfit,
        *([] if unfit else _tensorrt(found, board)),
        *_for_any_machine(found),
        *_toolkit(board),
        *_memory(found.memory),
        *_heat(board.thermal),
        *_power(board.power),
        *_clocks(board),
    ]


def _for_any_machine(found: Preflight) -> list[str]:
    lines = []
    if found.gpu.gpus and not reaches_gpu(found.packages):
        lines.append("engines need pycuda or cuda-bindings to run: pip install pycuda")
    if not found.jetson and found.machine == "x86_64" and not found.packages.get("tensorrt_rtx"):
        lines.append("engines for desktop GPUs can be built here: pip install tensorrt-rtx-cu13")
    return lines


def _unfit(jetson: Jetson, board: Board) -> list[str]:
    """Why this Jetson's software, or the Jetson itself, is no target, with the upgrade that makes it one."""
    if jetson.chip and jetson.compute_capability is None:
        name = _OLDER.get(jetson.chip, jetson.chip)
        return [f"{name} is neither Orin nor Thor and no target: its CPU runs the ONNX by onnxruntime, --target cpu"]
    release = int(jetson.l4t.partition(".")[0][:4]) if jetson.l4t else _OLDEST_L4T
    if release < _OLDEST_L4T:
        return [f"Jetson Linux {jetson.l4t} is older than JetPack 6 and no target: {_upgrade('6', jetson)}"]
    if board.target or board.tensorrt is None or jetson.jetpack is None:
        return []
    reason = f"JetPack {jetson.jetpack} has TensorRT {'.'.join(board.tensorrt.split('.')[:2])}, which is no target"
    return [f"{reason}: {_upgrade(jetson.jetpack[:1], jetson)}"]


def _upgrade(series: str, jetson: Jetson) -> str:
    """`upgrade to JetPack 6.1 or later`: the first of its series that is a target."""
    capability = jetson.compute_capability
    fitting = [
        item
        for item in JETPACKS
        if item.version.startswith(f"{series}.")
        and target_for(item.tensorrt, capability)
        and (jetson.jetpack is None or _parts(item.version) > _parts(jetson.jetpack))
    ]
    return f"upgrade to JetPack {fitting[0].version} or later" if fitting else "see docs/jetson.md"


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal() and len(part) < 5]


def _tensorrt(found: Preflight, board: Board) -> list[str]:
    """Is JetPack's TensorRT visible from this Python, and if not, what hides it."""
    if found.packages.get("tensorrt"):
        return []
    facts, installed = board.jetpack, board.installed
    visible = "make the virtual environment with /usr/bin/python3 -m venv --system-site-packages"
    if installed.known and not installed.tensorrt_python:
        return [f"TensorRT's Python comes with JetPack: sudo apt install python3-libnvinfer, then {visible}"]
    if facts and ".".join(found.python.split(".")[:2]) != facts.python:
        return [f"JetPack {facts.version}'s TensorRT is for Python {facts.python}, this is {found.python}: {visible}"]
    if installed.tensorrt_python:
        return [f"TensorRT's Python is installed and not visible here: {visible}"]
    return [f"TensorRT's Python is not visible here, JetPack has it as python3-libnvinfer: {visible}"]


def _toolkit(board: Board) -> list[str]:
    """What building pycuda and the plugins needs; nothing is said where dpkg's list cannot be read."""
    if not board.installed.known:
        return []
    missing = [] if board.installed.nvcc else ["nvcc"]
    missing += [] if board.installed.tensorrt_headers else ["TensorRT's C++ headers"]
    if not missing:
        return []
    what = "pycuda and the plugins are" if "nvcc" in missing else "the plugins are"
    return [f"{what} built with {' and '.join(missing)}, not found here: sudo apt install nvidia-jetpack"]


def _memory(memory: Memory) -> list[str]:
    lines = []
    if memory.free_mib is not None and memory.free_mib < LITTLE_MEMORY_MIB:
        lines.append(
            f"{memory.free_mib} MiB are little to build in: sudo systemctl isolate multi-user.target closes the "
            "desktop, edgekit build-engine --workspace-mib 512 asks for less"
        )
    small = memory.total_mib is not None and memory.total_mib < _MEMORY_WITHOUT_SWAP_MIB
    if small and memory.disk_swap_mib == 0:
        what = "zram is the only swap, and lies in the same memory" if memory.zram_mib else "there is no swap"
        lines.append(f"{what}: add a swap file, see docs/jetson.md")
    return lines


def _heat(thermal: Thermal) -> list[str]:
    zone = thermal.nearest
    lines = []
    if zone and zone.margin_c is not None and zone.margin_c < NEAR_LIMIT_C:
        limit = f"its {zone.limit} limit of {zone.limit_c:.1f} C"
        lines.append(f"{zone.name} at {zone.celsius:.1f} C is close to {limit}: cool it before measuring")
    if sum(item.events for item in thermal.over_current):
        lines.append(
            "over-current has throttled this device since its start: a smaller power mode or a stronger supply"
        )
    return lines


def _power(power: Power | None) -> list[str]:
    """`nvpmodel -m` may ask for a restart, which only the person can agree to."""
    if power is None or power.current is None:
        return ["before measuring: sudo nvpmodel -q shows the power mode"]
    if power.is_largest is False and power.largest:
        largest = power.largest
        return [f"power mode {power.current.name} is below {largest.name}: sudo nvpmodel -m {largest.id}"]
    return []


def _clocks(board: Board) -> list[str]:
    if board.clocks.held:
        return []
    known = "clocks are not held" if board.clocks.held is False else "before measuring"
    return [f"{known}: sudo jetson_clocks holds them at the power mode's largest, until the next restart"]
