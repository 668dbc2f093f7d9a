"""An ONNX model in int8: QuantizeLinear and DequantizeLinear around the inputs of convolutions and matrix products.

The one form that ONNX Runtime, OpenVINO and TensorRT all read: symmetric int8, one scale for an activation, one for
each output channel of a weight. What is not quantized computes in float32. A few layers, mostly the first ones, lose
more than all others together, so those that lose most stay float until the rest is good enough.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgecolor.errors import ConfigError, ModelError
from edgecolor.export.half import elem_types, fold_casts

BINS = 1024
SAMPLES = 2**16  # values of one activation of one frame that are looked at
LEVELS = 127
CLIPS = np.linspace(0.3, 1.0, 36)  # shares of the largest value that are tried as the end of the int8 range
JUDGED_FRAMES = 8
RANKING_FRAMES = 2  # are enough to say which layers lose most
AB_LIMIT = 0.4  # mean distance in ab units; stays below 0.6 in CIEDE2000
Feed = dict[str, np.ndarray]


def weight_axis(node: NodeProto) -> int | None:
    """The axis of output channels of the weight in input 1; None for a node that has none."""
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}.get(node.op_type)


def quantizable(model: ModelProto) -> list[NodeProto]:
    """Convolutions and products with a constant weight, in order. Casts of weights must be folded before."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if weight_axis(node) is not None and node.input[1] in constants]


def open_session(model: ModelProto, level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Observer:
    """Runs a model on frames and looks at values within it."""

    def __init__(self, model: ModelProto, names: Collection[str]):
        watched = ModelProto()
        watched.CopyFrom(model)
        there = {info.name for info in (*model.graph.input, *model.graph.output)}
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in there]
        watched.graph.output.extend(infos)
        inputs = {info.name for info in model.graph.input}
        self.names = [name for name in names if name not in inputs]
        self.given = [name for name in names if name in inputs]
        # Fusions would change the values, or do away with them.
        self.session = open_session(watched, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)

    def __call__(self, feed: Feed) -> dict[str, np.ndarray]:
        found = dict(zip(self.names, self.session.run(self.names, feed), strict=True)) if self.names else {}
        return found | {name: feed[name] for name in self.given}


def ranges_of(model: ModelProto, names: Collection[str], feeds: Iterable[Feed]) -> dict[str, tuple[float, float]]:
    """Smallest and largest of each value over all frames. raises ModelError where one is not finite"""
    observe, ranges = Observer(model, names), {}
    for feed in feeds:
        for name, values in observe(feed).items():
            low, high = float(values.min(initial=0)), float(values.max(initial=0))
            if not (np.isfinite(low) and np.isfinite(high)):
                raise ModelError(f"{name} is not finite on the given frames: the model is damaged, export it again")
            before = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(before[0], low), max(before[1], high)
    return ranges


def squared_error(histogram: np.ndarray, centers: np.ndarray, scale: float) -> float:
    rounded = np.clip(np.round(centers / scale), -LEVELS, LEVELS) * scale
    return float(histogram @ (rounded - centers) ** 2)


def scales_of(model: ModelProto, names: Collection[str], feeds: Callable[[], Iterable[Feed]]) -> dict[str, float]:
    """The scale of each value that loses least, in squared error over all frames; `feeds` is called twice.

    raises  ConfigError where there are no frames
    """
    ends = {name: max(-low, high) for name, (low, high) in ranges_of(model, names, feeds()).items()}
    if not ends and names:
        raise ConfigError("int8 needs frames to calibrate on: give --frames with a video or pictures")
    histograms = {name: np.zeros(BINS) for name in ends}
    observe = Observer(model, names)
    for feed in feeds():
        for name, values in observe(feed).items():
            if ends[name] > 0:
                sampled = np.abs(values.ravel()[:: max(1, values.size // SAMPLES)])
                histograms[name] += np.bincount(
                    np.minimum(sampled * (BINS / ends[name]), BINS - 1).astype(int), minlength=BINS
                )
    scales = {}
    for name, end in ends.items():
        centers = (np.arange(BINS) + 0.5) * (end / BINS)
        tried = [clip * end / LEVELS for clip in CLIPS]
        best = min(tried, key=lambda scale, n=name, c=centers: squared_error(histograms[n], c, scale)) if end else 1.0
        scales[name] = best
    return scales


def quantized_weight(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 values, and float32 scales along `axis`, each that which loses least."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    end = np.maximum(np.abs(rows).max(axis=1), 1e-12)
    best, scales = np.full(len(rows), np.inf), end / LEVELS
    for clip in CLIPS[CLIPS >= 0.5]:
        scale = (clip * end / LEVELS)[:, None]
        error = ((np.clip(np.round(rows / scale), -LEVELS, LEVELS) * scale - rows) ** 2).sum(axis=1)
        better = error < best
        best[better], scales[better] = error[better], scale[better, 0]
    scales = scales.astype(np.float32)
    shape = np.ones(values.ndim, int)
    shape[axis] = -1
    return np.clip(np.round(values / scales.reshape(shape)), -LEVELS, LEVELS).astype(np.int8), scales


def quantize(model: ModelProto, names: Collection[str], scales: dict[str, float]) -> ModelProto:
    """A copy of a model, its casts of weights folded, with the nodes of these names in int8.

    scales  of their first inputs, see scales_of
    """
    quantized = ModelProto()
    quantized.CopyFrom(model)
    graph = quantized.graph
    chosen = [node for node in quantizable(quantized) if node.name in names]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    added: dict[str, list[NodeProto]] = {}  # by the value that they quantize
    zero = numpy_helper.from_array(np.array(0, np.int8), "int8_zero")
    graph.initializer.append(zero)

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    front: list[NodeProto] = []
    for node in chosen:
        name, weight = node.input[0], node.input[1]
        if name not in added:
            scale = constant(f"{name}_scale", np.array(scales[name], np.float32))
            q, dq = f"{name}_int8", f"{name}_dequantized"
            added[name] = [
                helper.make_node("QuantizeLinear", [name, scale, zero.name], [q], name=q),
                helper.make_node("DequantizeLinear", [q, scale, zero.name], [dq], name=dq),
            ]
        node.input[0] = added[name][1].output[0]
        new = f"{weight}_dequantized"
        if all(dq.output[0] != new for dq in front):
            axis = weight_axis(node) % weights[weight].ndim
            values, weight_scales = quantized_weight(weights[weight], axis)
            inputs = [constant(f"{weight}_int8", values), constant(f"{weight}_scale", weight_scales)]
            inputs.append(constant(f"{weight}_zero", np.zeros(len(weight_scales), np.int8)))
            front.append(helper.make_node("DequantizeLinear", inputs, [new], name=new, axis=axis))
        node.input[1] = new
    nodes = front
    given = {info.name for info in graph.input}
    nodes += [node for name, pair in added.items() if name in given for node in pair]
    for node in graph.node:
        nodes.append(node)
        nodes += [new for name in node.output if name in added for new in added[name]]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return quantized


class Ab:
    """ab of a model on frames, and how far another version of it is from that."""

    def __init__(self, model: ModelProto, feeds: Iterable[Feed]):
        self.feeds = list(feeds)
        self.expected = self.run(model)

    def run(self, model: ModelProto) -> list[np.ndarray]:
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # most sessions run two frames and are gone
        session = open_session(model, level)
        return [session.run(["ab"], feed)[0] for feed in self.feeds]

    def distance(self, model: ModelProto) -> float:
        """Mean distance in ab units."""
        found = self.run(model)
        away = [np.linalg.norm(a - b, axis=1).mean() for a, b in zip(found, self.expected, strict=True)]
        return float(np.mean(away))


def by_loss(model: ModelProto, names: list[str], scales: dict[str, float], frames: list[Feed]) -> list[str]:
    """Names of nodes, those first that move ab most when they alone are in int8."""
    few = Ab(model, frames[:: max(1, len(frames) // RANKING_FRAMES)][:RANKING_FRAMES])
    return sorted(names, key=lambda name: -few.distance(quantize(model, [name], scales)))


def to_int8(
    model: ModelProto,
    feeds: Callable[[], Iterable[Feed]],
    limit: float = AB_LIMIT,
    order: Sequence[str] | None = None,
) -> tuple[ModelProto, dict]:
    """A copy of a float32 model of ours with as many of its convolutions and products in int8 as the limit allows.

    feeds    called to get the inputs of each calibration frame, by name
    limit    mean distance of ab from the float32 model's on these frames, in ab units
    order    names of nodes, those to be left in float32 first; None: it is measured, a session for each node
    returns  the model, and what was found: names of the nodes that stay float, distance
    raises   ConfigError without frames, ModelError where there is nothing to quantize, or the limit cannot be held
    """
    folded = ModelProto()
    folded.CopyFrom(model)
    fold_casts(folded)
    types = elem_types(folded)
    nodes = [node for node in quantizable(folded) if types.get(node.input[0]) == TensorProto.FLOAT]
    if not nodes:
        raise ModelError("the model has no float32 convolution or matrix product to quantize: give the exported one")
    scales = scales_of(folded, list(dict.fromkeys(node.input[0] for node in nodes)), feeds)
    frames = list(feeds())
    names = [node.name for node in nodes]
    worst_first = list(order or by_loss(folded, names, scales, frames))
    judge = Ab(folded, frames[:: max(1, len(frames) // JUDGED_FRAMES)][:JUDGED_FRAMES])
    kept_counts = sorted({0, len(names) // 2, *(round(1.4**i) for i in range(20) if round(1.4**i) < len(names) // 2)})
    for kept in kept_counts:
        quantized = quantize(folded, set(worst_first[kept:]), scales)
        distance = judge.distance(quantized)
        if distance <= limit:
            found = {"nodes": len(names), "kept_float": worst_first[:kept], "ab_distance": round(distance, 4)}
            return quantized, found | {"frames": len(frames)}
    raise ModelError(
        f"with half its layers in int8 the model is still {distance:.2f} ab units off: use --precision fp16"
    )
