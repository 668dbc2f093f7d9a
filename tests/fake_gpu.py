"""A GPU and a TensorRT in NumPy and ONNX Runtime, for the TensorRT backend on a machine without them.

As late and as mean as the real ones may be: a stream does nothing before someone waits for it, new memory is full of
not-a-number, and an engine is the ONNX file it was "built" of. What is not waited for comes out wrong.
"""

import itertools
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort

from edgecolor.errors import ConfigError
from edgecolor.gpu import Gpu

GPU = Gpu("Fake GPU", 9, 0, 132, 1980, False, "13.0")
VERSION = "10.16.1.11"


class FakeGpu:
    """Memory and streams; `faults` names what is to go wrong."""

    def __init__(self, room: int = 2**30):
        self.memory: dict[int, np.ndarray] = {}
        self.queues: dict[int, list] = {}
        self.numbers = itertools.count(4096, 4096 * 4096)
        self.room, self.used, self.active, self.clock = room, 0, 0, 0.0
        self.capturing: list | None = None
        self.log: list[str] = []

    def allocate(self, size: int) -> int:
        if self.used + size > self.room:
            raise ConfigError(f"the GPU has no room for {size / 1e6:.0f} MB more: give a smaller --working-size")
        pointer = next(self.numbers)
        self.memory[pointer] = np.full(size, 0xFF, np.uint8)
        self.used += size
        return pointer

    def view(self, pointer: int, shape, dtype) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self.memory[pointer]
        assert size <= len(memory), f"{size} bytes of {len(memory)}"
        return memory[:size].view(dtype).reshape(shape)

    def put(self, stream: int, what: str, work) -> None:
        assert self.active, f"{what} without an active context"
        if self.capturing is not None:
            self.capturing.append((what, work))
        else:
            self.queues[stream].append((what, work))

    def run(self, stream: int, until=None) -> None:
        queue = self.queues[stream]
        while queue and not (until is not None and until.reached):
            what, work = queue.pop(0)
            self.log.append(what)
            self.clock += 1
            work()


class FakeEvent:
    def __init__(self, stream: int):
        self.stream, self.reached, self.time = stream, False, 0.0


class FakeDevice:
    """See edgecolor.backends.cuda_device.Device."""

    name = "fake"

    def __init__(self, gpu: FakeGpu, has_graphs: bool = True, integrated: bool = False):
        self.gpu, self.has_graphs, self.integrated = gpu, has_graphs, integrated
        self.mine: list[int] = []

    @contextmanager
    def active(self):
        self.gpu.active += 1
        yield
        self.gpu.active -= 1

    def allocate(self, size):
        self.mine.append(self.gpu.allocate(size))
        return self.mine[-1]

    def pinned(self, shape, dtype):
        pointer = self.allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        array = self.gpu.view(pointer, shape, dtype)
        return array, pointer if self.integrated else 0

    def clear(self, pointer, size, stream):
        self.gpu.put(stream, "clear", lambda: self.gpu.memory[pointer][:size].fill(0))

    def upload(self, pointer, array, stream):
        target = self.gpu.view(pointer, array.shape, array.dtype)
        self.gpu.put(stream, "upload", lambda: np.copyto(target, array))

    def download(self, array, pointer, stream):
        source = self.gpu.view(pointer, array.shape, array.dtype)
        self.gpu.put(stream, "download", lambda: np.copyto(array, source))

    def stream(self):
        stream = next(self.gpu.numbers)
        self.gpu.queues[stream] = []
        return stream

    def record(self, stream):
        event = FakeEvent(stream)

        def reach():
            event.reached, event.time = True, self.gpu.clock

        self.gpu.put(stream, "event", reach)
        return event

    def wait(self, stream, event):
        self.gpu.put(stream, "wait", lambda: self.gpu.run(event.stream, event))

    def synchronize(self, event):
        self.gpu.run(event.stream, event)
        assert event.reached

    def milliseconds(self, before, after):
        assert before.reached and after.reached
        return after.time - before.time

    def capture(self, stream, work):
        self.gpu.capturing = []
        try:
            work()
        finally:
            captured, self.gpu.capturing = self.gpu.capturing, None
        return captured

    def launch(self, graph, stream):
        def replay():
            for _, work in graph:
                work()

        self.gpu.put(stream, "graph", replay)

    def free(self):
        for pointer in self.mine:
            self.gpu.used -= len(self.gpu.memory.pop(pointer))
        self.mine = []


def make_tensorrt(gpu: FakeGpu, version: str = VERSION) -> SimpleNamespace:
    """What the backend uses of the package tensorrt. A plan is b"plan:" and an ONNX file."""

    class ILogger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    mode = SimpleNamespace(INPUT=1, OUTPUT=2)

    class Context:
        def __init__(self, engine):
            self.engine, self.shapes, self.addresses, self.profile = engine, {}, {}, None

        def set_optimization_profile_async(self, profile, stream):
            self.profile = profile
            return profile < engine_profiles

        def set_input_shape(self, name, shape):
            assert self.profile is not None, "the profile comes before the shapes"
            self.shapes[name] = tuple(shape)
            return name in self.engine.names

        def get_tensor_shape(self, name):
            n, _, h0, w0 = self.shapes["lightness"]
            return (n, h0 // 4, w0 // 4, self.engine.channels[name])

        def set_tensor_address(self, name, pointer):
            assert name in self.engine.names, name
            self.addresses[name] = pointer
            return True

        def execute_async_v3(self, stream):
            addresses, shapes, engine = dict(self.addresses), dict(self.shapes), self.engine
            if set(addresses) != set(engine.names):
                return False
            assert len({addresses[n] for n in engine.names}) == len(engine.names), "two tensors share memory"

            def work():
                feed = {n: gpu.view(addresses[n], shapes[n], engine.types[n]).copy() for n in engine.inputs}
                outputs = [n for n in engine.names if n not in engine.inputs]
                for name, value in zip(outputs, engine.session.run(outputs, feed), strict=True):
                    np.copyto(gpu.view(addresses[name], value.shape, value.dtype), value)

            gpu.put(stream, "compute", work)
            return True

    class Engine:
        def __init__(self, onnx: bytes):
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 3
            self.session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
            infos = [*self.session.get_inputs(), *self.session.get_outputs()]
            self.inputs = [info.name for info in self.session.get_inputs()]
            self.names = [info.name for info in infos]
            self.channels = {info.name: info.shape[-1] for info in infos}
            kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
            self.types = {info.name: kinds[info.type] for info in infos}
            self.num_io_tensors = len(self.names)

        def get_tensor_name(self, i):
            return self.names[i]

        def get_tensor_dtype(self, name):
            return self.types[name]

        def get_tensor_mode(self, name):
            return mode.INPUT if name in self.inputs else mode.OUTPUT

        def create_execution_context(self):
            return Context(self)

    class Runtime:
        def __init__(self, logger):
            assert gpu.active, "TensorRT was touched without an active context"
            self.logger = logger

        def deserialize_cuda_engine(self, plan):
            if not plan.startswith(b"plan:"):
                self.logger.log(1, "Error Code 1: Serialization\n(Serialization assertion failed)")
                return None
            return Engine(plan.removeprefix(b"plan:"))

    class Registry:
        def __init__(self):
            self.creators = {}

        def get_creator(self, *key):
            return self.creators.get(key)

        def load_library(self, path):
            with open(path, "rb") as file:
                if b"ColorTokenDecode" not in file.read():
                    return None
            self.creators["ColorTokenDecode", "1", "edgecolor"] = object()
            return object()

    registry, engine_profiles = Registry(), 4
    return SimpleNamespace(
        __version__=version,
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=mode,
        nptype=lambda kind: kind,
        get_plugin_registry=lambda: registry,
    )
