"""A model's .onnx to a TensorRT engine: precision and decode path in the graph, profiles, cache, report."""

import dataclasses
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import ModelProto

from edgecolor.backends.files import WEIGHTS, read_manifest
from edgecolor.backends.views import margin_of
from edgecolor.color.tokens import palette
from edgecolor.engines import EngineInfo, Profile, Size, default_folder, sha256_of, sidecar_of
from edgecolor.errors import ConfigError, ModelError
from edgecolor.export.both_views import VIEWS_INSIDE, put_both_views
from edgecolor.export.decode_path import DecodePath, choose_decode, keep_outputs, rewrite
from edgecolor.export.engine_cache import digest_of, locked, look_up, timing_cache_of
from edgecolor.export.half import to_half
from edgecolor.export.precision import PRECISIONS, Tell, precision_lines, save, set_precision
from edgecolor.export.tensorrt_builder import Builder, Job, Shapes, TensorRTBuilder
from edgecolor.manifest import Manifest
from edgecolor.plugins import find_library

FLAVORS = ("tensorrt", "rtx")
WIDEST = 2.5  # sides of a picture; wider or taller ones need a --profile of their own
OUTPUTS = ("ab", "probs", "logits", "features")  # the last two are what a memory of earlier scenes asks for


@dataclass(frozen=True)
class EngineOptions:
    """raises ConfigError when made with values that cannot be right"""

    precision: str = "fp16"
    decode: str = "auto"  # plugin, native; auto: the plugin where it is built
    flavor: str = "tensorrt"
    profiles: tuple[Profile, ...] = ()  # none: those of default_profiles
    views: int | None = None  # of each picture, 1 or 2, inside the engine; None: the model's own, if they fit inside
    batch: int = 1  # of the default profiles: pictures at a time, at most
    version_compatible: bool = False
    level: int | None = None
    workspace: int | None = None  # MB
    frames: tuple[Path, ...] = ()  # videos and pictures to calibrate int8 on

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ConfigError(f"--precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.flavor not in FLAVORS:
            raise ConfigError(f"--flavor is one of {', '.join(FLAVORS)}, got {self.flavor!r}")
        if self.precision == "int8" and not self.frames:
            raise ConfigError("int8 needs frames to calibrate on: give --frames with a video or pictures")
        if self.views not in (None, 1, VIEWS_INSIDE):
            raise ConfigError(f"--views of an engine is 1 or {VIEWS_INSIDE}, got {self.views}")
        if not 1 <= self.batch <= 64:
            raise ConfigError(f"--batch lies in [1, 64], got {self.batch}")
        if self.level is not None and not 0 <= self.level <= 5:
            raise ConfigError(f"--level lies in [0, 5], got {self.level}")


def parse_profile(text: str) -> Profile:
    """ "1x192x352", or three of them "MIN:OPT:MAX": N, height, width of what the network sees. raises ConfigError"""
    sizes = [re.fullmatch(r"(\d+)x(\d+)x(\d+)", part) for part in text.split(":")]
    if len(sizes) not in (1, 3) or not all(sizes):
        raise ConfigError(f"a profile is NxHxW or MIN:OPT:MAX of three such sizes, got {text!r}")
    low, opt, high = ([tuple(map(int, size.groups())) for size in sizes if size] * 3)[:3]
    if not all(1 <= a <= b <= c <= 4096 for a, b, c in zip(low, opt, high, strict=True)):
        raise ConfigError(f"the sizes of a profile must grow from min to opt to max, got {text!r}")
    return Profile(low, opt, high)


def default_profiles(manifest: Manifest, batch: int) -> tuple[Profile, ...]:
    """Pictures from WIDEST to 1 : WIDEST at the model's working size, tuned for 16:9, lying and upright, with the
    margin that several views of them take."""
    short, multiple = manifest.working_size, manifest.multiple
    margin = margin_of(manifest.views)

    def side(factor: float) -> int:
        return max(multiple, round(short * factor / multiple) * multiple) + margin

    low, high = (1, multiple, multiple), (batch, side(WIDEST), side(WIDEST))
    return tuple(Profile(low, (batch, *opt), high) for opt in ((side(1), side(16 / 9)), (side(16 / 9), side(1))))


def shapes_of(profile: Profile, manifest: Manifest) -> Shapes:
    """The shapes of every input, of the model and of the op alone. raises ConfigError where a size does not fit"""
    tokens = len(palette(manifest.palette).centers) if manifest.kind == "tokens" else 0

    def at(size: Size) -> dict[str, tuple[int, ...]]:
        n, h0, w0 = size
        if h0 % manifest.multiple or w0 % manifest.multiple:
            raise ConfigError(f"{n}x{h0}x{w0} will not do: both sides must be multiples of {manifest.multiple}")
        cells = (n, h0 // manifest.stride, w0 // manifest.stride)
        probs = (*cells, tokens)
        shapes: dict[str, tuple[int, ...]] = {"lightness": (n, 1, h0, w0), "prev_probs": probs, "logits": probs}
        return shapes | {"motion": (*cells, 2), "keep": cells, "centers": (tokens, 2), "hints": (n, 3, h0, w0)}

    low, opt, high = at(profile.min), at(profile.opt), at(profile.max)
    return {name: (low[name], opt[name], high[name]) for name in low}


def views_inside(wanted: int | None, manifest: Manifest) -> int:
    """Of each picture, that an engine of the model sees in one run. raises ConfigError where it cannot see as many"""
    if wanted == VIEWS_INSIDE and manifest.kind != "tokens":
        raise ConfigError(f"{manifest.name} has no color tokens, which several views need: leave --views out")
    return wanted or (VIEWS_INSIDE if manifest.views == VIEWS_INSIDE else 1)


def load_model(path: Path) -> tuple[ModelProto, Manifest]:
    """raises ModelError where it is not an .onnx of ours, or damaged"""
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path} is no .onnx file: engines are built from those that `edgecolor export` writes")
    manifest = read_manifest(path)
    return onnx.load(path), manifest


@dataclass
class EngineReport:
    """What came of a build, for the user."""

    path: Path
    cache: str  # hit, miss (it was built), rebuild (it was there, but damaged)
    info: EngineInfo
    decode: DecodePath
    lines: list[str] = field(default_factory=list)


class Maker:
    """Builds what the cache does not have."""

    def __init__(self, builder: Builder, options: EngineOptions, decode: DecodePath, folder: Path, tell: Tell):
        self.builder, self.options, self.decode, self.folder, self.tell = builder, options, decode, folder, tell

    def key_of(self, onnx_bytes: bytes, manifest: Manifest, profiles: tuple[Profile, ...]) -> dict:
        target, library = self.builder.target, self.decode.library
        return {
            "onnx": sha256_of(onnx_bytes),
            "plugin": sha256_of(library.read_bytes()) if library else "",
            "flavor": target.flavor,
            "tensorrt": target.version,
            "gpu": target.gpu,
            "profiles": [str(profile) for profile in profiles],
            "stride": manifest.stride,
            "precision": self.options.precision,
            "decode": self.decode.way,
            "version_compatible": self.options.version_compatible,
            "level": self.options.level,
            "workspace": self.options.workspace,
            "model_weights": manifest.weights_sha256,
        }

    def make(
        self, name: str, model: ModelProto, manifest: Manifest, profiles: tuple[Profile, ...], command: str, **more
    ) -> tuple[Path, EngineInfo, str]:
        """Look the engine up, or build it. more: further fields of EngineInfo. returns path, info, hit|miss|rebuild"""
        data = model.SerializeToString(deterministic=True)
        key = self.key_of(data, manifest, profiles)
        engine = self.folder / f"{name.replace('*', digest_of(key))}.engine"
        with locked(engine.with_suffix(".lock")):
            info, state = look_up(engine, key)
            if info is None:
                info = self._build(engine, data, key, manifest, profiles, command, **more)
        return engine, info, state

    def _build(self, engine: Path, data: bytes, key: dict, manifest: Manifest, profiles, command: str, **more):
        target = self.builder.target
        timing = timing_cache_of(self.folder, target.flavor, target.version, target.gpu["name"])
        job = Job(
            data,
            [shapes_of(profile, manifest) for profile in profiles],
            self.decode.library,
            self.options.version_compatible,
            self.options.level,
            self.options.workspace and self.options.workspace * 10**6,
            timing.read_bytes() if timing.is_file() else b"",
        )
        self.tell(f"building {engine.name} for {target.gpu['name']} with TensorRT {target.version}")
        built = self.builder.build(job)
        if built.timing_cache:
            _replace(timing, built.timing_cache)
        report = {"seconds": round(built.seconds, 1), "bytes": len(built.plan), "layers": built.layers}
        report |= {"engine_layers": built.engine_layers, "decode_why": self.decode.why, **more.pop("report", {})}
        report["built"] = time.strftime("%Y-%m-%d %H:%M:%S")
        info = EngineInfo(key, manifest, profiles, command, sha256_of(built.plan), report=report, **more)
        _replace(engine, built.plan)
        info.write(sidecar_of(engine))
        return info


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def find_decode(model: Path) -> Path:
    """decode.onnx beside the model, or the one that is shipped."""
    beside = model.parent / "decode.onnx"
    return beside if beside.is_file() else WEIGHTS / "decode.onnx"


def build_engine(
    model: Path,
    options: EngineOptions | None = None,
    out: Path | None = None,
    command: str = "",
    builder: Builder | None = None,
    folder: Path | None = None,
    tell: Tell = lambda line: None,
) -> EngineReport:
    """Build the engines of a model, the network's and that of the op alone; or take them from the cache.

    model    an .onnx file of ours
    out      where the engine is to be copied; None: it stays in the cache, where `--backend tensorrt` finds it
    command  the line that builds it again, for messages
    builder  None: TensorRT's
    folder   the cache; None: see engines.default_folder
    tell     called with a line before each step that takes long
    raises   ModelError, ConfigError, MissingDependencyError
    """
    options, folder = options or EngineOptions(), folder or default_folder()
    proto, manifest = load_model(model)
    decode = choose_decode(options.decode, options.flavor, find_library())
    profiles = options.profiles or default_profiles(manifest, options.batch)
    for profile in profiles:
        shapes_of(profile, manifest)  # refuses what does not fit, before anything takes long
    builder = builder or TensorRTBuilder(options.flavor)
    proto, found = set_precision(proto, manifest, options.precision, options.frames, folder, tell)
    is_tokens = manifest.kind == "tokens"
    keep_outputs(proto, OUTPUTS if is_tokens else ("ab",))
    views = views_inside(options.views, manifest)
    if views > 1:
        proto = put_both_views(proto)
    maker = Maker(builder, options, decode, folder, tell)
    command = command or f"edgecolor build-engine {model}"
    if is_tokens:
        op = onnx.load(find_decode(model))
        op = rewrite(to_half(op) if options.precision == "fp16" else op, decode.way)
        op_manifest = manifest.replace(name="decode", weights_sha256="")  # other models may share it
        op_path, op_info, _ = maker.make("decode-*", op, op_manifest, profiles, command)
        found["decode_engine"] = op_path.name
    rewritten = rewrite(proto, decode.way)
    decode_name = op_path.name if is_tokens else ""
    engine, info, state = maker.make(
        f"{manifest.name}-*", rewritten, manifest, profiles, command, decode=decode_name, views=views, report=found
    )
    if out:
        if is_tokens:
            beside = out.with_name(f"{out.stem}.decode.engine")
            _copy(op_path, op_info, beside)
            info = dataclasses.replace(info, decode=beside.name)
        _copy(engine, info, out)
        engine = out
    return EngineReport(engine, state, info, decode, describe(engine, info, state, decode))


def _copy(engine: Path, info: EngineInfo, to: Path) -> None:
    partial = to.with_name(f"{to.name}.partial-{os.getpid()}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(engine, partial)
        os.replace(partial, to)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written ({error.strerror}): give another --out") from error
    finally:
        partial.unlink(missing_ok=True)
    info.write(sidecar_of(to))


def save_at_precision(model: Path, options: EngineOptions, out: Path, tell: Tell = lambda line: None) -> dict:
    """Write the .onnx at the wanted precision, for ONNX Runtime and others. returns what was found on the way"""
    proto, manifest = load_model(model)
    proto, found = set_precision(proto, manifest, options.precision, options.frames, default_folder(), tell)
    save(proto, manifest, out)
    return found


def describe(engine: Path, info: EngineInfo, state: str, decode: DecodePath) -> list[str]:
    """The report, a line for each thing."""
    gpu, report = info.key["gpu"], info.report
    lines = [
        f"engine     {engine} ({report['bytes'] / 1e6:.1f} MB)",
        f"cache      {state}" + (f", built in {report['seconds']} s" if state != "hit" else f", of {report['built']}"),
        f"for        TensorRT {info.key['tensorrt']} ({info.key['flavor']}), {gpu['name']} {gpu['compute_capability']}",
        f"precision  {info.key['precision']}",
        f"decode     {decode.way}: {decode.why}",
    ]
    lines += [f"views      {info.views}, in one run"] if info.views > 1 else []
    lines += [f"profile    {profile}" for profile in info.profiles]
    lines += precision_lines(report)
    kinds = ", ".join(f"{count} {kind.lower()}" for kind, count in report["layers"].items())
    return [*lines, f"layers     {kinds or 'unknown'}"]
