"""PyTorch, for models in the middle of training and for comparison. Slower than ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np

from edgecolor.backends.ab_state import AbState
from edgecolor.backends.base import (
    Array,
    Grid,
    centers_of,
    check_network,
    check_tokens,
    need_hints,
    need_tokens,
    started,
)
from edgecolor.backends.files import read_manifest
from edgecolor.color.tokens import palette
from edgecolor.errors import MissingDependencyError, ModelError


def import_torch():
    try:
        import safetensors.torch
        import torch
    except ImportError as error:
        raise MissingDependencyError("the torch backend needs PyTorch: pip install torch safetensors") from error
    return torch, safetensors.torch.load_file


class TorchBackend:
    """See Backend. Runs on the CPU, or on a CUDA device where PyTorch finds one; reads .safetensors."""

    name = "torch"

    def __init__(self, path: Path, threads: int | None = None):
        self.torch, load_file = import_torch()
        from edgecolor.models import MODELS, kind_of
        from edgecolor.models.color_token_decode import color_token_decode

        if threads:
            self.torch.set_num_threads(threads)  # there is one setting for the whole process
        self.manifest = read_manifest(path)
        check_network(self.manifest, path)
        if self.manifest.name not in MODELS:
            known = ", ".join(MODELS)
            raise ModelError(f"{path} holds a {self.manifest.name!r}, this edgecolor knows {known}: upgrade it")
        self.device = self.torch.device("cuda" if self.torch.cuda.is_available() else "cpu")
        self.model = MODELS[self.manifest.name]()
        over = palette(self.model.config.palette) if kind_of(self.model) == "tokens" else None
        check_tokens(self.manifest, None if over is None else len(over), path)
        try:
            self.model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise ModelError(f"{path} does not fit {self.manifest.name} ({reason}): export it again") from error
        self.model.eval().to(self.device)
        self.op = color_token_decode
        self.centers = self.to_device(centers_of(self.manifest).copy())
        self.grid: Grid | None = None

    def to_device(self, array: Array):
        return self.torch.from_numpy(array).to(self.device)

    def start(self, batch: int, h0: int, w0: int) -> None:
        self.grid = Grid(self.manifest, len(self.centers), batch, h0, w0)
        self.ab_state = AbState(self.grid)
        self.state = self.torch.zeros(self.grid.probs, device=self.device)
        self.still = self.torch.zeros(self.grid.motion, device=self.device)

    def forward(self, lightness: Array):
        lightness = started(self.grid).checked("lightness", lightness)
        with self.torch.inference_mode():
            hints = (self.to_device(self.ab_state.hints),) if self.manifest.hints else ()
            return self.model(self.to_device(lightness), *hints)

    def hint(self, hints: Array | None) -> None:
        need_hints(self.manifest)
        started(self.grid)
        self.ab_state.hint(hints)

    def advance(self, logits, keep, motion, temperature) -> Array:
        grid = started(self.grid)
        keep = self.to_device(grid.checked_keep(keep))
        temperature = float(grid.checked_temperature(temperature)[0])
        motion = self.still if motion is None else self.to_device(grid.checked("motion", motion))
        with self.torch.inference_mode():
            ab, self.state = self.op(logits, self.state, motion, keep, self.centers, temperature)
        return ab.cpu().numpy()

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        output = self.forward(lightness)
        if self.manifest.kind != "tokens":
            return self.blend(output, keep, motion)
        return self.advance(output[0], keep, motion, temperature)

    def blend(self, output, keep: Array | float, motion: Array | None) -> Array:
        """step for a model without tokens; `output` is ab, alone or first of a tuple."""
        ab = (output[0] if isinstance(output, tuple) else output).cpu().numpy()
        return self.ab_state.blend(ab, keep, motion)

    def decode(
        self, logits: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        need_tokens(self.manifest)
        logits = started(self.grid).checked("logits", logits)
        return self.advance(self.to_device(logits), keep, motion, temperature)

    def logits(self, lightness: Array) -> tuple[Array, Array]:
        need_tokens(self.manifest)
        logits, features = self.forward(lightness)
        return np.ascontiguousarray(logits.cpu().numpy()), np.ascontiguousarray(features.cpu().numpy())

    def probs(self) -> Array:
        need_tokens(self.manifest)
        started(self.grid)
        return self.state.cpu().numpy().copy()

    def close(self) -> None:
        self.model = self.state = self.still = self.grid = None
