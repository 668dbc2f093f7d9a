"""TensorRT's runtime: the package, the plugin, an engine that is ready to run; an error instead of a crash."""

import ctypes
from pathlib import Path
from typing import Any

from edgecolor import plugins
from edgecolor.engines import OLDEST_TENSORRT, EngineInfo, Profile, check_fits, version_of
from edgecolor.errors import MissingDependencyError, ModelError, ShapeError
from edgecolor.gpu import Gpu

MODULES = {
    "tensorrt": ("tensorrt", "tensorrt_lean", "tensorrt_dispatch"),  # the small ones run version-compatible engines
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
INSTALL = {"tensorrt": "pip install tensorrt, on a Jetson it comes with JetPack", "rtx": "pip install tensorrt-rtx"}


def import_tensorrt(flavor: str, version_compatible: bool = False) -> Any:
    """The package. raises MissingDependencyError where it is missing, does not load, or is too old"""
    import importlib

    names = MODULES[flavor] if version_compatible or flavor == "rtx" else MODULES[flavor][:1]
    for name in names:
        try:
            trt = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise MissingDependencyError(f"{name} does not load ({error}): install it again") from error
            continue
        except (ImportError, OSError) as error:
            raise MissingDependencyError(f"{name} does not load ({error}): install it again") from error
        if flavor == "tensorrt" and version_of(trt.__version__)[:2] < OLDEST_TENSORRT:
            raise MissingDependencyError(
                f"TensorRT {trt.__version__} is too old, 10.3 is the oldest (JetPack 6.1): update it, "
                "or use --backend onnxruntime"
            )
        return trt
    raise MissingDependencyError(f"{names[0]} is not installed: {INSTALL[flavor]}; or use --backend onnxruntime")


def make_logger(trt: Any) -> Any:
    """A logger that keeps the last error, for our own messages, and prints nothing."""

    class Logger(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.last = ""

        def log(self, severity, message):
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last = " ".join(message.split())[:200]

    return Logger()


def load_plugin(trt: Any, library: Path | None) -> None:
    """Register the op's plugin, once in a process.

    raises  MissingDependencyError with the cause, which TensorRT itself does not tell
    """
    registry = trt.get_plugin_registry()
    wanted = ("ColorTokenDecode", "1", "edgecolor")
    if registry.get_creator(*wanted) is not None:
        return
    again = "build it again with `edgecolor build-plugins`"
    if library is None:
        raise MissingDependencyError(
            "the engine needs the TensorRT plugin, which is not built: run `edgecolor build-plugins`, "
            "or build the engine with --decode native"
        )
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        raise MissingDependencyError(f"the plugin {library} does not load ({error}): {again}") from error
    if registry.load_library(str(library)) is None or registry.get_creator(*wanted) is None:
        raise MissingDependencyError(f"{library} is no plugin for TensorRT {trt.__version__}: {again}")


class LoadedEngine:
    """An engine and its execution context. Made and used with the GPU active.

    raises  ModelError, MissingDependencyError
    """

    def __init__(self, trt: Any, plan: bytes, info: EngineInfo, path: Path, gpu: Gpu):
        self.path, self.info = path, info
        check_fits(path, info, trt.__version__, gpu.name, gpu.compute_capability)
        if info.key["decode"] == "plugin":
            load_plugin(trt, plugins.find_library())
        self.logger = make_logger(trt)
        self.runtime = trt.Runtime(self.logger)
        if info.key.get("version_compatible"):
            self.runtime.engine_host_code_allowed = True
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise ModelError(f"TensorRT refuses {path} ({self.logger.last or 'it says no more'}): run `{info.command}`")
        self.context = self.engine.create_execution_context()
        if self.context is None:
            raise ModelError(f"{path} does not start ({self.logger.last or 'memory?'}): free memory of the GPU")
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        self.types = {name: trt.nptype(self.engine.get_tensor_dtype(name)) for name in names}
        self.inputs = [name for name in names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if name not in self.inputs]

    def set_shapes(self, profile: int, shapes: dict[str, tuple[int, ...]], stream: int) -> None:
        """Choose the profile, and the shape of each input."""
        if not self.context.set_optimization_profile_async(profile, stream):
            raise ModelError(f"{self.path} has no profile {profile} ({self.logger.last}): run `{self.info.command}`")
        for name in self.inputs:
            if not self.context.set_input_shape(name, shapes[name]):
                raise ShapeError(f"{self.path} takes no {name} of {shapes[name]} ({self.logger.last}): build another")

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an output, after the inputs' shapes were set."""
        return tuple(self.context.get_tensor_shape(name))

    def enqueue(self, addresses: dict[str, int], stream: int) -> None:
        """Put one run into the stream."""
        for name, address in addresses.items():
            self.context.set_tensor_address(name, address)
        if not self.context.execute_async_v3(stream):
            raise ModelError(f"TensorRT could not run {self.path} ({self.logger.last}): run `{self.info.command}`")

    def close(self) -> None:
        self.context = self.engine = self.runtime = None


def no_profile(path: Path, profiles: tuple[Profile, ...], size: tuple[int, int, int], command: str) -> ShapeError:
    n, h0, w0 = size
    known = ", ".join(map(str, profiles))
    return ShapeError(
        f"{n}x{h0}x{w0} is outside the profiles of {path} ({known}): run `{command} --profile {n}x{h0}x{w0}`"
    )
