"""TensorRT's builder behind three lines of interface, so that all around it runs and is tested without a GPU."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgecolor.backends.tensorrt_engine import import_tensorrt, load_plugin, make_logger
from edgecolor.errors import ConfigError, ModelError
from edgecolor.gpu import find_gpu

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]  # by input: min, opt, max


@dataclass(frozen=True)
class Target:
    """What an engine is built for: all of it is in the cache's key."""

    flavor: str  # tensorrt or rtx
    version: str  # of TensorRT
    gpu: dict


@dataclass(frozen=True)
class Job:
    onnx: bytes
    profiles: list[Shapes]
    plugin: Path | None = None
    version_compatible: bool = False
    level: int | None = None  # builder_optimization_level, 0 to 5; None: TensorRT's default
    workspace: int | None = None  # bytes; None: all of the GPU
    timing_cache: bytes = b""


@dataclass
class Built:
    plan: bytes
    seconds: float
    timing_cache: bytes = b""
    layers: dict[str, int] = field(default_factory=dict)  # of the network: how many of each kind
    engine_layers: list[str] = field(default_factory=list)  # after fusion, where the engine can be loaded here


class Builder(Protocol):
    target: Target

    def build(self, job: Job) -> Built:
        """raises ModelError, MissingDependencyError"""


class TensorRTBuilder:
    """See Builder. TensorRT itself, which needs a GPU, or TensorRT-RTX, which does not."""

    def __init__(self, flavor: str):
        # The GPU first: without one, TensorRT ends the process instead of raising.
        instead = "build on the machine that has it, or give --flavor rtx for GeForce RTX cards"
        gpu = find_gpu(otherwise=instead) if flavor == "tensorrt" else None
        self.trt = import_tensorrt(flavor)
        described = {"name": "any GeForce RTX", "compute_capability": "8.6 or later"}
        if gpu:
            described = {"name": gpu.name, "compute_capability": gpu.compute_capability}
            described |= {"multiprocessors": gpu.multiprocessors, "clock_mhz": gpu.clock_mhz}
        self.target = Target(flavor, self.trt.__version__, described)

    def build(self, job: Job) -> Built:
        trt, logger = self.trt, make_logger(self.trt)
        if job.plugin:
            load_plugin(trt, job.plugin)
        builder = trt.Builder(logger)
        network = builder.create_network(self._network_flags())
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(job.onnx):
            reason = parser.get_error(0).desc() if parser.num_errors else logger.last
            raise ModelError(f"TensorRT {trt.__version__} cannot read the model ({' '.join(reason.split())[:200]})")
        config, cache = self._configure(builder, job)
        inputs = {network.get_input(i).name for i in range(network.num_inputs)}
        for shapes in job.profiles:
            profile = builder.create_optimization_profile()
            for name in inputs & set(shapes):
                profile.set_shape(name, *shapes[name])
            if config.add_optimization_profile(profile) < 0:
                raise ConfigError(f"TensorRT refuses a profile ({logger.last}): give other sizes with --profile")
        layers = Counter(str(network.get_layer(i).type).split(".")[-1] for i in range(network.num_layers))
        began = time.monotonic()
        plan = builder.build_serialized_network(network, config)
        seconds = time.monotonic() - began
        if plan is None:
            raise ModelError(f"TensorRT {trt.__version__} could not build the engine ({logger.last or 'no reason'})")
        plan = bytes(plan)
        timing = bytes(cache.serialize()) if cache is not None else b""
        return Built(plan, seconds, timing, dict(layers.most_common()), self._inspect(plan, logger))

    def _network_flags(self) -> int:
        kinds = getattr(self.trt, "NetworkDefinitionCreationFlag", None)
        strongly = getattr(kinds, "STRONGLY_TYPED", None)  # its number differs between 10 and 11
        return 0 if strongly is None or self.target.flavor == "rtx" else 1 << int(strongly)

    def _configure(self, builder: Any, job: Job) -> tuple[Any, Any]:
        trt, config = self.trt, builder.create_builder_config()
        if job.workspace:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace)
        if job.level is not None and hasattr(config, "builder_optimization_level"):
            config.builder_optimization_level = job.level
        if hasattr(trt, "ProfilingVerbosity"):
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if job.version_compatible:
            flag = getattr(trt.BuilderFlag, "VERSION_COMPATIBLE", None)
            if flag is None:
                raise ConfigError("this TensorRT has no version-compatible engines: leave --version-compatible out")
            config.set_flag(flag)
        cache = None
        if hasattr(config, "create_timing_cache"):
            cache = config.create_timing_cache(job.timing_cache)
            config.set_timing_cache(cache, False)
        return config, cache

    def _inspect(self, plan: bytes, logger: Any) -> list[str]:
        """A line for each layer of the engine; empty where there is no GPU to load it."""
        if self.target.flavor == "rtx":
            return []
        runtime = self.trt.Runtime(logger)
        runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(f"TensorRT cannot load the engine that it built ({logger.last})")
        text = engine.create_engine_inspector().get_engine_information(self.trt.LayerInformationFormat.ONELINE)
        return [line.strip()[:200] for line in text.splitlines() if line.strip()]
