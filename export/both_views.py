"""Two views of each picture inside one graph: the picture and its mirror image go through the network as one batch, and
the op gets the mean of what it says of them. So an engine runs once a look, and nothing lies between network and op.
"""

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgecolor.errors import ModelError
from edgecolor.stages.logits_to_ab import OP

VIEWS_INSIDE = 2
BOTH = "views_both"  # what the network reads in place of lightness
# Where a Slice begins and ends that runs backward, and the axes of columns in (N, 1, h0, w0) and (N, h, w, C).
CONSTANTS = {"views_last": -1, "views_before_first": -(2**31), "views_back": -1, "views_x": 3, "views_column": 2}


def put_both_views(model: ModelProto) -> ModelProto:
    """A copy of a model with tokens that sees each picture's mirror image too; its inputs and outputs stay.

    ab, probs and logits become those of the mean of both views; features are those of the picture itself.

    raises  ModelError where the graph is none that `edgecolor export` writes
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    ops = [node for node in graph.node if node.op_type == OP]
    network = [node for node in graph.node if node.op_type != OP]
    if len(ops) != 1 or ops[0].input[0] != "logits":
        raise ModelError(f"the model does not hold {OP} once, over its logits: export it again")
    for node in network:
        node.input[:] = [_read(name, node) for name in node.input]
        node.output[:] = [_doubled(name) for name in node.output]
    before = [
        _mirrored("lightness", "views_mirrored", "views_x"),
        helper.make_node("Concat", ["lightness", "views_mirrored"], [BOTH], name=BOTH, axis=0),
    ]
    after = [
        _halves("logits", "views_straight", "views_turned"),
        _mirrored("views_turned", "views_turned_back", "views_column"),
        helper.make_node("Mean", ["views_straight", "views_turned_back"], ["logits"], name="views_mean"),
        _halves("features", "features", "views_unused"),
    ]
    del graph.node[:]
    graph.node.extend([*before, *network, *after, *ops])
    constants = (numpy_helper.from_array(np.array([value], np.int64), name) for name, value in CONSTANTS.items())
    graph.initializer.extend(constants)
    return changed


def _read(name: str, node: NodeProto) -> str:
    """What a node of the network reads in place of that."""
    if name == "lightness":
        return BOTH
    if name == "prev_probs":  # the network takes the number of pictures from it, and nothing else
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type != "Shape" or (ends.get("start", 0), ends.get("end")) != (0, 1):
            raise ModelError(f"{node.op_type} ({node.name}) reads the state outside of {OP}: export the model again")
        return BOTH
    return _doubled(name)


def _doubled(name: str) -> str:
    return f"views_{name}" if name in ("logits", "features") else name


def _mirrored(name: str, to: str, axis: str) -> NodeProto:
    backward = ["views_last", "views_before_first", axis, "views_back"]
    return helper.make_node("Slice", [name, *backward], [to], name=to)


def _halves(name: str, first: str, second: str) -> NodeProto:
    """Of the batch."""
    return helper.make_node("Split", [_doubled(name)], [first, second], name=f"views_{name}_halves", axis=0)
