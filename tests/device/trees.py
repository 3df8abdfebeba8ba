"""File trees of three Jetsons, as `edgekit doctor` reads them.

Written for these tests, not recorded on a device: each file has the form that its documentation gives (the modules of
edgekit/device name it), and the numbers are those of the modules' data sheets or made up where any would do.
"""

from __future__ import annotations

Tree = dict[str, str]


def cpus(count: int, current: int, low: int, high: int, largest: int) -> Tree:
    """cpufreq of `count` cores, in kHz."""
    values = {
        "scaling_cur_freq": current,
        "scaling_min_freq": low,
        "scaling_max_freq": high,
        "cpuinfo_max_freq": largest,
        "scaling_governor": "schedutil",
    }
    folder = "sys/devices/system/cpu"
    return {
        f"{folder}/cpu{core}/cpufreq/{name}": f"{value}\n" for core in range(count) for name, value in values.items()
    }


def devfreq(name: str, current: int, low: int, high: int, steps: list[int]) -> Tree:
    """devfreq of one device, in Hz."""
    values = {"cur_freq": current, "min_freq": low, "max_freq": high, "governor": "nvhost_podgov"}
    values["available_frequencies"] = " ".join(map(str, steps))
    return {f"sys/class/devfreq/{name}/{file}": f"{value}\n" for file, value in values.items()}


def zone(index: int, name: str, temperature: int, **trips: int) -> Tree:
    """A thermal zone in millidegrees with its trips by kind, such as passive=99000."""
    folder = f"sys/class/thermal/thermal_zone{index}"
    files = {f"{folder}/type": f"{name}\n", f"{folder}/temp": f"{temperature}\n"}
    for number, (kind, limit) in enumerate(trips.items()):
        files[f"{folder}/trip_point_{number}_type"] = f"{kind}\n"
        files[f"{folder}/trip_point_{number}_temp"] = f"{limit}\n"
    return files


def nvpmodel(current: int, default: int, *names: str) -> Tree:
    """The modes by number in the order given, a comment that looks like one, and the mode that is set."""
    head = "#\n# < POWER_MODEL ID=<id> NAME=<name> >\n# < POWER_MODEL ID=9 NAME=MAXN_OLD >\n"
    modes = "".join(
        f"< POWER_MODEL ID={number} NAME={name} >\nCPU_ONLINE CORE_0 1\nGPU MAX_FREQ -1\n\n"
        for number, name in enumerate(names)
    )
    return {
        "etc/nvpmodel.conf": f"{head}\n{modes}# mandatory\n< PM_CONFIG DEFAULT={default} >\n",
        "var/lib/nvpmodel/status": f"pmode:{current:04d}\n",
    }


def dpkg(**versions: str) -> Tree:
    """/var/lib/dpkg/status; `_` in a name stands for `-`, and bash and a removed package are there too."""
    wanted = {"bash": "5.1-6ubuntu1", **{name.replace("_", "-"): version for name, version in versions.items()}}
    paragraphs = [
        f"Package: {name}\nStatus: install ok installed\nArchitecture: arm64\nVersion: {version}\nDescription: a\n b\n"
        for name, version in wanted.items()
    ]
    removed = "Package: libnvinfer8\nStatus: deinstall ok config-files\nVersion: 8.5.2-1+cuda11.4\n"
    return {"var/lib/dpkg/status": "\n".join([removed, *paragraphs])}


def memory(total: int, available: int, *swaps: str) -> Tree:
    """/proc/meminfo in kB, /proc/swaps, and a cgroup without a limit."""
    header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    return {
        "proc/meminfo": f"MemTotal:       {total} kB\nMemFree:         100000 kB\nMemAvailable:   {available} kB\n",
        "proc/swaps": header + "".join(f"{line}\n" for line in swaps),
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.current": "734003200\n",
    }


def release(major: int, revision: str) -> Tree:
    """The file by which Jetson Linux names itself."""
    line = f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: a day\n"
    return {"etc/nv_tegra_release": line + "# KERNEL_VARIANT: oot\n"}


ORIN_NANO_JETPACK_62: Tree = {
    **release(36, "4.3"),
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    **dpkg(
        nvidia_l4t_core="36.4.3-20250107174145",
        nvidia_jetpack="6.2+b77",
        libnvinfer10="10.3.0.30-1+cuda12.5",
        libnvinfer_dev="10.3.0.30-1+cuda12.5",
        libnvinfer_headers_dev="10.3.0.30-1+cuda12.5",
        python3_libnvinfer="10.3.0.30-1+cuda12.5",
        cuda_toolkit_12_6="12.6.11-1",
        cuda_toolkit_12_6_config_common="12.6.68-1",
    ),
    "usr/local/cuda/bin/nvcc": "",
    **nvpmodel(1, 1, "15W", "25W", "MAXN_SUPER"),
    **memory(7802880, 5242880, *(f"/dev/zram{index}  partition  650240  0  5" for index in range(6))),
    **devfreq("17000000.gpu", 306000000, 306000000, 918000000, [306000000, 612000000, 918000000, 1020000000]),
    **cpus(6, 729600, 729600, 1344000, 1728000),
    **zone(0, "cpu-thermal", 48250, active=30000, passive=99000, critical=104500),
    **zone(1, "gpu-thermal", 47000, passive=99000, critical=104500),
    **zone(2, "cv0-thermal", -256000, passive=99000, critical=104500),
    **zone(10, "tj-thermal", 48500, passive=99000, hot=101000, critical=104500),
    "sys/class/hwmon/hwmon0/name": "nct1008\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    **{f"sys/class/hwmon/hwmon3/oc{index}_event_cnt": "0\n" for index in (1, 2, 3)},
}

AGX_ORIN_JETPACK_721: Tree = {
    **release(39, "2.1"),
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.4 LTS"\n',
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
    **dpkg(
        nvidia_l4t_core="39.2.1-20260807055422",
        nvidia_jetpack="7.2.1-b49",
        libnvinfer10="10.16.2.10-1+cuda13.2",
        libnvinfer_headers_dev="10.16.2.10-1+cuda13.2",
        python3_libnvinfer="10.16.2.10-1+cuda13.2",
        cuda_toolkit_13_2="13.2.2-1",
    ),
    "usr/local/cuda/bin/nvcc": "",
    **nvpmodel(0, 2, "MAXN", "MODE_15W", "MODE_30W", "MODE_50W"),
    **memory(64325632, 58720256),
    **devfreq("17000000.gpu", 1300500000, 1300500000, 1300500000, [306000000, 612000000, 1300500000]),
    **cpus(12, 2201600, 2201600, 2201600, 2201600),
    **zone(0, "cpu-thermal", 52968, passive=99000, critical=104500),
    **zone(8, "tj-thermal", 53000, passive=99000, critical=104500),
    "sys/kernel/debug/bpmp/debug/clk/emc/rate": "3199000000\n",
}

THOR_JETPACK_70: Tree = {
    **release(38, "2.0"),
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
    **dpkg(
        nvidia_l4t_core="38.2.0-20250821174705",
        nvidia_jetpack="7.0-b128",
        libnvinfer10="10.13.3.9-1+cuda13.0",
        libnvinfer_headers_dev="10.13.3.9-1+cuda13.0",
        python3_libnvinfer="10.13.3.9-1+cuda13.0",
        cuda_toolkit_13_0="13.0.2-1",
    ),
    "usr/local/cuda/bin/nvcc": "",
    **nvpmodel(1, 1, "MAXN", "120W", "90W", "70W", "40W"),
    **memory(128790528, 121634816, "/swapfile  file  33554428  0  -2"),
    **devfreq("gpu-gpc-0", 315000000, 315000000, 1386000000, [315000000, 1386000000, 1575000000]),
    **devfreq("gpu-nvd-0", 1692000000, 1692000000, 1692000000, [315000000, 1692000000]),
    **cpus(14, 972000, 972000, 2601000, 2601000),
    **zone(0, "cpu-thermal", 37343, passive=109000, critical=115000),
    **zone(1, "gpu-thermal", 38875, passive=109000, critical=115000),
}
