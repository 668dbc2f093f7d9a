"""Small passes over an ONNX graph, each leaving its values as they were."""

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, defs, helper, numpy_helper

from edgecolor.errors import ModelError

# What opset 18 added to these operators, where the default is what opset 17 did.
ADDED_IN_18 = {"Split": ("num_outputs",), "Resize": ("antialias", "axes", "keep_aspect_ratio_policy"), "Pad": ()}
HALF_FROM = 1024  # values: smaller arrays are not worth a Cast


def lower_to_opset_17(model: ModelProto) -> None:
    """Say in opset 17 what torch says in 18: TensorRT 8.6 knows no more. raises ModelError where that cannot be done"""
    for node in model.graph.node:
        if node.domain or defs.get_schema(node.op_type, 18).since_version < 18:
            continue
        if node.op_type not in ADDED_IN_18 or (node.op_type == "Pad" and len(node.input) > 3):
            raise ModelError(f"{node.op_type} ({node.name}) may mean something else in opset 17: avoid it")
        for attribute in [a for a in node.attribute if a.name in ADDED_IN_18[node.op_type]]:
            if attribute.name == "axes" or (attribute.name == "antialias" and attribute.i):
                raise ModelError(f"{node.op_type} ({node.name}) with {attribute.name} has no form in opset 17")
            node.attribute.remove(attribute)
    for entry in model.opset_import:
        if not entry.domain:
            entry.version = 17


def dims(info: ValueInfoProto) -> list[int | str]:
    """The shape of a value: numbers, and names of what is dynamic."""
    return [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]


def constant_reshapes(model: ModelProto) -> None:
    """Give each Reshape a constant target (0: as the input has it, -1: the rest) wherever the known shapes allow, so
    that no arithmetic on shapes runs in every frame. Needs the value_info that the exporter wrote.
    """
    graph = model.graph
    shapes = {info.name: dims(info) for info in (*graph.input, *graph.value_info, *graph.output)}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] not in shapes or node.output[0] not in shapes:
            continue
        before, after = shapes[node.input[0]], shapes[node.output[0]]
        target = [
            size if isinstance(size, int) else 0 if i < len(before) and before[i] == size else -1
            for i, size in enumerate(after)
        ]
        if target.count(-1) <= 1 and 0 not in after:
            name = f"{node.output[0]}_shape"
            graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), name))
            del node.attribute[:]  # allowzero
            node.input[1] = name


def drop_unused(model: ModelProto) -> None:
    """Remove nodes and initializers that no output needs."""
    graph = model.graph
    used = {info.name for info in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used & set(node.output):
            kept.append(node)
            used |= set(node.input)
    kept.reverse()
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)


def drop_traces(model: ModelProto) -> None:
    """Remove what the exporter wrote about where the code lay on its machine, and the shapes between nodes."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    model.doc_string = graph.doc_string = ""
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""


def raw_initializers(model: ModelProto) -> None:
    """Store every initializer as raw bytes, sorted by name: one way to write a model, so one checksum."""
    tensors = sorted(model.graph.initializer, key=lambda tensor: tensor.name)
    tensors = [numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name) for tensor in tensors]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)


def store_half(model: ModelProto) -> None:
    """Store float32 weights that float16 holds exactly as float16 and a Cast, which runtimes fold when they load."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < HALF_FROM:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
