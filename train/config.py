"""One YAML file describes a run: checked key by key when it is read, frozen afterwards."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from edgecolor.errors import ConfigError


@dataclass(frozen=True)
class DataConfig:
    shards: str = ""  # WebDataset tar files: a path with * or {00..03}
    weights: dict[str, float] = field(default_factory=dict)  # source (file name before the first _) -> how often; 1 if absent
    min_chroma: float = 9.0  # pictures whose 95th percentile of chroma is below this are gray or toned, and are left out
    zoom: tuple[float, float] = (0.45, 1.0)  # side of the crop, as a share of the picture's short side
    gamma: float = 0.25  # lightness is bent by a gamma of up to 1 + this, on 30 % of the crops: films differ in tone


@dataclass(frozen=True)
class OptimConfig:
    lr: float = 1e-3  # at the peak, for everything but the encoder
    encoder_lr: float = 2e-4
    weight_decay: float = 0.05
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema_halflife: int = 500  # steps


@dataclass(frozen=True)
class Phase:
    """A stretch of the run at one crop size; the rates run through all phases as one cosine."""

    steps: int
    crop: int = 128  # pixels, a multiple of 32
    batch: int = 24


@dataclass(frozen=True)
class TrainConfig:
    model: str = "edge"
    init_encoder: str = ""  # ImageNet weights of the encoder; empty: from scratch
    frozen_blocks: int = 3  # first blocks of the encoder that stay as they came; they cost most and change least
    uniform: float = 0.8  # lambda of the rebalancing; 1 turns it off
    phases: tuple[Phase, ...] = (Phase(1000),)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    precision: str = "auto"  # fp32, bf16, or auto: bf16 where the processor or GPU computes it natively
    seed: int = 0
    checkpoint_every: int = 250  # steps
    log_every: int = 50  # steps

    def __post_init__(self):
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ConfigError(f"precision must be auto, fp32 or bf16, got {self.precision!r}")
        for phase in self.phases:
            if phase.crop % 32 or phase.crop <= 0:
                raise ConfigError(f"phases.crop must be a positive multiple of 32, got {phase.crop}")
        if not 0 <= self.uniform <= 1:
            raise ConfigError(f"uniform (lambda) must lie in [0, 1], got {self.uniform}")

    @property
    def total_steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain YAML data into `kind`, naming the key in every complaint."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where or 'the config'} must be a mapping, got {value!r}")
        hints = get_type_hints(kind)
        for key in value:
            if key not in hints:
                raise ConfigError(f"unknown key {where}{key}: known are {', '.join(hints)}")
        return kind(**{key: _build(hints[key], item, f"{where}{key}.") for key, item in value.items()})
    name, origin, args = where.rstrip("."), get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or (args[-1] is not Ellipsis and len(value) != len(args)):
            raise ConfigError(f"{name} must be a list{'' if args[-1] is Ellipsis else f' of {len(args)}'}, got {value!r}")
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_build(k, item, f"{name}[{i}].") for i, (k, item) in enumerate(zip(kinds, value)))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{name} must be a mapping, got {value!r}")
        return {str(key): _build(args[1], item, f"{name}.{key}.") for key, item in value.items()}
    if origin in (Union, UnionType):
        if value is None and type(None) in args:
            return None
        return _build(next(a for a in args if a is not type(None)), value, where)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            pass
    if type(value) is not kind:
        raise ConfigError(f"{name} must be of type {kind.__name__}, got {value!r}")
    return value


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> TrainConfig:
    """Read a run's YAML file; overrides are "key.sub=value" with the value in YAML."""
    try:
        plain = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"{override!r} is no override: write key=value")
        *parents, last = key.split(".")
        node = plain
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = yaml.safe_load(text)
    return _build(TrainConfig, plain, "")


def to_plain(config: TrainConfig) -> dict:
    """The config as plain data, to be stored beside what it made."""
    return dataclasses.asdict(config)
