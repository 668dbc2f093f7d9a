"""OpenVINO, on the CPU. The probabilities stay in two of its tensors, which the network reads and writes in turns."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
from edgecolor.errors import MissingDependencyError, ModelError

PARTS = {  # and their outputs; blend is the whole of a model without tokens
    "step": ("ab", "probs"),
    "net": ("logits", "features"),
    "decode": ("ab", "probs"),
    "blend": ("ab",),
}
TELEMETRY = "openvino_telemetry"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep OpenVINO's Python package from reporting each import of itself over the network, which it does unasked.

    It goes without where the package that reports is missing, as it seems to be inside.
    """
    if TELEMETRY in sys.modules:  # somebody else has imported it, and with it OpenVINO
        yield
        return
    sys.modules[TELEMETRY] = None
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]


def import_openvino():
    try:
        with without_telemetry():
            import onnx.inliner
            import openvino
    except ImportError as error:
        reason = f"the openvino backend needs OpenVINO and onnx ({error})"
        raise MissingDependencyError(f"{reason}: pip install openvino onnx") from error
    return openvino, onnx


class Network:
    """A model, or the part of it that leads to some outputs, compiled for one size."""

    def __init__(self, ov, model, outputs: tuple[str, ...], shapes: dict[str, tuple[int, ...]], settings: dict):
        """
        model   an openvino Model, which stays as it is
        shapes  of the inputs, by name, and of others that the model need not have
        raises  ModelError where OpenVINO cannot compile it
        """
        self.ov, own = ov, model.clone()
        names = [port.any_name for port in own.inputs]
        try:
            # All inputs stay, though the network alone needs one: it takes the number of pictures from the state.
            part = ov.Model([own.output(name).get_node() for name in outputs], own.get_parameters())
            part.reshape({name: ov.PartialShape(list(shapes[name])) for name in names})
            compiled = ov.Core().compile_model(part, "CPU", settings)
        except RuntimeError as error:  # OpenVINO has no errors of its own
            raise ModelError(f"OpenVINO cannot compile the model for this size ({one_line(error)})") from error
        self.request = compiled.create_infer_request()
        self.types = {name: compiled.input(name).get_element_type().to_dtype() for name in names}
        self.outputs = {
            name: (tuple(compiled.output(name).shape), compiled.output(name).get_element_type().to_dtype())
            for name in outputs
        }

    def run(self, inputs: dict[str, Any], written: dict[str, Any] | None = None) -> dict[str, Array]:
        """
        inputs   arrays in C order, or OpenVINO's tensors
        written  OpenVINO's tensors that take the outputs of those names
        returns  the other outputs, float32, in arrays that nobody else holds
        """
        written = written or {}
        rest = {name: np.empty(*facts) for name, facts in self.outputs.items() if name not in written}
        held = dict(written)  # until the network has run: OpenVINO reads and writes the arrays themselves
        for name, value in (inputs | rest).items():
            if isinstance(value, np.ndarray):
                value = np.require(value, self.types.get(name), ["C", "W"])  # read-only memory is not shared
                held[name] = self.ov.Tensor(value, shared_memory=True)
            else:
                held[name] = value
        for name, tensor in held.items():
            self.request.set_tensor(name, tensor)
        self.request.infer(share_outputs=True)
        return {name: value.astype(np.float32, copy=False) for name, value in rest.items()}


def one_line(error: Exception) -> str:
    """The reason at the end of OpenVINO's errors, which begin with places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[-2:])[:200]


class OpenVinoBackend:
    """See Backend. Computes in float32 on every processor, and is compiled anew when start() changes the size."""

    name = "openvino"

    def __init__(self, path: Path, threads: int | None = None):
        self.path, self.threads = path, threads or usable_cores()
        self.ov, self.onnx = import_openvino()
        self.manifest = read_manifest(path)
        check_network(self.manifest, path)
        self.centers = centers_of(self.manifest).copy()
        self.model = self.read(path)
        states = [port.partial_shape[3] for port in self.model.inputs if port.any_name == "prev_probs"]
        check_tokens(self.manifest, states[0].get_length() if states else None, path)
        self.decoder = None
        self.networks: dict[str, Network] = {}  # what was compiled for the size of the grid
        self.grid: Grid | None = None

    def read(self, path: Path):
        """raises ModelError where OpenVINO cannot take the model"""
        # OpenVINO reads no node that is a function of the same file, as the op is.
        model = self.onnx.inliner.inline_local_functions(self.onnx.load(path))
        try:
            return self.ov.Core().read_model(model.SerializeToString())
        except RuntimeError as error:
            version = self.ov.__version__.split("-")[0]
            raise ModelError(f"OpenVINO {version} cannot read {path} ({one_line(error)}): export it again") from error

    def compiled(self, part: str) -> Network:
        """The network of that part (a key of PARTS) for the size of the grid."""
        if part not in self.networks:
            grid = started(self.grid)
            shapes = {name: getattr(grid, name) for name in ("lightness", "hints", "keep", "motion")}
            shapes |= {"prev_probs": grid.probs, "logits": grid.probs, "temperature": (1,)}
            shapes["centers"] = self.centers.shape
            settings = {
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",  # OpenVINO's own choice is bf16 where the processor has it
                "ENABLE_CPU_PINNING": False,  # threads bound to cores stand in the way of the decoder and the encoder
            }
            model = self.decoder if part == "decode" else self.model
            self.networks[part] = Network(self.ov, model, PARTS[part], shapes, settings)
        return self.networks[part]

    def start(self, batch: int, h0: int, w0: int) -> None:
        grid = Grid(self.manifest, len(self.centers), batch, h0, w0)
        if self.grid is None or grid.lightness != self.grid.lightness:
            self.networks = {}
        self.grid = grid
        if self.manifest.kind != "tokens":
            self.ab_state = AbState(grid)
            return
        # The op reads one while it writes the other: they are swapped, never the same.
        self.state, self.next_state = (self.zeros(grid.probs, self.state_type()) for _ in range(2))
        self.still = self.zeros(grid.motion, np.float32)

    def state_type(self):
        return self.model.input("prev_probs").get_element_type().to_dtype()

    def zeros(self, shape: tuple[int, ...], dtype):
        tensor = self.ov.Tensor(self.ov.Type(dtype), self.ov.Shape(list(shape)))
        tensor.data[:] = 0
        return tensor

    def step(
        self, lightness: Array, keep: Array | float, motion: Array | None = None, temperature: float | None = None
    ) -> Array:
        lightness = started(self.grid).checked("lightness", lightness)
        if self.manifest.kind != "tokens":
            return self.blend(lightness, keep, motion)
        return self.advance("step", {"lightness": lightness}, keep, motion, temperature)

    def blend(self, lightness: Array, keep: Array | float, motion: Array | None) -> Array:
        """step for a model without tokens."""
        inputs = {"lightness": lightness} | ({"hints": self.ab_state.hints} if self.manifest.hints else {})
        return self.ab_state.blend(self.compiled("blend").run(inputs)["ab"], keep, motion)

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
            self.decoder = self.read(find_decoder(self.path))
        return self.advance("decode", {"logits": logits, "centers": self.centers}, keep, motion, temperature)

    def advance(self, part: str, inputs: dict[str, Array], keep, motion, temperature) -> Array:
        grid = started(self.grid)
        inputs = {**inputs, "keep": grid.checked_keep(keep), "temperature": grid.checked_temperature(temperature)}
        motion = self.still if motion is None else grid.checked("motion", motion)
        network = self.compiled(part)
        self.keep_state_as(network.types["prev_probs"])
        inputs = {**inputs, "motion": motion, "prev_probs": self.state}
        ab = network.run(inputs, written={"probs": self.next_state})["ab"]
        self.state, self.next_state = self.next_state, self.state
        return ab

    def keep_state_as(self, dtype) -> None:
        """Hold the state in that type. The network and the op alone, when in two files, need not agree on one."""
        if dtype != self.state.data.dtype:
            shape, old = started(self.grid).probs, self.state
            self.state, self.next_state = self.zeros(shape, dtype), self.zeros(shape, dtype)
            self.state.data[:] = old.data

    def logits(self, lightness: Array) -> tuple[Array, Array]:
        need_tokens(self.manifest)
        lightness = started(self.grid).checked("lightness", lightness)
        outputs = self.compiled("net").run({"lightness": lightness})
        return outputs["logits"], outputs["features"]

    def probs(self) -> Array:
        need_tokens(self.manifest)
        started(self.grid)
        return self.state.data.astype(np.float32)

    def close(self) -> None:
        self.networks = {}
        self.model = self.decoder = self.state = self.next_state = self.still = self.grid = None
