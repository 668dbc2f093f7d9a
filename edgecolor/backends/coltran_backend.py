"""ColTran in PyTorch: a model without tokens whose ab comes from a picture that it paints in three stages."""

import json
from pathlib import Path

import cv2
import numpy as np

from edgecolor.backends.base import Array, Grid, started
from edgecolor.backends.files import read_manifest
from edgecolor.backends.torch_backend import TorchBackend, import_torch
from edgecolor.color.lab import lightness_to_gray, srgb_to_lab
from edgecolor.color.resize import shrink
from edgecolor.errors import ConfigError, ModelError

COLTRAN_KEY = "edgecolor.coltran"  # in the file's metadata, beside the manifest: widths, depths, how to sample


def coltran_facts(path: Path) -> dict | None:
    """What a .safetensors file says of its ColTran; None where it holds something else, or is no such file."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= path.stat().st_size else {}
        facts = header.get("__metadata__", {}).get(COLTRAN_KEY)
        return None if facts is None else json.loads(facts)
    except (OSError, ValueError, AttributeError):  # the backend that opens it says what is wrong
        return None


class ColTranBackend(TorchBackend):
    """See Backend. Pictures of any size are squeezed into ColTran's square, and ab is stretched back.

    mode, seed  of sampling, from the file; they may be changed. Smoothing a video wants the seed to stay
    """

    def __init__(self, path: Path, threads: int | None = None):
        self.torch, load_file = import_torch()
        from edgecolor.models.coltran import ColTran, ColTranConfig

        if threads:
            self.torch.set_num_threads(threads)
        self.manifest = read_manifest(path)
        facts = coltran_facts(path)
        self.device = self.torch.device("cuda" if self.torch.cuda.is_available() else "cpu")
        try:
            self.mode, self.seed = facts["mode"], facts["seed"]
            self.model = ColTran(ColTranConfig(**facts["config"]))
            self.model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        except (RuntimeError, TypeError, KeyError, ConfigError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ModelError(f"{path} does not fit ColTran ({reason}): join its stages again") from error
        self.model.eval().to(self.device)
        self.centers = np.zeros((0, 2), np.float32)
        self.grid: Grid | None = None

    def gray(self, lightness: Array, side: int):
        """L* (h0, w0) -> 8-bit gray (1, side, side), int64."""
        codes = np.clip(lightness_to_gray(lightness) * 255, 0, 255).astype(np.float32)
        return self.to_device(np.rint(shrink(codes, side, side)).astype(np.int64)[None])

    def paint(self, lightness: list[Array], **sampling):
        """Every stage's pictures (models.coltran.Painted) of L* (h0, w0) each, of any size.

        sampling  mode, seed, samples, first_sample, temperature: see sample_codes; by default the file's
        raises    ConfigError
        """
        config, cat = self.model.config, self.torch.cat
        small, full = (cat([self.gray(each, side) for each in lightness]) for side in (config.side, config.full_side))
        return self.model.paint(small, full, **{"mode": self.mode, "seed": self.seed, **sampling})

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        """As Backend.step; the temperature is that of mode sample."""
        grid = started(self.grid)
        pictures = list(grid.checked("lightness", lightness)[:, 0])
        painted = self.paint(pictures, temperature=float(grid.checked_temperature(temperature)[0])).full[:, 0]
        ab = np.stack([ab_of_painted(rgb, *grid.ab[2:]) for rgb in painted.cpu().numpy()])
        return self.blend(self.torch.from_numpy(ab), keep, motion)


def ab_of_painted(rgb: Array, height: int, width: int) -> Array:
    """The ab of a painted picture (side, side, 3), 8 bits: (2, height, width) float32."""
    ab = srgb_to_lab(rgb.astype(np.float32) / 255)[..., 1:]
    ab = cv2.resize(np.ascontiguousarray(ab), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(ab.transpose(2, 0, 1))
