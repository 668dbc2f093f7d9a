"""The NVIDIA GPU, asked for through its driver with nothing else installed.

TensorRT crashes instead of raising where there is none, so whoever wants to use it asks here first.
"""

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgecolor.errors import MissingDependencyError

LIBRARY = "libcuda.so.1"
RELEASE = Path("/etc/nv_tegra_release")  # on a Jetson
# CUdevice_attribute of the driver's interface.
CLOCK_KHZ, MULTIPROCESSORS, INTEGRATED, MAJOR, MINOR = 13, 16, 18, 75, 76
ELSEWHERE = "use --backend onnxruntime, or a machine with an NVIDIA GPU"


@dataclass(frozen=True)
class Gpu:
    name: str
    major: int  # compute capability
    minor: int
    multiprocessors: int
    clock_mhz: int  # the highest
    integrated: bool  # shares its memory with the processor, as on Jetson
    driver: str  # newest CUDA that the driver knows, such as 12.6

    @property
    def compute_capability(self) -> str:
        return f"{self.major}.{self.minor}"


def find_gpu(index: int = 0, otherwise: str = ELSEWHERE) -> Gpu:
    """raises MissingDependencyError, which says what to do otherwise, where there is no driver or no GPU"""
    try:
        cuda = ctypes.CDLL(LIBRARY)
        asked = (cuda.cuInit, cuda.cuDeviceGetCount, cuda.cuDeviceGet, cuda.cuDeviceGetName, cuda.cuDeviceGetAttribute)
        initialize, get_count, get_device, get_name, get_attribute = asked
        get_version = cuda.cuDriverGetVersion
    except (OSError, AttributeError) as error:
        raise MissingDependencyError(f"no NVIDIA driver is installed ({LIBRARY}): {otherwise}") from error
    status = initialize(0)
    count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if status == 0:
        status = get_count(ctypes.byref(count))
    if status or count.value <= index:
        why = f"the NVIDIA driver answers {status}" if status else f"the NVIDIA driver knows {count.value} GPUs"
        raise MissingDependencyError(f"{why}: {otherwise}")
    get_device(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    get_name(name, len(name), device)
    get_version(ctypes.byref(version))

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        get_attribute(ctypes.byref(value), number, device)
        return value.value

    return Gpu(
        name=name.value.decode(errors="replace"),
        major=attribute(MAJOR),
        minor=attribute(MINOR),
        multiprocessors=attribute(MULTIPROCESSORS),
        clock_mhz=attribute(CLOCK_KHZ) // 1000,
        integrated=bool(attribute(INTEGRATED)),
        driver=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def clocks() -> dict[str, str]:
    """What decides how fast the GPU is right now: its clocks, or the power mode of a Jetson; empty without a GPU."""
    if tool := shutil.which("nvpmodel"):
        said = _say([tool, "-q"]).splitlines()
        modes = [line.split(":", 1)[1].strip() for line in said if line.startswith("NV Power Mode")]
        return {"power mode": modes[0]} if modes else {}
    if tool := shutil.which("nvidia-smi"):
        names = ("clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit", "temperature.gpu")
        said = _say([tool, f"--query-gpu={','.join(names)}", "--format=csv,noheader"]).splitlines()
        return dict(zip(names, (value.strip() for value in said[0].split(",")), strict=False)) if said else {}
    return {}


def jetpack() -> str:
    """The release of the Jetson's Linux, such as "R36 (release), REVISION: 4.0"; empty elsewhere."""
    if not RELEASE.is_file():
        return ""
    return RELEASE.read_text(encoding="utf-8", errors="replace").split(", GCID")[0].strip("# \n")


def _say(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
