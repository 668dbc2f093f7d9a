"""Device memory, streams, events and CUDA graphs behind one small interface, for the TensorRT backend.

Two implementations, on cuda-bindings and on pycuda; tests add one in NumPy. All use the device's primary context, which
TensorRT and PyTorch use too. Pointers and streams are plain integers, as TensorRT takes them.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from edgecolor.errors import ConfigError, MissingDependencyError
from edgecolor.gpu import Gpu

Array = np.ndarray


class Device(Protocol):
    """Of one GPU. All calls but `active` need to be within `with device.active()`, in whatever thread."""

    name: str  # of the package
    has_graphs: bool
    integrated: bool  # the GPU reads pinned memory where it is: nothing has to be copied

    def active(self) -> Any:
        """A context manager that makes the GPU this thread's."""

    def allocate(self, size: int) -> int:
        """Device memory of so many bytes. raises ConfigError where it is used up"""

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Array, int]:
        """An array in memory that the GPU can copy from and to; and its device address, 0 unless integrated."""

    def clear(self, pointer: int, size: int, stream: int) -> None: ...

    def upload(self, pointer: int, array: Array, stream: int) -> None: ...

    def download(self, array: Array, pointer: int, stream: int) -> None: ...

    def stream(self) -> int: ...

    def record(self, stream: int) -> Any:
        """A new event, reached when all that is now in the stream is done."""

    def wait(self, stream: int, event: Any) -> None:
        """Let the stream wait for the event."""

    def synchronize(self, event: Any) -> None:
        """Wait for the event here."""

    def milliseconds(self, before: Any, after: Any) -> float:
        """Between two events, both reached."""

    def capture(self, stream: int, work: Callable[[], None]) -> Any:
        """What work puts into the stream, as a graph. raises ConfigError where it cannot be captured"""

    def launch(self, graph: Any, stream: int) -> None: ...

    def free(self) -> None:
        """Give back all that was allocated through this object."""


OUT_OF_MEMORY = "the GPU has no room for {size:.0f} MB more: close other programs, or give a smaller --working-size"


class CudaBindings:
    """See Device. On NVIDIA's cuda-bindings."""

    name = "cuda-bindings"
    has_graphs = True

    def __init__(self, gpu: Gpu):
        from cuda.bindings import driver

        self.cu, self.integrated = driver, gpu.integrated
        self.ask(driver.cuInit(0))
        self.device = self.ask(driver.cuDeviceGet(0))
        self.context = self.ask(driver.cuDevicePrimaryCtxRetain(self.device))
        self.memory: list[int] = []
        self.host: list[int] = []
        self.streams: list[Any] = []
        self.graphs: list[Any] = []

    def ask(self, answer: tuple, doing: str = ""):
        """The value of an answer (status, value). raises ConfigError where the status is no success"""
        status, *values = answer
        if status != self.cu.CUresult.CUDA_SUCCESS:
            if status == self.cu.CUresult.CUDA_ERROR_OUT_OF_MEMORY and doing:
                raise ConfigError(doing)
            raise ConfigError(f"the GPU failed ({status.name}): see `nvidia-smi`, or use --backend onnxruntime")
        return values[0] if values else None

    @contextmanager
    def active(self) -> Iterator[None]:
        self.ask(self.cu.cuCtxPushCurrent(self.context))
        try:
            yield
        finally:
            self.cu.cuCtxPopCurrent()

    def allocate(self, size: int) -> int:
        pointer = int(self.ask(self.cu.cuMemAlloc(size), OUT_OF_MEMORY.format(size=size / 1e6)))
        self.memory.append(pointer)
        return pointer

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Array, int]:
        import ctypes

        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        flags = self.cu.CU_MEMHOSTALLOC_DEVICEMAP if self.integrated else 0
        host = int(self.ask(self.cu.cuMemHostAlloc(size, flags), OUT_OF_MEMORY.format(size=size / 1e6)))
        self.host.append(host)
        array = np.frombuffer((ctypes.c_byte * size).from_address(host), dtype).reshape(shape)
        return array, int(self.ask(self.cu.cuMemHostGetDevicePointer(host, 0))) if self.integrated else 0

    def clear(self, pointer: int, size: int, stream: int) -> None:
        self.ask(self.cu.cuMemsetD8Async(pointer, 0, size, stream))

    def upload(self, pointer: int, array: Array, stream: int) -> None:
        self.ask(self.cu.cuMemcpyHtoDAsync(pointer, array.ctypes.data, array.nbytes, stream))

    def download(self, array: Array, pointer: int, stream: int) -> None:
        self.ask(self.cu.cuMemcpyDtoHAsync(array.ctypes.data, pointer, array.nbytes, stream))

    def stream(self) -> int:
        stream = self.ask(self.cu.cuStreamCreate(self.cu.CUstream_flags.CU_STREAM_NON_BLOCKING.value))
        self.streams.append(stream)
        return int(stream)

    def record(self, stream: int) -> Any:
        event = self.ask(self.cu.cuEventCreate(self.cu.CUevent_flags.CU_EVENT_DEFAULT.value))
        self.ask(self.cu.cuEventRecord(event, stream))
        return _Event(event, self.cu)

    def wait(self, stream: int, event: Any) -> None:
        self.ask(self.cu.cuStreamWaitEvent(stream, event.event, 0))

    def synchronize(self, event: Any) -> None:
        self.ask(self.cu.cuEventSynchronize(event.event))

    def milliseconds(self, before: Any, after: Any) -> float:
        return float(self.ask(self.cu.cuEventElapsedTime(before.event, after.event)))

    def capture(self, stream: int, work: Callable[[], None]) -> Any:
        mode = self.cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self.ask(self.cu.cuStreamBeginCapture(stream, mode))
        try:
            work()
        finally:
            status, graph = self.cu.cuStreamEndCapture(stream)
        graph = self.ask((status, graph))
        self.graphs.append(self.ask(self.cu.cuGraphInstantiate(graph, 0)))
        self.cu.cuGraphDestroy(graph)
        return self.graphs[-1]

    def launch(self, graph: Any, stream: int) -> None:
        self.ask(self.cu.cuGraphLaunch(graph, stream))

    def free(self) -> None:
        for stream in self.streams:
            self.cu.cuStreamSynchronize(stream)
            self.cu.cuStreamDestroy(stream)
        for pointer in self.memory:
            self.cu.cuMemFree(pointer)
        for host in self.host:
            self.cu.cuMemFreeHost(host)
        for graph in self.graphs:
            self.cu.cuGraphExecDestroy(graph)
        self.memory, self.host, self.streams, self.graphs = [], [], [], []


class _Event:
    """A CUDA event that is destroyed with its last reference."""

    def __init__(self, event: Any, cu: Any):
        self.event, self.cu = event, cu

    def __del__(self):
        self.cu.cuEventDestroy(self.event)


class PyCuda:
    """See Device. On pycuda, which has no CUDA graphs."""

    name = "pycuda"
    has_graphs = False

    def __init__(self, gpu: Gpu):
        import pycuda.driver as driver

        self.cuda, self.integrated = driver, gpu.integrated
        driver.init()
        self.context = driver.Device(0).retain_primary_context()
        self.memory: list[Any] = []
        self.host: list[Array] = []
        self.streams: dict[int, Any] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        self.context.push()
        try:
            yield
        finally:
            self.context.pop()

    def allocate(self, size: int) -> int:
        try:
            allocation = self.cuda.mem_alloc(size)
        except self.cuda.MemoryError as error:
            raise ConfigError(OUT_OF_MEMORY.format(size=size / 1e6)) from error
        self.memory.append(allocation)
        return int(allocation)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Array, int]:
        flags = self.cuda.host_alloc_flags.DEVICEMAP if self.integrated else 0
        array = self.cuda.pagelocked_empty(shape, dtype, mem_flags=flags)
        self.host.append(array)
        return array, int(array.base.get_device_pointer()) if self.integrated else 0

    def clear(self, pointer: int, size: int, stream: int) -> None:
        self.cuda.memset_d8_async(pointer, 0, size, self.streams[stream])

    def upload(self, pointer: int, array: Array, stream: int) -> None:
        self.cuda.memcpy_htod_async(pointer, array, self.streams[stream])

    def download(self, array: Array, pointer: int, stream: int) -> None:
        self.cuda.memcpy_dtoh_async(array, pointer, self.streams[stream])

    def stream(self) -> int:
        stream = self.cuda.Stream()
        self.streams[stream.handle] = stream
        return stream.handle

    def record(self, stream: int) -> Any:
        return self.cuda.Event().record(self.streams[stream])

    def wait(self, stream: int, event: Any) -> None:
        self.streams[stream].wait_for_event(event)

    def synchronize(self, event: Any) -> None:
        event.synchronize()

    def milliseconds(self, before: Any, after: Any) -> float:
        return float(after.time_since(before))

    def capture(self, stream: int, work: Callable[[], None]) -> Any:
        raise ConfigError("pycuda has no CUDA graphs: pip install cuda-bindings")

    def launch(self, graph: Any, stream: int) -> None:
        raise ConfigError("pycuda has no CUDA graphs: pip install cuda-bindings")

    def free(self) -> None:
        for stream in self.streams.values():
            stream.synchronize()
        for allocation in self.memory:
            allocation.free()
        self.memory, self.host, self.streams = [], [], {}


_opening = threading.Lock()


def open_device(gpu: Gpu) -> Device:
    """cuda-bindings where it is installed, for its graphs, else pycuda. raises MissingDependencyError without both"""
    missing = []
    with _opening:
        for implementation in (CudaBindings, PyCuda):
            try:
                return implementation(gpu)
            except ImportError as error:
                missing.append(f"{implementation.name}: {error}")
    raise MissingDependencyError(f"this backend needs pip install cuda-bindings, or pycuda ({'; '.join(missing)})")
