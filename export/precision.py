"""A model at another precision, which is decided in its graph: see half.py and int8.py for how."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper

from edgecolor.engines import sha256_of
from edgecolor.export import graph as passes
from edgecolor.export.engine_cache import digest_of, locked
from edgecolor.export.frames import inputs_of, lightness_of_files
from edgecolor.export.half import elem_types, fold_casts, to_half, too_large
from edgecolor.export.int8 import ranges_of, to_int8
from edgecolor.manifest import Manifest, weights_sha256

PRECISIONS = ("fp32", "fp16", "int8")
FRAMES = 24  # that are looked at, spread over all files
Tell = Callable[[str], None]


def set_precision(
    model: ModelProto, manifest: Manifest, precision: str, paths: Sequence[Path], cache: Path, tell: Tell
) -> tuple[ModelProto, dict]:
    """The model at the wanted precision, and what is to be reported of it.

    precision  one of PRECISIONS
    paths      videos and pictures: int8 is calibrated on them, and fp16 looks for what exceeds its range
    cache      folder where int8 files are kept, as calibration takes minutes
    tell       called with a line before that
    raises     ConfigError, ModelError: see half.to_half and int8.to_int8
    """
    if precision == "fp32":
        return model, {}
    frames = lightness_of_files(paths, manifest, FRAMES) if paths else []
    feeds = [inputs_of(lightness, manifest) for lightness in frames]
    if precision == "fp16":
        folded = ModelProto()
        folded.CopyFrom(model)
        fold_casts(folded)
        floats = {name for name, kind in elem_types(folded).items() if kind == TensorProto.FLOAT}
        made = [name for node in folded.graph.node for name in node.output if name in floats]
        islands = too_large(ranges_of(folded, made, feeds)) if feeds else set()
        return to_half(model, islands), {"float32_islands": sorted(islands)} if feeds else {}
    content = b"".join(lightness.tobytes() for lightness in frames)
    stored = (
        cache / f"int8-{digest_of({'model': manifest.weights_sha256, 'frames': sha256_of(content), 'format': 2})}.onnx"
    )
    with locked(stored.with_suffix(".lock")):
        if not stored.is_file():
            tell(f"calibrating int8 on {len(frames)} frames")
            quantized, found = to_int8(model, lambda: feeds)
            helper.set_model_props(quantized, {**_props(quantized), "edgecolor.int8": json.dumps(found)})
            save(quantized, manifest, stored)
    quantized = onnx.load(stored)
    return quantized, {"int8": json.loads(_props(quantized)["edgecolor.int8"])}


def _props(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def save(model: ModelProto, manifest: Manifest, path: Path) -> None:
    """Write a model of ours with the checksum of its weights, beside the old file, then renamed over it."""
    passes.raw_initializers(model)
    digest = weights_sha256((tensor.name, tensor.raw_data) for tensor in model.graph.initializer)
    helper.set_model_props(model, _props(model) | manifest.replace(weights_sha256=digest).to_metadata())
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(model.SerializeToString())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def precision_lines(found: dict) -> list[str]:
    """What set_precision found, a line for each thing."""
    lines = []
    if "int8" in found:
        int8 = found["int8"]
        count, distance = int8["nodes"] - len(int8["kept_float"]), int8["ab_distance"]
        frames = f"{int8['frames']} frames"
        lines.append(f"int8       {count} of {int8['nodes']} layers; {distance} ab units from float32 on {frames}")
    if found.get("float32_islands"):
        lines.append(f"islands    {', '.join(found['float32_islands'])} stay in float32")
    return lines
