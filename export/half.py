"""An ONNX model in float16 with float32 islands: what a strongly typed TensorRT network takes its precision from.

Every float value may exist in both types; a node works in one of them, and a Cast stands wherever the two meet.
"""

from collections.abc import Collection

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from edgecolor.errors import ModelError
from edgecolor.export import graph as passes
from edgecolor.export.color_token_decode import attach_function
from edgecolor.stages.logits_to_ab import DOMAIN, OP

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
# Sums over many values, or exponentials of them: too few digits in float16, and they take a small share of the time.
ISLANDS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax", "LogSoftmax", "ReduceMean",
           "ReduceSum", "ReduceL2", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Erf")  # fmt: skip
STAYS_FLOAT = {"Resize": (1, 2), "QuantizeLinear": (0, 1, 2), "DequantizeLinear": (0, 1, 2)}  # inputs, in opset 17
HALF_INPUTS = ("prev_probs",)  # the state is the only large input; all others come as they are and are cast
HALF_OUTPUTS = ("probs", "logits", "features")
LARGEST = 65504.0
MARGIN = 8.0  # of the largest float16: frames that nobody tried may bring larger values


def elem_types(model: ModelProto) -> dict[str, int]:
    """The element type of every value in the main graph."""
    graph = shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    infos = (*graph.input, *graph.value_info, *graph.output)
    return types | {info.name: info.type.tensor_type.elem_type for info in infos}


def is_decode(node: NodeProto) -> bool:
    return (node.domain, node.op_type) == (DOMAIN, OP)


def full_inputs(node: NodeProto, is_island: bool) -> Collection[int]:
    """Places of the inputs that stay float32."""
    if is_decode(node):
        return range(2, 6)  # motion, keep, centers, temperature: float32 by the op's definition
    return range(len(node.input)) if is_island else STAYS_FLOAT.get(node.op_type, ())


def fold_casts(model: ModelProto) -> None:
    """Turn weights that are stored in float16 and cast by a node back into float32 weights."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    folded = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    for node in folded:
        values = numpy_helper.to_array(stored[node.input[0]])
        cast = values.astype(helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to")))
        graph.initializer.append(numpy_helper.from_array(cast, node.output[0]))
        graph.node.remove(node)
    passes.drop_unused(model)


def to_half(model: ModelProto, islands: Collection[str] = ()) -> ModelProto:
    """A copy of a model of ours that computes in float16 wherever that is safe.

    islands  names of values whose nodes are to stay in float32, besides those of the kinds in ISLANDS; see too_large
    returns  the model; the state (prev_probs, probs), logits and features are float16, other inputs and outputs are not
    raises   ModelError where a weight is beyond float16
    """
    half_model = ModelProto()
    half_model.CopyFrom(model)
    fold_casts(half_model)
    graph = half_model.graph
    types = elem_types(half_model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    produced: dict[str, int] = {name: HALF if name in HALF_INPUTS else FLOAT for name in types if types[name] == FLOAT}
    made: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []

    def as_type(name: str, elem_type: int) -> str:
        """The name of the value in that type; where it is missing, a constant or a Cast is added."""
        if types.get(name) != FLOAT or produced[name] == elem_type:
            return name
        if (name, elem_type) not in made:
            made[name, elem_type] = new = f"{name}_{'half' if elem_type == HALF else 'full'}"
            if name in constants:
                graph.initializer.append(numpy_helper.from_array(_halved(constants[name]), new))
            else:
                nodes.append(helper.make_node("Cast", [name], [new], name=f"{new}_cast", to=elem_type))
        return made[name, elem_type]

    for node in list(graph.node):
        floats = [name for name in node.output if types.get(name) == FLOAT]
        is_island = node.op_type in ISLANDS or bool(set(node.output) & set(islands))
        full = full_inputs(node, is_island)
        if floats or is_decode(node) or any(types.get(name) == FLOAT for name in node.input):
            for i, name in enumerate(node.input):
                node.input[i] = as_type(name, FLOAT if i in full else HALF)
        nodes.append(node)
        for name in floats:
            stays = is_island or node.op_type == "DequantizeLinear" or (is_decode(node) and name == node.output[0])
            produced[name] = FLOAT if stays else HALF
        if floats and not is_island:
            _retype(node)
    for info in (*graph.input, *graph.output):
        if info.name in (*HALF_INPUTS, *HALF_OUTPUTS) and types[info.name] == FLOAT:
            info.type.tensor_type.elem_type = HALF
    for info in graph.output:
        wanted = HALF if info.name in HALF_OUTPUTS else FLOAT
        if types[info.name] == FLOAT and produced[info.name] != wanted:
            _output_as(nodes, info.name, wanted)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    passes.drop_unused(half_model)
    if any(is_decode(node) for node in graph.node):
        attach_function(half_model)
    return half_model


def _halved(tensor: TensorProto) -> np.ndarray:
    values = numpy_helper.to_array(tensor)
    if np.isfinite(values).all() and np.abs(values).max(initial=0) > LARGEST:
        raise ModelError(f"the weight {tensor.name} is beyond float16: build with --precision fp32")
    return values.astype(np.float16)


def _retype(node: NodeProto) -> None:
    """Let a node that says itself which type it makes make float16."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == FLOAT:
            attribute.i = HALF
        elif attribute.name == "value" and attribute.t.data_type == FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(_halved(attribute.t)))
        elif attribute.name == "value_float":
            half = numpy_helper.from_array(np.array(attribute.f, np.float16))
            attribute.CopyFrom(helper.make_attribute("value", half))


def _output_as(nodes: list[NodeProto], name: str, elem_type: int) -> None:
    """Give an output another type than its node makes, under the same name."""
    inner = f"{name}_inner"
    for node in nodes:
        for names in (node.input, node.output):
            for i, used in enumerate(names):
                if used == name:
                    names[i] = inner
    nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}_cast", to=elem_type))


def too_large(ranges: dict[str, tuple[float, float]]) -> set[str]:
    """Values, of those whose ranges were measured, that come too near the largest float16."""
    return {name for name, (low, high) in ranges.items() if max(-low, high) * MARGIN > LARGEST}
