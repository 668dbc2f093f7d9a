"""TensorRT. The probabilities stay on the GPU; with submit, one frame's copies overlap another's network."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecolor.backends.ab_state import AbState
from edgecolor.backends.base import Array, Grid, centers_of, check_network, need_hints, need_tokens, started
from edgecolor.backends.cuda_device import Device, open_device
from edgecolor.backends.files import read_manifest
from edgecolor.backends.tensorrt_engine import LoadedEngine, import_tensorrt, no_profile
from edgecolor.engines import choose_profile, find_built, read_engine
from edgecolor.errors import ConfigError, ModelError
from edgecolor.gpu import find_gpu

SUFFIX = ".engine"
FLAVORS = ("tensorrt", "rtx")


def engine_of(path: Path, gpu_name: str) -> Path:
    """The engine of a model: itself, the one beside it, or the newest that build-engine made of it for this GPU.

    raises  ModelError where there is none
    """
    if path.suffix.lower() == SUFFIX:
        return path
    if path.with_suffix(SUFFIX).is_file():
        return path.with_suffix(SUFFIX)
    found = find_built(read_manifest(path).weights_sha256, FLAVORS, gpu_name)
    if found is None:
        raise ModelError(f"there is no engine of {path} for the {gpu_name} yet: run `edgecolor build-engine {path}`")
    return found


class Buffer:
    """Pinned memory here and its twin on the GPU; one and the same where the two share memory."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: Any, pointer: int = 0):
        """pointer  to device memory that is there already, in place of new"""
        self.device = device
        self.host, address = device.pinned(shape, np.dtype(dtype))
        self.is_shared = address != 0 and pointer == 0
        self.pointer = pointer or address or device.allocate(self.host.nbytes)

    def upload(self, stream: int) -> None:
        if not self.is_shared:
            self.device.upload(self.pointer, self.host, stream)

    def download(self, stream: int) -> None:
        if not self.is_shared:
            self.device.download(self.host, self.pointer, stream)


@dataclass
class Slot:
    """What belongs to every other frame: buffers, and the graph that reads and writes them."""

    inputs: dict[str, Buffer]
    ab: Buffer
    hints_given: int = -1  # which of them inputs["hints"] holds
    moves: bool = True  # whether inputs["motion"] may hold anything but zeros
    runs: int = 0
    graph: Any = None
    events: dict[str, Any] = field(default_factory=dict)
    busy: bool = False


class TensorRTBackend:
    """See Backend. Opens .engine files, and .onnx files of which `edgecolor build-engine` has made one."""

    name = "tensorrt"

    def __init__(self, path: Path, threads: int | None = None):
        # The GPU first: without one, TensorRT ends the process instead of raising.
        self.gpu = find_gpu()
        self.path = engine_of(path, self.gpu.name)
        plan, self.info = read_engine(self.path)
        self.manifest, self.views_inside = self.info.manifest, self.info.views
        check_network(self.manifest, self.path)
        self.centers = centers_of(self.manifest)
        self.trt = import_tensorrt(self.info.key["flavor"], bool(self.info.key.get("version_compatible")))
        self.device = open_device(self.gpu)
        with self.device.active():
            self.engine: LoadedEngine | None = LoadedEngine(self.trt, plan, self.info, self.path, self.gpu)
        self.decoder: LoadedEngine | None = None
        self.grid: Grid | None = None
        self.graphs = "on" if self.device.has_graphs else f"off: {self.device.name} has none"
        self.is_timed = False  # let every step leave its times in `milliseconds`, which costs the overlap
        self.milliseconds: dict[str, float] = {}

    @property
    def is_tokens(self) -> bool:
        return self.manifest.kind == "tokens"

    def start(self, batch: int, h0: int, w0: int) -> None:
        grid = Grid(self.manifest, len(self.centers), batch, h0, w0)
        profile = choose_profile(self.info.profiles, (batch, h0, w0))
        if profile is None:
            raise no_profile(self.path, self.info.profiles, (batch, h0, w0), self.info.command)
        self.grid, self.profile, device = None, profile, self.device
        with device.active():
            device.free()
            self.uploads, self.stream = device.stream(), device.stream()
            shapes = {"lightness": grid.lightness, "prev_probs": grid.probs, "motion": grid.motion, "keep": grid.keep}
            self.shapes = shapes = {**shapes, "temperature": (1,), "hints": grid.hints}
            self.engine.set_shapes(profile, shapes, self.stream)
            small = [name for name in self.engine.inputs if name != "prev_probs"]
            types = self.engine.types
            self.slots = [
                Slot({n: Buffer(device, shapes[n], types[n]) for n in small}, Buffer(device, grid.ab, types["ab"]))
                for _ in range(2)
            ]
            if self.is_tokens:
                # The op reads one while it writes the other: they are swapped, never the same.
                self.state_type = np.dtype(types["probs"])
                size = int(np.prod(grid.probs)) * self.state_type.itemsize
                self.states = [device.allocate(size) for _ in range(2)]
                for state in self.states:
                    device.clear(state, size, self.stream)
                self.whole_state: Buffer | None = None
                # What only logits() fetches has one place for all frames: they run one after the other.
                self.large = {name: Buffer(device, self.engine.shape(name), types[name]) for name in self._fetched()}
        self.turn = 0  # the slot of the next frame, and the state that it reads
        self.decode_inputs: dict[str, Buffer] = {}
        # Of a model without tokens:
        self.ab_state, self.hints_given = AbState(grid), 0
        self.grid = grid

    def _fetched(self) -> list[str]:
        return [name for name in self.engine.outputs if name not in ("ab", "probs")]

    def submit(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> int:
        """Put one frame on its way, as step; at most two may be under way. returns what collect takes"""
        grid = started(self.grid)
        inputs = {"lightness": grid.checked("lightness", lightness)}
        return self._submit(self.engine, inputs, keep, motion, temperature)

    def _submit(self, engine: LoadedEngine, large: dict[str, Array], keep, motion, temperature, fetch: bool = False):
        """fetch: bring logits and features down too, and leave the state where it is"""
        grid, device, turn = started(self.grid), self.device, self.turn
        slot = self.slots[turn]
        if slot.busy:
            raise ConfigError("two frames are under way: collect one before the next is submitted")
        inputs = dict(large)
        if self.is_tokens:
            inputs |= {"keep": grid.checked_keep(keep), "temperature": grid.checked_temperature(temperature)}
            if motion is not None:
                inputs["motion"] = grid.checked("motion", motion)
            elif slot.moves:
                inputs["motion"] = np.zeros(grid.motion, np.float32)
            slot.moves = motion is not None
        elif self.manifest.hints and slot.hints_given != self.hints_given:
            inputs["hints"], slot.hints_given = self.ab_state.hints, self.hints_given
        buffers = slot.inputs if engine is self.engine else {**slot.inputs, **self.decode_inputs}
        addresses = {name: buffers[name].pointer for name in engine.inputs if name != "prev_probs"}
        addresses["ab"] = slot.ab.pointer
        if self.is_tokens:
            addresses |= {"prev_probs": self.states[turn], "probs": self.states[1 - turn]}
            addresses |= {name: self.large[name].pointer for name in engine.outputs if name in self.large}
        with device.active():
            begun = device.record(self.uploads)
            for name, array in inputs.items():
                np.copyto(buffers[name].host, array, casting="same_kind")
                buffers[name].upload(self.uploads)
            uploaded = device.record(self.uploads)
            device.wait(self.stream, uploaded)
            self._enqueue(engine, slot, addresses)
            computed = device.record(self.stream)
            for buffer in (slot.ab, *(self.large.values() if fetch else ())):
                buffer.download(self.stream)
            slot.events = {"begun": begun, "uploaded": uploaded, "computed": computed}
            slot.events["done"] = device.record(self.stream)
        slot.busy = True
        self.turn = turn if fetch else 1 - turn
        return turn

    def _enqueue(self, engine: LoadedEngine, slot: Slot, addresses: dict[str, int]) -> None:
        """Run now, or launch the graph; captured in the third run, when TensorRT has made its own preparations."""
        device = self.device
        if engine is not self.engine or self.graphs != "on" or slot.runs < 2:
            slot.runs += engine is self.engine
            engine.enqueue(addresses, self.stream)
            return
        if slot.graph is None:
            try:
                slot.graph = device.capture(self.stream, lambda: engine.enqueue(addresses, self.stream))
            except (ConfigError, ModelError) as error:
                self.graphs = f"off: {error}"
                engine.enqueue(addresses, self.stream)
                return
        device.launch(slot.graph, self.stream)

    def collect(self, ticket: int) -> Array:
        """ab (N, 2, h, w) float32 of a frame that was submitted; waits for it."""
        slot = self.slots[ticket]
        if not slot.busy:
            raise ConfigError("there is no such frame under way: collect each one once")
        with self.device.active():
            self.device.synchronize(slot.events["done"])
            if self.is_timed:
                order = ("begun", "uploaded", "computed", "done")
                spans = zip(("upload", "compute", "download"), order, order[1:], strict=False)
                between = self.device.milliseconds
                self.milliseconds = {name: between(slot.events[a], slot.events[b]) for name, a, b in spans}
        slot.busy = False
        return slot.ab.host.astype(np.float32)

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        ab = self.collect(self.submit(lightness, keep, motion, temperature))
        return ab if self.is_tokens else self.ab_state.blend(ab, keep, motion)

    def hint(self, hints: Array | None) -> None:
        need_hints(self.manifest)
        started(self.grid)
        self.ab_state.hint(hints)
        self.hints_given += 1

    def decode(
        self, logits: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        need_tokens(self.manifest)
        grid = started(self.grid)
        logits = grid.checked("logits", logits)
        if not self.decode_inputs:
            self._open_decoder(grid)
        return self.collect(self._submit(self.decoder, {"logits": logits}, keep, motion, temperature))

    def _open_decoder(self, grid: Grid) -> None:
        path = self.path.with_name(self.info.decode) if self.info.decode else self.path
        if not self.info.decode or not path.is_file():
            raise ModelError(f"{path} lies not beside {self.path}, which look-ahead needs: run `{self.info.command}`")
        plan, info = read_engine(path)
        device = self.device
        with device.active():
            if self.decoder is None:
                self.decoder = LoadedEngine(self.trt, plan, info, path, self.gpu)
            if np.dtype(self.decoder.types["probs"]) != self.state_type:
                raise ModelError(f"{path} has another precision than {self.path}: run `{self.info.command}`")
            shapes = {**self.shapes, "logits": grid.probs, "centers": self.centers.shape}
            profile = choose_profile(info.profiles, grid.lightness[:1] + grid.lightness[2:])
            if profile is None:
                size = (grid.lightness[0], *grid.lightness[2:])
                raise no_profile(path, info.profiles, size, info.command)
            self.decoder.set_shapes(profile, shapes, self.stream)
            types = self.decoder.types
            self.decode_inputs = {n: Buffer(device, shapes[n], types[n]) for n in ("logits", "centers")}
            np.copyto(self.decode_inputs["centers"].host, self.centers)
            self.decode_inputs["centers"].upload(self.uploads)

    def logits(self, lightness: Array) -> tuple[Array, Array]:
        need_tokens(self.manifest)
        grid = started(self.grid)
        if not {"logits", "features"} <= set(self.large):
            raise ModelError(f"{self.path} has no outputs logits and features: run `{self.info.command}`")
        self._check_idle("logits are asked for")
        lightness = grid.checked("lightness", lightness)
        self.collect(self._submit(self.engine, {"lightness": lightness}, 0.0, None, None, fetch=True))
        logits, features = (self.large[name].host.astype(np.float32) for name in ("logits", "features"))
        return logits, features

    def _check_idle(self, what: str) -> None:
        if any(slot.busy for slot in self.slots):
            raise ConfigError(f"a frame is under way: collect it before {what}")

    def _state(self) -> Buffer:
        grid = started(self.grid)
        need_tokens(self.manifest)
        self._check_idle("its state is read or replaced")
        if self.whole_state is None:
            self.whole_state = Buffer(self.device, grid.probs, self.state_type, self.states[self.turn])
        self.whole_state.pointer = self.states[self.turn]
        return self.whole_state

    def probs(self) -> Array:
        with self.device.active():
            state = self._state()
            state.download(self.stream)
            self.device.synchronize(self.device.record(self.stream))
        return state.host.astype(np.float32)

    def close(self) -> None:
        if self.engine is None:
            return
        with self.device.active():
            self.slots, self.decode_inputs, self.large, self.grid = [], {}, {}, None
            for engine in (self.decoder, self.engine):
                if engine:
                    engine.close()
            self.device.free()
        self.engine = self.decoder = None
