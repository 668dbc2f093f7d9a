"""The manifest: what a model file says about itself, as JSON in its own metadata, so that nothing is lost beside it."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgecolor.color.tokens import ANNEALED_MEAN_T, PALETTES
from edgecolor.config import MOST_VIEWS
from edgecolor.errors import ModelError

KEY = "edgecolor.manifest"  # in the metadata of an .onnx or .safetensors file
FORMAT = 1
KINDS = ("tokens", "regression")


@dataclass(frozen=True)
class Manifest:
    """raises ModelError when made with values that cannot be right"""

    name: str  # of the architecture, as in edgecolor.models.MODELS; "decode" for the op alone
    kind: str = "tokens"  # tokens: logits over a palette; regression: ab directly
    palette: str = "ab313"  # empty where kind is regression
    stride: int = 4  # pixels of the working size per cell of the token grid
    multiple: int = 32  # the sides of the working size are multiples of it
    working_size: int = 256  # short side in pixels unless told otherwise
    temperature: float = ANNEALED_MEAN_T  # default of the annealed mean
    temperature_source: str = ""  # where that default comes from, where it is not ours to choose, and by what evidence
    hints: bool = False  # regression: the network also takes hints (N, 3, h0, w0), see Backend.hint
    views: int = 1  # tokens: how many views of each picture the network sees, see backends/views.py
    saturation: float = 1.0  # default factor on ab
    half_life: float = 1.0  # default of the smoothing, seconds
    prior_shift: float = 0.0  # share of log(rebalancing weights) that export added to the token bias
    prior_uniform: float = 0.5  # lambda of those weights
    training_data: str = ""
    license: str = ""
    version: str = ""
    weights_sha256: str = ""  # see weights_sha256()
    format: int = FORMAT

    def __post_init__(self):
        def refuse(what: str):
            raise ModelError(f"the model's manifest says {what}: export the model again")

        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif type(value) is not field.type:
                refuse(f"{field.name} = {value!r}, which is no {field.type.__name__}")
        if self.format != FORMAT:
            raise ModelError(f"the manifest has format {self.format}, this one reads {FORMAT}: upgrade edgecolor")
        if not self.name:
            refuse("no name")
        if self.kind not in KINDS:
            refuse(f"kind = {self.kind!r}, not one of {', '.join(KINDS)}")
        if self.palette not in (PALETTES if self.kind == "tokens" else ("",)):
            refuse(f"palette = {self.palette!r} for kind {self.kind}")
        if self.hints and self.kind == "tokens":
            refuse("hints = true, which is for networks without tokens")
        if not 1 <= self.views <= (MOST_VIEWS if self.kind == "tokens" else 1):
            refuse(f"views = {self.views} for kind {self.kind}")
        if self.stride < 1 or self.multiple < 1 or self.multiple % self.stride:
            refuse(f"stride = {self.stride} and multiple = {self.multiple}, which do not fit each other")
        if self.working_size < self.multiple:
            refuse(f"working_size = {self.working_size}, below its multiple {self.multiple}")
        if not 0 < self.temperature <= 1:
            refuse(f"temperature = {self.temperature}, outside (0, 1]")
        if not 0 <= self.saturation <= 10:
            refuse(f"saturation = {self.saturation}, outside [0, 10]")
        if not 0 <= self.half_life < float("inf"):
            refuse(f"half_life = {self.half_life}, below 0 or infinite")
        if not abs(self.prior_shift) <= 10:
            refuse(f"prior_shift = {self.prior_shift}, outside [-10, 10]")
        if not 0 <= self.prior_uniform <= 1:
            refuse(f"prior_uniform = {self.prior_uniform}, outside [0, 1]")
        if not re.fullmatch(r"([0-9a-f]{64})?", self.weights_sha256):
            refuse(f"weights_sha256 = {self.weights_sha256!r}, which is no SHA-256")

    def replace(self, **changes) -> "Manifest":
        return dataclasses.replace(self, **changes)

    def to_metadata(self) -> dict[str, str]:
        """For metadata_props of ONNX and __metadata__ of safetensors."""
        return {KEY: json.dumps(dataclasses.asdict(self), sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> "Manifest":
        """Read it back; `where` names the file in errors. raises ModelError"""
        if KEY not in metadata:
            hint = "export one with edgecolor export"
            raise ModelError(f"{where} is not an edgecolor model (no manifest in its metadata): {hint}")
        try:
            plain = json.loads(metadata[KEY])
        except json.JSONDecodeError as error:
            raise ModelError(f"{where}: its manifest is not JSON ({error}): export the model again") from error
        if not isinstance(plain, dict) or "name" not in plain:
            raise ModelError(f"{where}: its manifest holds no name: export the model again")
        unknown = sorted(set(plain) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ModelError(f"{where}: its manifest holds {', '.join(unknown)}, unknown here: upgrade edgecolor")
        try:
            return cls(**plain)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from error


def weights_sha256(tensors: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over the names and raw little-endian bytes of a model's weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, data in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
