"""ONNX Runtime, the default. The probabilities stay in the session's buffers between frames."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgecolor.backends.ab_state import AbState
from edgecolor.backends.base import (
    Array,
    Grid,
    centers_of,
    check_network,
    check_tokens,
    need_hints,
    need_tokens,
    started,
)
from edgecolor.backends.files import find_decoder, read_manifest, usable_cores
from edgecolor.backends.network_alone import network_alone
from edgecolor.errors import MissingDependencyError, ModelError

LARGE = 256 << 20  # bytes of a file


def import_onnxruntime():
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(f"ONNX Runtime does not load ({error}): pip install onnxruntime") from error
    return onnxruntime


def types_of(infos) -> dict[str, type]:
    """float16 or float32 for each input or output of a session: a model in float16 takes its state so, and decode.onnx
    its logits too."""
    return {info.name: np.float16 if info.type == "tensor(float16)" else np.float32 for info in infos}


class OnnxRuntimeBackend:
    """See Backend. Runs on the CPU, or on a CUDA device where the installed ONNX Runtime finds one."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int | None = None):
        self.path, self.threads = path, threads or usable_cores()
        self.ort = import_onnxruntime()
        self.manifest = read_manifest(path)
        check_network(self.manifest, path)
        self.centers = centers_of(self.manifest)
        self.session = self.open(path)
        states = [info.shape[-1] for info in self.session.get_inputs() if info.name == "prev_probs"]
        check_tokens(self.manifest, states[0] if states else None, path)
        self.device = "cuda" if self.session.get_providers()[0].startswith("CUDA") else "cpu"
        self.decoder = None
        self.networks: dict[tuple[tuple[str, ...], int], Any] = {}  # sessions, by their outputs and number of threads
        self.grid: Grid | None = None

    def network(self, outputs: tuple[str, ...], threads: int):
        """The session of what leads to these outputs, without the op; of a large model the session that is there, as
        two take twice the memory."""
        if self.path.stat().st_size > LARGE:
            return self.session
        key = (outputs, threads)
        if key not in self.networks:
            self.networks[key] = self.open(self.path, network_alone(self.path.read_bytes(), outputs), threads)
        return self.networks[key]

    def open(self, path: Path, content: bytes | None = None, threads: int | None = None):
        """A session of the file, or of what was made of its content; threads: other than those of the backend."""
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = threads or self.threads
        options.log_severity_level = 3
        # Threads that spin between frames take the cores from the decoder and the encoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in self.ort.get_available_providers()]
        try:
            return self.ort.InferenceSession(content or str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"ONNX Runtime {self.ort.__version__} cannot load {path} ({reason})") from error

    def to_device(self, array: Array):
        return self.ort.OrtValue.ortvalue_from_numpy(array, self.device, 0)

    def start(self, batch: int, h0: int, w0: int) -> None:
        self.grid = grid = Grid(self.manifest, len(self.centers), batch, h0, w0)
        if self.manifest.kind != "tokens":
            self.ab_state = AbState(grid)
            return
        self.state_type = types_of(self.session.get_inputs())["prev_probs"]
        # The op reads one while it writes the other: they are swapped, never the same.
        self.state, self.next_state = (self.to_device(np.zeros(grid.probs, self.state_type)) for _ in range(2))
        self.still = self.to_device(np.zeros(grid.motion, np.float32))

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        lightness = started(self.grid).checked("lightness", lightness)
        if self.manifest.kind != "tokens":
            return self.blend(lightness, keep, motion)
        return self.advance(self.session, {"lightness": lightness}, keep, motion, temperature)

    def blend(self, lightness: Array, keep: Array | float, motion: Array | None) -> Array:
        """step for a model without tokens."""
        inputs = {"lightness": lightness} | ({"hints": self.ab_state.hints} if self.manifest.hints else {})
        (ab,) = self.session.run(["ab"], inputs)
        return self.ab_state.blend(ab, keep, motion)

    def hint(self, hints: Array | None) -> None:
        need_hints(self.manifest)
        started(self.grid)
        self.ab_state.hint(hints)

    def decode(
        self, logits: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        need_tokens(self.manifest)
        logits = started(self.grid).checked("logits", logits)
        if self.decoder is None:
            self.decoder = self.open(find_decoder(self.path))
        return self.advance(self.decoder, {"logits": logits, "centers": self.centers}, keep, motion, temperature)

    def keep_state_as(self, dtype: type) -> None:
        """Hold the state in that type. The network and the op alone, when in two files, need not agree on one."""
        if dtype != self.state_type:
            values = self.state.numpy().astype(dtype)
            self.state, self.next_state = self.to_device(values), self.to_device(np.zeros_like(values))
            self.state_type = dtype

    def advance(self, session, inputs: dict[str, Array], keep, motion, temperature) -> Array:
        grid, types = started(self.grid), types_of(session.get_inputs())
        self.keep_state_as(types["prev_probs"])
        inputs = {**inputs, "keep": grid.checked_keep(keep), "temperature": grid.checked_temperature(temperature)}
        if motion is not None:
            inputs["motion"] = grid.checked("motion", motion)
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array.astype(types[name], copy=False))
        if motion is None:
            binding.bind_ortvalue_input("motion", self.still)
        binding.bind_ortvalue_input("prev_probs", self.state)
        binding.bind_output("ab", "cpu")
        binding.bind_ortvalue_output("probs", self.next_state)
        session.run_with_iobinding(binding)
        self.state, self.next_state = self.next_state, self.state
        return binding.get_outputs()[0].numpy()

    def logits(self, lightness: Array) -> tuple[Array, Array]:
        need_tokens(self.manifest)
        outputs = ("logits", "features")
        return tuple(self.outputs_of(self.network(outputs, self.threads), outputs, lightness))

    def logits_side_by_side(self, inputs: Sequence[Array]) -> list[Array]:
        """Cores that each have a picture of their own do not wait for one another at every layer: an eighth less
        processor time than one picture after another on all of them."""
        need_tokens(self.manifest)
        count = min(len(inputs), self.threads) if self.device == "cpu" else 1
        outputs = ("logits",)
        run = partial(self.outputs_of, self.network(outputs, self.threads // count), outputs)
        with ThreadPoolExecutor(count) as pool:
            return [logits for (logits,) in pool.map(run, inputs)]

    def outputs_of(self, session, outputs: tuple[str, ...], lightness: Array) -> list[Array]:
        """These outputs of the network, float32; the state stays."""
        grid = started(self.grid)
        inputs = {
            "lightness": grid.checked("lightness", lightness),
            "keep": grid.checked_keep(0.0),
            "temperature": grid.checked_temperature(None),
        }
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_ortvalue_input("motion", self.still)
        state_type = types_of(session.get_inputs())["prev_probs"]
        is_same = state_type == self.state_type  # with nothing kept, what the state holds does not matter
        state = self.state if is_same else self.to_device(np.zeros(grid.probs, state_type))
        binding.bind_ortvalue_input("prev_probs", state)
        # Into memory of ours: what ONNX Runtime makes would have to be copied out.
        channels = {info.name: info.shape[-1] for info in session.get_outputs()}
        types = types_of(session.get_outputs())
        written = [np.empty((*grid.keep, channels[name]), types[name]) for name in outputs]
        for name, array in zip(outputs, written, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        session.run_with_iobinding(binding)
        return [array.astype(np.float32, copy=False) for array in written]

    def probs(self) -> Array:
        need_tokens(self.manifest)
        started(self.grid)
        return self.state.numpy().astype(np.float32)

    def close(self) -> None:
        self.session = self.decoder = self.state = self.next_state = self.still = self.grid = None
        self.networks = {}
