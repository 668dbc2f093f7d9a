"""Where the native libraries are, and how they are built: the CUDA kernels, and the TensorRT plugin around them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from edgecolor.errors import ConfigError, MissingDependencyError

KERNELS, PLUGIN = "libedgecolor_kernels.so", "libedgecolor_plugin.so"
OLDEST_TENSORRT = (10, 3)


def default_folder() -> Path:
    """Where `edgecolor build-plugins` puts the libraries: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "edgecolor" / "plugins"


def find_library(name: str = PLUGIN) -> Path | None:
    """The library KERNELS or PLUGIN, or None if it is not built. EDGECOLOR_PLUGINS names another folder to look in."""
    folder = Path(os.environ.get("EDGECOLOR_PLUGINS") or default_folder())
    return folder / name if (folder / name).is_file() else None


def find_sources() -> Path:
    """The folder cpp_plugins of the installed package, or of the checkout.

    raises  MissingDependencyError where edgecolor came without it
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "cpp_plugins", package.parent / "cpp_plugins"):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise MissingDependencyError(
        "the sources of the plugins are not installed: clone edgecolor's repository and give --source cpp_plugins"
    )


def find_headers(given: Path | None = None) -> Path | None:
    """The folder with NvInferRuntime.h: the given one, EDGECOLOR_TRT_INCLUDE, TensorRT_ROOT, the system's; or None.

    raises  ConfigError if the given one has no headers
    """
    if given and not (given / "NvInferRuntime.h").is_file():
        raise ConfigError(f"no NvInferRuntime.h in {given}: give the folder named include of TensorRT")
    root = os.environ.get("TensorRT_ROOT")  # noqa: SIM112, the name that CMake gives it
    machine = os.uname().machine
    folders = [given, os.environ.get("EDGECOLOR_TRT_INCLUDE"), root and Path(root) / "include"]
    folders += [f"/usr/include/{machine}-linux-gnu", "/usr/include", "/usr/local/tensorrt/include"]
    return next((Path(folder) for folder in folders if folder and (Path(folder) / "NvInferRuntime.h").is_file()), None)


def version_of_headers(include: Path) -> tuple[int, int]:
    """Major and minor version.

    raises  MissingDependencyError for what is older than the plugin interface that is used, or not recognized
    """
    path = include / "NvInferVersion.h"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    numbers = []
    for part in ("MAJOR", "MINOR"):
        # TensorRT 11 defines the one name by another.
        match = re.search(rf"#define\s+(?:NV_TENSORRT|TRT)_{part}(?:_\w+)?\s+(\d+)", text)
        if not match:
            raise MissingDependencyError(f"{include} has TensorRT headers of unknown version: use 10.3 or later")
        numbers.append(int(match[1]))
    version = numbers[0], numbers[1]
    if version < OLDEST_TENSORRT:
        raise MissingDependencyError(
            f"TensorRT {version[0]}.{version[1]} is too old for the plugin, 10.3 is the oldest (JetPack 6.1): "
            "update it, or build engines with --decode native"
        )
    return version


def build(
    out: Path,
    source: Path | None = None,
    include: Path | None = None,
    headers_tag: str | None = None,
    architectures: str | None = None,
    kernels_only: bool = False,
) -> list[Path]:
    """Compile the libraries.

    out            folder that they go to
    source         cpp_plugins; None: see find_sources
    include        folder with TensorRT's headers; None: see find_headers
    headers_tag    tag of NVIDIA's open-source TensorRT to download headers from where none are found, such as v10.3.0
    architectures  as CMAKE_CUDA_ARCHITECTURES, such as "native" or "87"; None: all that the toolkit knows
    kernels_only   leave the plugin out
    returns        the libraries
    raises         MissingDependencyError for what is not installed, ConfigError where the compiler fails
    """
    source = source or find_sources()
    if not (source / "CMakeLists.txt").is_file():
        raise ConfigError(f"no CMakeLists.txt in {source}: give the folder cpp_plugins of edgecolor's repository")
    for tool, remedy in (("cmake", "pip install cmake"), ("nvcc", "install NVIDIA's CUDA toolkit, 12 or later")):
        if not _find_tool(tool):
            raise MissingDependencyError(f"{tool} is not on PATH: {remedy}")
    include = None if kernels_only else find_headers(include)
    if include:
        version_of_headers(include)
    elif not kernels_only and not headers_tag:
        raise MissingDependencyError(
            "TensorRT's headers (NvInferRuntime.h) are not found: give --include or --headers-tag, "
            "or --kernels-only for the kernels without the plugin"
        )
    work = out / "build"
    options = [f"-DCMAKE_CUDA_COMPILER={_find_tool('nvcc')}", f"-DEDGECOLOR_REQUIRE_PLUGIN={not kernels_only}"]
    options += [f"-DEDGECOLOR_WITH_PLUGIN={not kernels_only}"]
    options += [f"-DEDGECOLOR_TRT_INCLUDE={include}"] if include else []
    options += [f"-DEDGECOLOR_TRT_TAG={headers_tag}"] if headers_tag and not include else []
    options += [f"-DCMAKE_CUDA_ARCHITECTURES={architectures}"] if architectures else []
    out.mkdir(parents=True, exist_ok=True)
    # What an earlier call chose must not live on; cmake --fresh is newer than what JetPack 6 brings.
    (work / "CMakeCache.txt").unlink(missing_ok=True)
    log = out / "build.log"
    with log.open("w", encoding="utf-8") as output:
        for command in (
            ["cmake", "-S", str(source), "-B", str(work), *options],
            ["cmake", "--build", str(work)],
            ["cmake", "--install", str(work), "--prefix", str(out)],
        ):
            if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
                raise ConfigError(f"`{' '.join(command[:3])}` failed: {_reason(log)} (all of it is in {log})")
    return [out / name for name in ((KERNELS,) if kernels_only else (KERNELS, PLUGIN))]


def _find_tool(name: str) -> str | None:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which(name) or (shutil.which(name, path=f"{home}/bin") if name == "nvcc" else None)


def _reason(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.strip() for line in lines if re.search(r"\berror\b|fatal", line, re.IGNORECASE)]
    return (errors or [line.strip() for line in lines if line.strip()] or ["no output"])[0][:200]
