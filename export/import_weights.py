"""Weights of the published systems, as their authors gave them out (.pth), to model files of ours."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, ModelError
from edgecolor.export.checkpoint import save_safetensors
from edgecolor.export.softmax_scale import PLAIN, temperature_by_photographs
from edgecolor.export.torch_to_onnx import export_decode_onnx, export_onnx
from edgecolor.manifest import Manifest
from edgecolor.models import build_model, manifest_of
from edgecolor.models.pth import read_pth
from edgecolor.models.zhang16 import AB_UNIT

IMPORTABLE = ("eccv16", "colorful", "siggraph17")  # models whose key names are those of the published files
COUNTER = "num_batches_tracked"  # of batch norm: files before PyTorch 0.4.1 lack it, and nothing reads it
SHOWN = 3  # names in a message


@dataclass
class Imported:
    manifest: Manifest
    files: list[Path]
    notes: list[str] = field(default_factory=list)  # what the user should know, one line each


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = build_model(name)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def differences(own: dict[str, tuple[int, ...]], theirs: dict[str, Tensor]) -> list[str]:
    """What keeps theirs from being loaded where own belongs: lines that go after "it"."""

    def some(what: str, keys: list[str]) -> list[str]:
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        return [f"{what} {', '.join(keys[:SHOWN])}{more}"] if keys else []

    missing = [key for key in own if key not in theirs and not key.endswith(COUNTER)]
    extra = [key for key in theirs if key not in own]
    other = [
        f"{key} of {list(theirs[key].shape)} instead of {list(own[key])}"
        for key in own
        if key in theirs and tuple(theirs[key].shape) != own[key]
    ]
    return some("lacks", missing) + some("has the unknown", extra) + some("has", other)


def recognise(state: dict[str, Tensor], path: Path, wanted: str | None = None) -> str:
    """The model that a file's tensors are of, by their names and shapes.

    wanted  the model that the user says it is
    raises  ModelError where it is none that we know, or not all of one
    """
    layouts = {name: shapes_of(name) for name in IMPORTABLE}
    alike = {
        name: sum(key in state and tuple(state[key].shape) == shape for key, shape in layout.items())
        for name, layout in layouts.items()
    }
    nearest = max(alike, key=lambda name: alike[name])
    if not alike[nearest]:
        known = ", ".join(IMPORTABLE)
        first = next(iter(state))
        what = f"{path} is of none of the networks known here ({known}); its tensors have names such as {first}"
        raise ModelError(f"{what}: give the .pth file that the authors of one of them published")
    name = wanted or nearest
    found = differences(layouts[name], state)
    if found and wanted and nearest != wanted and not differences(layouts[nearest], state):
        raise ModelError(f"{path} holds {nearest}, not {wanted}: leave out --model, or give the other file")
    if found:
        raise ModelError(f"{path} is not a whole {name}: it {'; it '.join(found)}. Weights are not loaded in part")
    return name


def check_name(path: Path) -> str:
    """The checksum that a published file carries in its name, after it was compared; empty where it carries none.

    raises  ModelError where it does not hold
    """
    promised = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if not promised:
        return ""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(promised[1]):
        what = f"its SHA-256 begins with {digest[:8]}, its name says {promised[1]}"
        raise ModelError(
            f"{path} is not the file that was published ({what}): get it again, or rename what you changed"
        )
    return promised[1]


def load_into(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """raises ModelError where there are values that are no numbers"""
    broken = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise ModelError(f"{path} is damaged: {broken[0]} holds values that are no numbers; get it again")
    counters = {key: value for key, value in model.state_dict().items() if key.endswith(COUNTER)}
    model.load_state_dict({**counters, **{key: value.float() for key, value in state.items()}})
    model.eval().requires_grad_(False)


def bin_note(model: nn.Module) -> list[str]:
    """A line where the file's own bin centers are not those of the palette that will decode its tokens."""
    config = getattr(model, "config", None)  # siggraph17 has a layer of that name for ab, and no palette
    if config is None or config.palette != "ab313" or not hasattr(model, "model_out"):
        return []
    theirs = model.model_out.weight[:, :, 0, 0].T * AB_UNIT
    worst = float((theirs - torch.from_numpy(palette(model.config.palette).centers.copy())).abs().max())
    if worst < 0.5:
        return []
    return [f"the file's own bin centers are up to {worst:.1f} ab units off those of the palette, which are used"]


def import_weights(
    path: str | Path,
    out_dir: str | Path | None = None,
    *,
    model: str | None = None,
    photos: str | Path | None = None,
    temperature: float | None = None,
    license: str = "",
) -> Imported:
    """Write NAME.onnx, NAME.safetensors and, for color tokens, decode.onnx of a published .pth file.

    out_dir      made if need be; None: the folder that the file lies in
    model        one of IMPORTABLE, where the user knows it; None: recognised
    photos       folder of color photographs that tell whether the softmax temperature is folded into the weights
    temperature  default of the annealed mean, where the user knows it
    license      of the weights, for the manifest
    raises       ModelError (no such file, damaged, code in it, another network, part of one), ConfigError
    """
    path = Path(path)
    if model is not None and model not in IMPORTABLE:
        build_model(model)  # an unknown name gets a suggestion
        raise ConfigError(f"no published weights are laid out as {model}: known are {', '.join(IMPORTABLE)}")
    state = read_pth(path)
    published = check_name(path)
    name = recognise(state, path, model)
    network = build_model(name)
    load_into(network, state, path)
    manifest = manifest_of(name, network, version=published, license=license)
    if manifest.kind == "tokens":
        manifest = manifest.replace(**temperature_of(network, manifest, photos, temperature))
    elif photos or temperature is not None:
        raise ConfigError(f"--photos and --temperature are about color tokens, and {name} has none: leave them out")
    out_dir = path.parent if out_dir is None else Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    files = [out_dir / f"{name}.onnx", out_dir / f"{name}.safetensors"]
    written = export_onnx(network, manifest, files[0])
    save_safetensors(network, manifest, files[1])
    if manifest.kind == "tokens":
        files.append(out_dir / "decode.onnx")
        export_decode_onnx(palette(manifest.palette), files[2])
    return Imported(written, files, bin_note(network))


def temperature_of(network: nn.Module, manifest: Manifest, photos: str | Path | None, given: float | None) -> dict:
    """The manifest's temperature, and where it is from."""
    if given is not None:
        if photos:
            raise ConfigError("--photos measures the temperature, and --temperature gives it: choose one")
        return {"temperature": given, "temperature_source": "given by who imported the weights"}
    if not photos:
        return {"temperature": 1.0, "temperature_source": f"not measured: {PLAIN}"}
    found, evidence = temperature_by_photographs(network, palette(manifest.palette), Path(photos))
    return {"temperature": found, "temperature_source": evidence}
