"""One YAML file describes a run: checked key by key when it is read, frozen afterwards."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from edgecolor.errors import ConfigError
from edgecolor.train.config_build import build, nearest

SOURCE_KINDS = ("shards", "folder", "stl10", "cifar10", "video")
LOSS_KINDS = (
    "tokens",
    "l1",
    "l2",
    "lpips",
    "mobilenet",
    "kernel",
    "temporal",
    "temporal_ab",
    "distill",
    "branch",
    "bits",
    "parallel_bits",
)


def check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must lie in [{low:g}, {high:g}], got {value:g}")


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} cannot be {value!r}: {nearest(value, known)}")


@dataclass(frozen=True)
class Source:
    """Where pictures come from. video gives pairs of neighbouring frames too."""

    path: str  # shards: tar files, by * or {00..03}, local or http(s)://; else a folder, or a file of that kind
    kind: str = "shards"  # shards, folder, stl10 (binary files), cifar10 (binary files), video (files or a folder)
    weight: float = 1.0  # how often each of its pictures is drawn, relative to the others'
    every: int = 10  # video: frames between the pairs that are kept

    def __post_init__(self):
        check_choice("kind", self.kind, SOURCE_KINDS)
        if self.weight < 0:
            raise ConfigError(f"weight is how often pictures are drawn and cannot be negative, got {self.weight:g}")
        if self.every < 1:
            raise ConfigError(f"every must be at least 1, got {self.every}")


@dataclass(frozen=True)
class DataConfig:
    sources: tuple[Source, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)  # file name before its first _ -> times the source's weight
    min_chroma: float = 9.0  # pictures whose 95th percentile of chroma is below this are gray or toned: left out
    min_spread: float = 0.0  # ab units across the hue that a picture has most of: 1.5 leaves out strong single tones
    short_side: int = 256  # pixels; larger pictures are kept in memory at this size, 0 keeps them as they are
    zoom: tuple[float, float] = (0.45, 1.0)  # side of the crop, as a share of the picture's short side
    # Pixels of the crop: for pairs, a still picture's frame before is itself, moved by up to this; 0: no pair. Both are
    # cut from a crop that is this much larger, so they show less of the picture than zoom says.
    shake: int = 0
    passing: float = 0.0  # share of those pairs in which a piece of another picture passes in front
    gamma: float = 0.25  # lightness is bent by a gamma of up to 1 + this, on 30 % of the crops: films differ in tone
    on: str = "auto"  # where the pictures live: memory, device (crops are cut there), auto: device on a GPU

    def __post_init__(self):
        check_choice("on", self.on, ("auto", "memory", "device"))
        check_range("zoom[0]", self.zoom[0], 0.05, self.zoom[1])
        check_range("zoom[1]", self.zoom[1], 0.05, 1)
        for name, most in {"shake": 128, "passing": 1, "gamma": 1, "min_chroma": 100, "min_spread": 100}.items():
            check_range(name, getattr(self, name), 0, most)
        if self.passing and not self.shake:
            raise ConfigError("passing is of the pairs that shake makes of still pictures: set data.shake too")
        if self.short_side and self.short_side < 32:
            raise ConfigError(f"short_side is in pixels, at least 32 or 0, got {self.short_side}")
        if negative := [name for name, weight in self.weights.items() if weight < 0]:
            raise ConfigError(f"weights.{negative[0]} cannot be negative, got {self.weights[negative[0]]:g}")


@dataclass(frozen=True)
class DegradeConfig:
    """Makes the gray input look like old film. Each effect: share of the crops that get it; 0 turns it off."""

    blur: float = 0.0
    grain: float = 0.0
    scratches: float = 0.0
    dust: float = 0.0
    flicker: float = 0.0
    fading: float = 0.0
    vignetting: float = 0.0
    jpeg: float = 0.0
    video: float = 0.0  # compression by a video codec
    gamma: float = 0.0  # a wrong one
    sepia: float = 0.0  # the tone curve that a toned print leaves in luma

    def __post_init__(self):
        for effect in dataclasses.fields(self):
            check_range(effect.name, getattr(self, effect.name), 0, 1)

    @property
    def any(self) -> bool:
        return any(dataclasses.astuple(self))


@dataclass(frozen=True)
class LossConfig:
    """One term of the loss; the fields after weight belong to the kinds named beside them."""

    kind: str
    weight: float = 1.0
    uniform: float = 0.5  # tokens: lambda of the rebalancing; 1 turns it off
    rebalance: str = "mean"  # tokens: a cell weighs as its bins do in the mean, or as the nearest one (argmax)
    neighbours: int = 5  # tokens: bins that a color is spread over
    sigma: float = 5.0  # tokens: width of that spread, ab units
    space: str = "ab"  # l1, l2: ab (in units of 110) or rgb (in [0, 1])
    net: str = "alex"  # lpips: alex, vgg or squeeze
    # lpips: file of the backbone, or empty for PyTorch's cache; mobilenet, kernel: the classifier's file
    weights: str = ""
    side: int = 0  # mobilenet, kernel: pixels that a crop is enlarged to before the classifier looks; 0: as it is
    teacher: str = ""  # distill: a checkpoint
    undamaged: bool = False  # distill: the teacher sees each crop as it was before `degrade`
    temperature: float = (
        1.0  # distill: of both distributions; l1, l2, lpips, mobilenet, kernel, temporal_ab: the mean's
    )

    def __post_init__(self):
        check_choice("kind", self.kind, LOSS_KINDS)
        check_choice("space", self.space, ("ab", "rgb"))
        check_choice("rebalance", self.rebalance, ("mean", "argmax"))
        check_choice("net", self.net, ("alex", "vgg", "squeeze"))
        check_range("uniform (lambda)", self.uniform, 0, 1)
        check_range("neighbours", self.neighbours, 1, 32)
        if self.weight <= 0 or self.sigma <= 0 or self.temperature <= 0:
            raise ConfigError("weight, sigma and temperature must be above 0")
        if self.kind == "distill" and not self.teacher:
            raise ConfigError("teacher must name the checkpoint to learn from")
        if self.side and not 32 <= self.side <= 1024:
            raise ConfigError(f"side must be 0 or from 32 to 1024 pixels, got {self.side}")
        if self.kind in ("mobilenet", "kernel") and not self.weights:
            raise ConfigError("weights must name the classifier's file")


@dataclass(frozen=True)
class OptimConfig:
    kind: str = "adamw"  # adamw, sgd (Nesterov), rmsprop
    lr: float = 1e-3  # at the peak, for everything but the encoder
    encoder_lr: float = 2e-4
    weight_decay: float = 0.05
    momentum: float = 0.9  # sgd, rmsprop
    beta2: float = 0.999  # adamw
    schedule: str = "cosine"  # after the warm-up: cosine, poly (power 0.9) or constant
    warmup_steps: int = 200
    clip_norm: float = 1.0  # 0: no clipping
    ema_halflife: int = 500  # steps
    accumulate: int = 1  # parts that each batch is cut into, one after the other, to save memory

    def __post_init__(self):
        check_choice("kind", self.kind, ("adamw", "sgd", "rmsprop"))
        check_choice("schedule", self.schedule, ("cosine", "poly", "constant"))
        for name in ("lr", "encoder_lr", "weight_decay", "warmup_steps", "clip_norm", "ema_halflife"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} cannot be negative, got {getattr(self, name):g}")
        check_range("momentum", self.momentum, 0, 0.9999)
        check_range("beta2", self.beta2, 0, 0.99999)
        if self.accumulate < 1:
            raise ConfigError(f"accumulate must be at least 1, got {self.accumulate}")


@dataclass(frozen=True)
class Phase:
    """A stretch of the run at one crop size; the rates run through all phases as one curve."""

    steps: int
    crop: int = 128  # pixels, a multiple of 32
    batch: int = 24  # crops per step, all processes together

    def __post_init__(self):
        if self.crop % 32 or self.crop <= 0:
            raise ConfigError(f"crop must be a positive multiple of 32, got {self.crop}")
        if self.steps < 1 or self.batch < 1:
            raise ConfigError(f"steps and batch must be at least 1, got {self.steps} and {self.batch}")


@dataclass(frozen=True)
class TrainConfig:
    model: str = "edge"
    init: str = (
        ""  # what the run starts from: a checkpoint (its averaged weights), or weights alone (.pth, .safetensors)
    )
    init_encoder: str = ""  # ImageNet weights of the encoder
    frozen_blocks: int = 0  # first blocks of the encoder that stay as they came; they cost most and change least
    dropout: bool = True  # the model's own dropout and stochastic depth: too much for a run that sees little
    phases: tuple[Phase, ...] = (Phase(1000),)
    data: DataConfig = field(default_factory=DataConfig)
    degrade: DegradeConfig = field(default_factory=DegradeConfig)
    losses: tuple[LossConfig, ...] = (LossConfig("tokens"),)
    optim: OptimConfig = field(default_factory=OptimConfig)
    prior: str = ""  # prior.npy of fit-tokens; empty: counted from the data when the run starts
    prior_crops: int = 4000  # crops that are counted for it
    precision: str = "auto"  # fp32, bf16, fp16, or auto: bf16 where the processor or GPU computes it natively
    compile: bool = False  # torch.compile: worth it on a GPU and for long runs
    seed: int = 0
    checkpoint_every: int = 250  # steps
    log_every: int = 50  # steps
    samples_every: int = 500  # steps between sample pictures in TensorBoard; 0: none
    tensorboard: bool = True  # where the package is installed

    def __post_init__(self):
        check_choice("precision", self.precision, ("auto", "fp32", "bf16", "fp16"))
        if not self.phases:
            raise ConfigError("phases must have at least one entry")
        if not self.losses:
            raise ConfigError("losses must have at least one entry")
        for name in ("checkpoint_every", "log_every", "prior_crops"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.frozen_blocks < 0 or self.samples_every < 0 or self.seed < 0:
            raise ConfigError("frozen_blocks, samples_every and seed cannot be negative")
        for phase in self.phases:
            if phase.batch % self.optim.accumulate:
                parts = self.optim.accumulate
                raise ConfigError(f"batch {phase.batch} cannot be cut into optim.accumulate={parts} parts")
        if self.degrade.any and self.data.on == "device":
            raise ConfigError("degrade works on pictures in memory: set data.on to memory, or turn its effects off")

    @property
    def total_steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    @property
    def needs_pairs(self) -> bool:
        """Whether neighbouring frames are wanted."""
        return any(loss.kind.startswith("temporal") for loss in self.losses)


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> TrainConfig:
    """Read a run's YAML file; overrides are "key.sub=value" or "list.0.sub=value", with the value in YAML."""
    try:
        plain = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a config file ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    for override in overrides:
        _override(plain, override)
    try:
        return build(TrainConfig, plain)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _override(plain: dict, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r} is no override: write key=value")
    node: dict | list = plain
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(node, list):
            node = node[_index(node, parent, key)]
        elif isinstance(node, dict):
            node = node.setdefault(parent, {})
    if not isinstance(node, (dict, list)):
        raise ConfigError(f"{override!r}: {'.'.join(parents)} has no keys of its own")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override!r}: the value is not valid YAML") from error
    node[_index(node, last, key) if isinstance(node, list) else last] = value


def _index(items: list, text: str, key: str) -> int:
    if not text.isdecimal() or int(text) >= len(items):
        raise ConfigError(f"{key}: {text!r} is no place in a list of {len(items)}, counted from 0")
    return int(text)


def to_plain(config: TrainConfig) -> dict:
    """The config as plain data, to be stored beside what it made."""
    return dataclasses.asdict(config)


def to_yaml(config: TrainConfig) -> str:
    """The config, all defaults filled in, as a file that load_config reads."""

    def lists(value):
        if isinstance(value, dict):
            return {key: lists(item) for key, item in value.items()}
        return [lists(item) for item in value] if isinstance(value, (list, tuple)) else value

    return yaml.safe_dump(lists(to_plain(config)), sort_keys=False, allow_unicode=True)
