"""A TensorRT engine on the disk: model.engine, and model.engine.json that says what it is and when it may be used."""

import dataclasses
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edgecolor.errors import ModelError
from edgecolor.manifest import Manifest

FORMAT = 1
OLDEST_TENSORRT = (10, 3)
Size = tuple[int, int, int]  # N, h0, w0 of lightness


@dataclass(frozen=True)
class Profile:
    """The sizes of lightness that an engine takes, and the one that it is tuned for."""

    min: Size
    opt: Size
    max: Size

    def holds(self, size: Size) -> bool:
        return all(low <= value <= high for low, value, high in zip(self.min, size, self.max, strict=True))

    def __str__(self) -> str:
        return ":".join("x".join(map(str, size)) for size in (self.min, self.opt, self.max))


@dataclass(frozen=True)
class EngineInfo:
    """The content of model.engine.json."""

    key: dict  # all that the engine depends on: see export/engine_cache.py
    manifest: Manifest
    profiles: tuple[Profile, ...]
    command: str  # that builds it again
    engine_sha256: str
    decode: str = ""  # file name of the engine of the op alone, beside this one
    views: int = 1  # of each picture that one run sees, and gives the mean of
    report: dict = dataclasses.field(default_factory=dict)
    format: int = FORMAT

    def write(self, path: Path) -> None:
        """Write it as JSON, beside the old file, then renamed over it."""
        plain = dataclasses.asdict(self)
        partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
        try:
            partial.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def sidecar_of(engine: Path) -> Path:
    return engine.with_name(f"{engine.name}.json")


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_info(engine: Path) -> EngineInfo:
    """raises ModelError where it is missing, damaged, or of another format"""
    path = sidecar_of(engine)
    build = "build the engine with `edgecolor build-engine`"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}), and {engine.name} needs it: {build}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON ({error}): {build}") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ModelError(f"{path} does not have format {FORMAT}: {build}")
    try:
        manifest = Manifest(**plain.pop("manifest"))
        sizes = [[tuple(map(int, entry[name])) for name in ("min", "opt", "max")] for entry in plain.pop("profiles")]
        profiles = tuple(Profile(*three) for three in sizes)
        info = EngineInfo(manifest=manifest, profiles=profiles, **plain)
        info.key["flavor"], info.key["tensorrt"], info.key["gpu"], info.key["decode"]
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError(f"{path} lacks or adds something ({' '.join(str(error).split())[:100]}): {build}") from error
    return info


def read_engine(engine: Path) -> tuple[bytes, EngineInfo]:
    """The plan, after its checksum was compared, and what it is. raises ModelError"""
    info = read_info(engine)
    try:
        plan = engine.read_bytes()
    except OSError as error:
        raise ModelError(f"{engine} cannot be read ({error.strerror}): build it with `{info.command}`") from error
    if sha256_of(plan) != info.engine_sha256:
        raise ModelError(f"{engine} is not the file that {sidecar_of(engine).name} tells of: run `{info.command}`")
    return plan, info


def version_of(text: str) -> tuple[int, ...]:
    """(10, 3, 0) of "10.3.0.26"."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def check_fits(engine: Path, info: EngineInfo, version: str, gpu_name: str, compute_capability: str) -> None:
    """raises ModelError, with the command that builds it again, unless it was built for this TensorRT and GPU"""
    built, gpu = info.key["tensorrt"], info.key["gpu"]
    compatible = info.key.get("version_compatible") and version_of(version) >= version_of(built)
    found = []
    if built != version and not compatible:
        found.append(f"TensorRT {built}, here is {version}")
    if info.key["flavor"] != "rtx" and (gpu["name"], gpu["compute_capability"]) != (gpu_name, compute_capability):
        found.append(f"{gpu['name']} ({gpu['compute_capability']}), here is {gpu_name} ({compute_capability})")
    if found:
        raise ModelError(f"{engine} was built for {'; and for '.join(found)}: run `{info.command}`")


def choose_profile(profiles: tuple[Profile, ...], size: Size) -> int | None:
    """The profile that holds the size and is tuned for the nearest one; None where none holds it."""
    holding = [i for i, profile in enumerate(profiles) if profile.holds(size)]

    def away(i: int) -> float:
        return sum(abs(value / tuned - 1) for value, tuned in zip(size, profiles[i].opt, strict=True))

    return min(holding, key=away, default=None)


def default_folder() -> Path:
    """Where `edgecolor build-engine` keeps what it built: EDGECOLOR_ENGINES, or the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EDGECOLOR_ENGINES") or Path(cache) / "edgecolor" / "engines")


def find_built(weights_sha256: str, flavors: tuple[str, ...], gpu_name: str) -> Path | None:
    """The newest engine in the default folder that was built from this model for this GPU."""
    found = []
    for sidecar in default_folder().glob("*.engine.json"):
        engine = sidecar.with_name(sidecar.name.removesuffix(".json"))
        try:
            info = read_info(engine)
        except ModelError:
            continue  # of another version of edgecolor, which may share the folder
        fits = info.key["flavor"] == "rtx" or info.key["gpu"]["name"] == gpu_name
        same = info.key.get("model_weights") == weights_sha256 and info.manifest.name != "decode"
        if engine.is_file() and fits and same and info.key["flavor"] in flavors:
            found.append(engine)
    return max(found, key=lambda engine: engine.stat().st_mtime, default=None)
