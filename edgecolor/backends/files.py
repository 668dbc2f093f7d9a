"""Model files read without their packages: manifest and checksum of .onnx and .safetensors, and where models lie."""

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from edgecolor.catalogue import CATALOGUE, how_to_get
from edgecolor.errors import ModelError
from edgecolor.manifest import Manifest, weights_sha256

WEIGHTS = Path(__file__).parent.parent / "weights"
DECODE = "decode"  # name of the model that is the op alone
SUFFIXES = (".onnx", ".safetensors")
# Field numbers of ONNX's protobuf messages that matter here.
MODEL_GRAPH, MODEL_METADATA, GRAPH_INITIALIZER, TENSOR_NAME, TENSOR_RAW_DATA = 7, 14, 5, 8, 9


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message, as (number, content). raises ValueError where it is damaged"""
    at, end = 0, len(message)

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= end or shift > 63:
                raise ValueError("it ends in the middle of a field")
            byte = message[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value

    while at < end:
        key = varint()
        number, kind = key >> 3, key & 7
        if number == 0 or kind not in (0, 1, 2, 5):
            raise ValueError(f"byte {at} starts no field")
        size = {0: 0, 1: 8, 5: 4}.get(kind, -1)
        if size <= 0:
            value = varint()
            size = value if kind == 2 else 0
        if at + size > end:
            raise ValueError(f"{at + size - end} bytes are missing at its end")
        if kind == 2:
            yield number, message[at : at + size]
        at += size


def texts(message: memoryview) -> dict[int, str]:
    return {number: bytes(content).decode() for number, content in fields(message)}


def read_onnx(data: bytes) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
    """Metadata and (name, raw bytes) of every weight. raises ValueError where it is damaged"""
    metadata, weights = {}, []
    for number, content in fields(memoryview(data)):
        if number == MODEL_METADATA:
            entry = texts(content)
            metadata[entry.get(1, "")] = entry.get(2, "")
        elif number == MODEL_GRAPH:
            for inner, tensor in fields(content):
                if inner == GRAPH_INITIALIZER:
                    parts = dict(fields(tensor))
                    weights.append((bytes(parts[TENSOR_NAME]).decode(), bytes(parts.get(TENSOR_RAW_DATA, b""))))
    return metadata, weights


def read_safetensors(data: bytes) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
    """The same of a .safetensors file: 8 bytes of length, a JSON header, the tensors' bytes."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError("its header is incomplete")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    weights = []
    for name, entry in header.items():
        first, last = (8 + size + offset for offset in entry["data_offsets"])
        if last > len(data):
            raise ValueError(f"{last - len(data)} bytes are missing at its end")
        weights.append((name, data[first:last]))
    return metadata, weights


READERS = {".onnx": read_onnx, ".safetensors": read_safetensors}


def read_manifest(path: Path) -> Manifest:
    """A model file's manifest, after its weights' checksum was compared.

    raises  ModelError: not there, not such a file, damaged, or not ours
    """
    kind = path.suffix.lower()
    if kind not in READERS:
        how = "edgecolor import-weights or export makes one of it" if kind in (".pth", ".pt") else "check the path"
        raise ModelError(f"{path} is no model file, which ends in {' or '.join(SUFFIXES)}: {how}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): check the path") from error
    if not data:
        raise ModelError(f"{path} is empty: get or export the model again")
    try:
        metadata, weights = READERS[kind](data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if type(error) is ValueError else "its structure is broken"
        raise ModelError(f"{path} is not a whole {kind[1:]} file ({reason}): get or export the model again") from error
    manifest = Manifest.from_metadata(metadata, str(path))
    if weights_sha256(weights) != manifest.weights_sha256:
        raise ModelError(f"{path} is damaged (its weights do not have the checksum of its manifest): get it again")
    return manifest


def shipped_models() -> list[Path]:
    """The models that came with the package, without the op alone (decode.onnx)."""
    return sorted(path for path in WEIGHTS.glob("*.onnx") if path.stem != "decode")


def find_model(model: str | Path, suffix: str = ".onnx") -> Path:
    """A shipped model by its name, or any model file by its path. raises ModelError"""
    path = Path(model)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"the model file {path} {what}: give an {' or '.join(SUFFIXES)} file or a name")
    for kind in (suffix, ".safetensors"):  # a few models have no .onnx
        shipped = WEIGHTS / f"{model}{kind}"
        if shipped.is_file():
            return shipped
    if how := how_to_get(str(model)):
        raise ModelError(f"{model} is known, but {how}")
    names = [candidate.stem for candidate in shipped_models()]
    near = difflib.get_close_matches(str(model), [*names, *CATALOGUE], 1)
    hint = f"did you mean {near[0]}?" if near else f"installed: {', '.join(names) or 'none'}; or give a file's path"
    raise ModelError(f"no model is called {model!r}: {hint}")


def find_decoder(path: Path) -> Path:
    """decode.onnx, the op alone, for the model of that path: beside it, or the shipped one. raises ModelError"""
    for folder in (path.parent, WEIGHTS):
        decoder = folder / f"{DECODE}.onnx"
        if decoder.is_file():
            read_manifest(decoder)
            return decoder
    raise ModelError(f"there is no {DECODE}.onnx beside {path}, which editing logits needs: export it again")


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
