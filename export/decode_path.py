"""Which way ColorTokenDecode takes in TensorRT: the CUDA plugin, or standard operators. Decided in the file, because
the parser's choice between a plugin and a function changed three times from TensorRT 8 to 11.
"""

from dataclasses import dataclass
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, helper, inliner

from edgecolor.color.tokens import TINY
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError
from edgecolor.export import graph as passes
from edgecolor.stages.logits_to_ab import DOMAIN, OP

PREFIX = "ctd_"  # of all names within the op's body
WAYS = ("auto", "plugin", "native")


@dataclass(frozen=True)
class DecodePath:
    way: str  # plugin or native
    why: str  # for the report
    library: Path | None = None  # of the plugin


def choose_decode(wanted: str, flavor: str, library: Path | None) -> DecodePath:
    """plugin where it can be had, if the user left it open.

    wanted   one of WAYS
    flavor   tensorrt or rtx
    library  of the plugin, None where it is not built
    raises   ConfigError, MissingDependencyError where the plugin is asked for and cannot be had
    """
    if wanted not in WAYS:
        raise ConfigError(f"--decode is one of {', '.join(WAYS)}, got {wanted!r}")
    if flavor == "rtx":
        if wanted == "plugin":
            raise ConfigError("TensorRT-RTX has no plugins: give --decode native, or --flavor tensorrt")
        return DecodePath("native", "TensorRT-RTX has no plugins")
    if wanted == "native":
        return DecodePath("native", "asked for")
    if library is not None:
        return DecodePath("plugin", "asked for" if wanted == "plugin" else "its library is built", library)
    if wanted == "plugin":
        raise MissingDependencyError(
            "the TensorRT plugin is not built: run `edgecolor build-plugins`, or give --decode native"
        )
    return DecodePath("native", "the plugin is not built (edgecolor build-plugins)")


def rewrite(model: ModelProto, way: str) -> ModelProto:
    """A copy in which the parser has one way only.

    way     plugin: the op's body is dropped, a missing plugin is an error then; native: it takes the node's place
    raises  ModelError where the model holds the op without its body
    """
    if not any((node.domain, node.op_type) == (DOMAIN, OP) for node in model.graph.node):
        return model  # regression: there are no tokens
    if way == "plugin":
        rewritten = ModelProto()
        rewritten.CopyFrom(model)
        kept = [function for function in rewritten.functions if function.domain != DOMAIN]
        del rewritten.functions[:]
        rewritten.functions.extend(kept)
        return rewritten
    if not any(function.domain == DOMAIN for function in model.functions):
        raise ModelError(f"the model holds {OP} without its body: export it again")
    rewritten = inliner.inline_local_functions(model)
    take_moving_branch(rewritten.graph)
    hold_log(rewritten.graph)
    kept = [entry for entry in rewritten.opset_import if entry.domain != DOMAIN]
    del rewritten.opset_import[:]
    rewritten.opset_import.extend(kept)
    return rewritten


def take_moving_branch(graph: GraphProto) -> None:
    """Warp in every frame. The op leaves it out where nothing moves, which on a GPU means that the host waits for the
    answer before it can go on, and that no CUDA graph can hold the whole.
    """
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "If" or PREFIX not in node.output[0]:
            nodes.append(node)
            continue
        branch = next(attribute.g for attribute in node.attribute if attribute.name == "then_branch")
        nodes += [*branch.node, helper.make_node("Identity", [branch.output[0].name], [node.output[0]])]
    del graph.node[:]
    graph.node.extend(nodes)
    wrapper = ModelProto(graph=graph)
    passes.drop_unused(wrapper)
    graph.CopyFrom(wrapper.graph)


def hold_log(graph: GraphProto) -> None:
    """log(0) = -inf is right in the op, and exact; a builder that fuses and reorders need not keep it so."""
    tiny = helper.make_node("Constant", [], ["ctd_tiny"], value_float=float(TINY))
    nodes: list[NodeProto] = [tiny]
    for node in graph.node:
        if node.op_type == "Log" and PREFIX in node.output[0]:
            held = f"{node.output[0]}_held"
            nodes.append(helper.make_node("Max", [node.input[0], "ctd_tiny"], [held]))
            node.input[0] = held
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def keep_outputs(model: ModelProto, names: tuple[str, ...]) -> None:
    """Drop the outputs that are not among the names, and what only they need."""
    kept = [info for info in model.graph.output if info.name in names]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    passes.drop_unused(model)
