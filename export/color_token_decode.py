"""ColorTokenDecode as an ONNX function of standard ops (opset 17), so that one file runs everywhere: a runtime with
the CUDA plugin takes the node, every other one takes this body. The definition is edgecolor/stages/logits_to_ab.py.

Written for few passes over the (N, h, w, Q) arrays, which is where its time goes: the weight of the past is multiplied
into the four bilinear weights, the four taps are gathered once and summed by one small MatMul per cell, and both are
left out where nothing moves. log(0) = -inf is wanted: such a token weighs nothing. Every name carries the prefix ctd_
because TensorRT before 10.9 mixes up a function's names with those around it.
"""

from onnx import FunctionProto, ModelProto, TensorProto, helper, parser

from edgecolor.errors import ModelError
from edgecolor.stages.logits_to_ab import DOMAIN, MODE, OP, OP_VERSION, PLUGIN

OPSET = 17

SIGNATURE = f"""
<opset_import: ["": {OPSET}], domain: "{DOMAIN}">
{OP} (ctd_logits, ctd_prev_probs, ctd_motion, ctd_keep, ctd_centers, ctd_temperature) => (ctd_ab, ctd_probs)
"""

BLEND = """
    ctd_zero = Constant <value_float = 0.0> ()
    ctd_one = Constant <value_float = 1.0> ()
    ctd_last = Constant <value_ints = [-1]> ()
    ctd_before_last = Constant <value_ints = [-2]> ()
    ctd_last_two = Constant <value_ints = [-2, -1]> ()
    ctd_softmax = Softmax <axis = -1> (LOGITS)
    ctd_keep_column = Unsqueeze (ctd_keep, ctd_last)
    ctd_fresh = Sub (ctd_one, ctd_keep_column)
    ctd_new = Mul (ctd_softmax, ctd_fresh)
    ctd_distance = Abs (ctd_motion)
    ctd_farthest = ReduceMax <keepdims = 0> (ctd_distance)
    ctd_moves = Greater (ctd_farthest, ctd_zero)
    ctd_kept_row = If (ctd_moves) <
        then_branch = ctd_moving () => (ctd_kept_moving) { WARP },
        else_branch = ctd_still () => (ctd_kept_still) { STILL }
    >
    ctd_kept = Squeeze (ctd_kept_row, ctd_before_last)
    BLEND = Add (ctd_new, ctd_kept)
"""

STILL = """
        ctd_past_row = Unsqueeze (PAST, ctd_before_last)
        ctd_keep_row = Unsqueeze (ctd_keep, ctd_last_two)
        ctd_kept_still = Mul (ctd_past_row, ctd_keep_row)
"""

WARP = """
        ctd_0 = Constant <value_int = 0> ()
        ctd_1 = Constant <value_int = 1> ()
        ctd_2 = Constant <value_int = 2> ()
        ctd_after = Constant <value_ints = [1, 2]> ()
        ctd_shape = Shape (ctd_keep)
        ctd_n = Gather (ctd_shape, ctd_0)
        ctd_h = Gather (ctd_shape, ctd_1)
        ctd_w = Gather (ctd_shape, ctd_2)
        ctd_x_max = Sub (ctd_w, ctd_1)
        ctd_y_max = Sub (ctd_h, ctd_1)
        ctd_x_max32 = Cast <to = 1> (ctd_x_max)
        ctd_y_max32 = Cast <to = 1> (ctd_y_max)
        ctd_x_range = Range (ctd_0, ctd_w, ctd_1)
        ctd_y_range = Range (ctd_0, ctd_h, ctd_1)
        ctd_n_range = Range (ctd_0, ctd_n, ctd_1)
        ctd_x_grid = Cast <to = 1> (ctd_x_range)
        ctd_y_row = Cast <to = 1> (ctd_y_range)
        ctd_y_grid = Unsqueeze (ctd_y_row, ctd_last)
        ctd_picture = Unsqueeze (ctd_n_range, ctd_after)
        ctd_dx = Gather <axis = -1> (ctd_motion, ctd_0)
        ctd_dy = Gather <axis = -1> (ctd_motion, ctd_1)
        ctd_x_free = Add (ctd_dx, ctd_x_grid)
        ctd_y_free = Add (ctd_dy, ctd_y_grid)
        ctd_x = Clip (ctd_x_free, ctd_zero, ctd_x_max32)
        ctd_y = Clip (ctd_y_free, ctd_zero, ctd_y_max32)
        ctd_left32 = Floor (ctd_x)
        ctd_top32 = Floor (ctd_y)
        ctd_to_right = Sub (ctd_x, ctd_left32)
        ctd_to_bottom = Sub (ctd_y, ctd_top32)
        ctd_to_left = Sub (ctd_one, ctd_to_right)
        ctd_to_top = Sub (ctd_one, ctd_to_bottom)
        ctd_keep_top = Mul (ctd_to_top, ctd_keep)
        ctd_keep_bottom = Mul (ctd_to_bottom, ctd_keep)
        ctd_weight_tl = Mul (ctd_keep_top, ctd_to_left)
        ctd_weight_tr = Mul (ctd_keep_top, ctd_to_right)
        ctd_weight_bl = Mul (ctd_keep_bottom, ctd_to_left)
        ctd_weight_br = Mul (ctd_keep_bottom, ctd_to_right)
        ctd_column_tl = Unsqueeze (ctd_weight_tl, ctd_last)
        ctd_column_tr = Unsqueeze (ctd_weight_tr, ctd_last)
        ctd_column_bl = Unsqueeze (ctd_weight_bl, ctd_last)
        ctd_column_br = Unsqueeze (ctd_weight_br, ctd_last)
        ctd_weights = Concat <axis = -1> (ctd_column_tl, ctd_column_tr, ctd_column_bl, ctd_column_br)
        ctd_weight_row = Unsqueeze (ctd_weights, ctd_before_last)
        ctd_left = Cast <to = 7> (ctd_left32)
        ctd_top = Cast <to = 7> (ctd_top32)
        ctd_left_next = Add (ctd_left, ctd_1)
        ctd_top_next = Add (ctd_top, ctd_1)
        ctd_right = Min (ctd_left_next, ctd_x_max)
        ctd_bottom = Min (ctd_top_next, ctd_y_max)
        ctd_first_row = Mul (ctd_picture, ctd_h)
        ctd_top_row = Add (ctd_first_row, ctd_top)
        ctd_bottom_row = Add (ctd_first_row, ctd_bottom)
        ctd_top_start = Mul (ctd_top_row, ctd_w)
        ctd_bottom_start = Mul (ctd_bottom_row, ctd_w)
        ctd_cell_tl = Add (ctd_top_start, ctd_left)
        ctd_cell_tr = Add (ctd_top_start, ctd_right)
        ctd_cell_bl = Add (ctd_bottom_start, ctd_left)
        ctd_cell_br = Add (ctd_bottom_start, ctd_right)
        ctd_index_tl = Unsqueeze (ctd_cell_tl, ctd_last)
        ctd_index_tr = Unsqueeze (ctd_cell_tr, ctd_last)
        ctd_index_bl = Unsqueeze (ctd_cell_bl, ctd_last)
        ctd_index_br = Unsqueeze (ctd_cell_br, ctd_last)
        ctd_cells = Concat <axis = -1> (ctd_index_tl, ctd_index_tr, ctd_index_bl, ctd_index_br)
        ctd_tokens = Shape <start = 3, end = 4> (ctd_prev_probs)
        ctd_flat_shape = Concat <axis = 0> (ctd_last, ctd_tokens)
        ctd_flat = Reshape (PAST, ctd_flat_shape)
        ctd_taps = Gather (ctd_flat, ctd_cells)
        ctd_kept_moving = MatMul (ctd_weight_row, ctd_taps)
"""

ANNEALED_MEAN = """
    ctd_sharpness = Reciprocal (ctd_temperature)
    ctd_log = Log (BLEND)
    ctd_scaled = Mul (ctd_log, ctd_sharpness)
    ctd_mix = Softmax <axis = -1> (ctd_scaled)
    ctd_color = MatMul (ctd_mix, ctd_centers)
    ctd_ab = Transpose <perm = [0, 3, 1, 2]> (ctd_color)
"""

MOST_PROBABLE = """
    ctd_token = ArgMax <axis = -1, keepdims = 0, select_last_index = 0> (BLEND)
    ctd_color = Gather <axis = 0> (ctd_centers, ctd_token)
    ctd_ab = Transpose <perm = [0, 3, 1, 2]> (ctd_color)
"""


def color_token_decode_function(mode: int = 0, half: bool = False) -> FunctionProto:
    """The op's body, for one mode and one type of logits (float32, or float16 where half), so that no file pays for the
    other ones: a function that casts its way through both types costs a copy of probs in every frame.
    """
    logits, past, cast_past, probs = "ctd_logits", "ctd_prev_probs", "", "ctd_probs"
    if half:
        logits, past, probs = "ctd_logits32", "ctd_past32", "ctd_blend"
        cast_past = f"{past} = Cast <to = 1> (ctd_prev_probs)"
    parts = {"WARP": cast_past + WARP, "STILL": cast_past + STILL, "LOGITS": logits, "PAST": past, "BLEND": probs}
    body = BLEND + (MOST_PROBABLE if mode == MODE else ANNEALED_MEAN)
    for name, text in parts.items():
        body = body.replace(name, text)
    if half:
        body = f"{logits} = Cast <to = 1> (ctd_logits) {body} ctd_probs = Cast <to = 10> ({probs})"
    function = parser.parse_function(f"{SIGNATURE} {{ {body} }}")
    function.attribute_proto.extend([helper.make_attribute("mode", mode)])
    function.attribute_proto.extend(helper.make_attribute(name, value) for name, value in PLUGIN.items())
    return function


def attach_function(model: ModelProto) -> None:
    """Put the body beside the model's ColorTokenDecode nodes; again after the type of their logits was changed.

    raises  ModelError where the nodes ask for different modes or types, or there is none
    """
    graph = model.graph
    typed = {info.name: info.type.tensor_type.elem_type for info in (*graph.input, *graph.value_info, *graph.output)}
    nodes = [node for node in graph.node if (node.domain, node.op_type) == (DOMAIN, OP)]
    kinds = {(helper.get_node_attr_value(node, "mode"), typed.get(node.input[1])) for node in nodes}
    if len(kinds) != 1:
        raise ModelError(f"{len(nodes)} {OP} nodes with (mode, type) {sorted(kinds)}: a file needs one kind of them")
    mode, elem_type = kinds.pop()
    if elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        raise ModelError(f"prev_probs of {OP} must be a float32 or float16 tensor, its type is {elem_type}: cast it")
    kept = [function for function in model.functions if (function.domain, function.name) != (DOMAIN, OP)]
    del model.functions[:]
    model.functions.extend([*kept, color_token_decode_function(mode, elem_type == TensorProto.FLOAT16)])
    if not any(entry.domain == DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, OP_VERSION))
