"""Engines that were built already, by everything that they depend on; and one process at a time that builds."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecolor.engines import EngineInfo, read_engine, sha256_of, sidecar_of
from edgecolor.errors import ConfigError, ModelError


def digest_of(key: dict) -> str:
    """A name for a key: 16 hexadecimal digits."""
    return sha256_of(json.dumps(key, sort_keys=True).encode())[:16]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all processes that lock this file; waits for the others. A process that dies lets go."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be written to ({error.strerror}): set EDGECOLOR_ENGINES") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def look_up(engine: Path, key: dict) -> tuple[EngineInfo | None, str]:
    """What the cache has under this name.

    returns  the engine's info or None, and in a word why: hit; miss: not there; rebuild: there, but damaged or not this
    """
    if not engine.is_file() and not sidecar_of(engine).is_file():
        return None, "miss"
    try:
        _, info = read_engine(engine)
    except ModelError:
        return None, "rebuild"
    return (info, "hit") if info.key == json.loads(json.dumps(key)) else (None, "rebuild")


def timing_cache_of(folder: Path, flavor: str, version: str, gpu_name: str) -> Path:
    """The file of measurements that builds with this TensorRT on this GPU share."""
    name = "".join(c if c.isalnum() else "-" for c in f"{flavor}-{version}-{gpu_name}".lower())
    return folder / f"timing-{name}.cache"
