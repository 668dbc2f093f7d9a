"""A PyTorch model to one .onnx file: the net, the ColorTokenDecode node with its body, and the manifest."""

import copy
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from edgecolor.color.tokens import Palette, palette
from edgecolor.errors import ModelError
from edgecolor.export import graph as passes
from edgecolor.export.color_token_decode import OPSET, attach_function
from edgecolor.manifest import Manifest, weights_sha256
from edgecolor.models.color_token_decode import color_token_decode
from edgecolor.stages.logits_to_ab import DOMAIN, OP, OP_VERSION, PLUGIN
from edgecolor.stages.logits_to_ab import color_token_decode as reference

IR_VERSION = 9  # what ONNX Runtime 1.17 and TensorRT 8.6 still read
OUTPUTS = ("ab", "probs", "logits", "features")
AB_LIMIT = 1e-4  # difference of a model without tokens, relative to its largest ab
op18 = onnxscript.opset18


class WithDecode(nn.Module):
    """The net and the op in one, as they lie in the file."""

    def __init__(self, model: nn.Module, centers: np.ndarray):
        super().__init__()
        self.model = model
        self.register_buffer("centers", torch.from_numpy(centers.copy()))

    def forward(self, lightness: Tensor, prev_probs: Tensor, motion: Tensor, keep: Tensor, temperature: Tensor):
        logits, features = self.model(lightness)
        ab, probs = color_token_decode(logits, prev_probs, motion, keep, self.centers, temperature)
        return ab, probs, logits, features


class AbAlone(nn.Module):
    """A net without tokens, as it lies in the file: ab is its only output."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        return ab_of(self.model(lightness) if hints is None else self.model(lightness, hints))


def ab_of(output: Tensor | tuple) -> Tensor:
    """What a model of kind regression returned: ab, alone or first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy of the model in which each BatchNorm2d is folded into the Conv2d that it follows: the one before it in a
    Sequential, or conv1 for bn1 and so on, as torchvision names them.
    """
    model = copy.deepcopy(model).eval()
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for i, (conv, norm) in enumerate(zip(list(block), list(block)[1:], strict=False)):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[i] = nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
                block[i + 1] = nn.Identity()
    for module in list(model.modules()):
        for name, norm in list(module.named_children()):
            conv = getattr(module, f"conv{name[2:]}", None) if name.startswith("bn") else None
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, f"conv{name[2:]}", nn.utils.fusion.fuse_conv_bn_eval(conv, norm))
                setattr(module, name, nn.Identity())
    return model.requires_grad_(False)


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round matrices and kernels to what float16 can hold; vectors stay. raises ModelError where one is too large"""
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            parameter.copy_(parameter.half().float())
            if not torch.isfinite(parameter).all():
                raise ModelError(f"{name} holds values beyond float16: export with half=False")


def plain_attention(query: Tensor, key: Tensor, value: Tensor, *_, **__):
    """softmax(q k^T / sqrt(d)) v in four operators; the exporter's own form computes shapes in every frame."""
    scores = op18.MatMul(query, op18.Transpose(key, perm=[0, 1, 3, 2]))
    width = op18.CastLike(op18.Shape(query, start=3, end=4), query)
    return op18.MatMul(op18.Softmax(op18.Div(scores, op18.Sqrt(width)), axis=-1), value)


@contextmanager
def quiet() -> Iterator[None]:
    """torch.onnx tells much about itself that no user can act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(model: nn.Module, manifest: Manifest) -> ModelProto:
    """model and op as an ONNX graph, with dynamic N and sides, as the exporter leaves it; without tokens no op."""
    side, cells = manifest.multiple, manifest.multiple // manifest.stride
    batch, rows, columns = (torch.export.Dim(name, min=1, max=4096) for name in ("N", "rows", "columns"))
    n, y, x = 2, 3, 4  # unlike each other and 1, which the tracer would take for constants
    grid = {0: batch, 1: cells * rows, 2: cells * columns}
    inputs = {"lightness": (torch.rand(n, 1, y * side, x * side) * 100, {0: batch, 2: side * rows, 3: side * columns})}
    if manifest.kind == "tokens":
        centers = palette(manifest.palette).centers
        inputs |= {
            "prev_probs": (torch.zeros(n, y * cells, x * cells, len(centers)), grid),
            "motion": (torch.zeros(n, y * cells, x * cells, 2), grid),
            "keep": (torch.zeros(n, y * cells, x * cells), grid),
            "temperature": (torch.tensor([manifest.temperature]), {}),
        }
        whole, outputs = WithDecode(model, centers), OUTPUTS
    else:
        if manifest.hints:
            shape = {0: batch, 2: side * rows, 3: side * columns}
            inputs["hints"] = (torch.zeros(n, 3, y * side, x * side), shape)
        whole, outputs = AbAlone(model), ("ab",)
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            whole.eval(),
            tuple(example for example, _ in inputs.values()),
            dynamo=True,
            opset_version=18,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes={name: shape for name, (_, shape) in inputs.items()},
            custom_translation_table={torch.ops.aten.scaled_dot_product_attention.default: plain_attention},
            verbose=False,
        )
    return program.model_proto


def name_dims(model: ModelProto) -> None:
    """Call the dynamic sides h0, w0 (pixels) and h, w (cells) instead of the tracer's formulas."""
    names = {"lightness": {2: "h0", 3: "w0"}, "hints": {2: "h0", 3: "w0"}, "ab": {2: "h", 3: "w"}}
    names |= {name: {1: "h", 2: "w"} for name in ("prev_probs", "motion", "keep", "probs", "logits", "features")}
    for info in (*model.graph.input, *model.graph.output):
        for axis, name in names.get(info.name, {}).items():
            info.type.tensor_type.shape.dim[axis].dim_param = name


def finish(model: ModelProto, manifest: Manifest) -> Manifest:
    """Attach the op's body where it is used, write manifest and checksum, and let onnx check the whole."""
    passes.raw_initializers(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "edgecolor", manifest.version
    if any(node.domain == DOMAIN for node in model.graph.node):
        attach_function(model)
    digest = weights_sha256((tensor.name, tensor.raw_data) for tensor in model.graph.initializer)
    manifest = manifest.replace(weights_sha256=digest)
    helper.set_model_props(model, manifest.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    return manifest


def write(model: ModelProto, path: Path) -> None:
    """Beside the old file, then renamed over it."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(model.SerializeToString())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def decode_inputs(rng: np.random.Generator, n: int, h: int, w: int, tokens: int) -> dict[str, np.ndarray]:
    """A past, motion and keep of every kind, for parity."""
    past = rng.random((n, h, w, tokens), dtype=np.float32) ** 8
    return {
        "prev_probs": past / past.sum(axis=-1, keepdims=True),
        "motion": rng.normal(0, 3, (n, h, w, 2)).astype(np.float32),
        "keep": rng.random((n, h, w), dtype=np.float32),
        "temperature": np.array([rng.uniform(0.1, 1)], np.float32),
    }


@torch.no_grad()
def check_parity(proto: ModelProto, model: nn.Module, manifest: Manifest) -> dict[str, float]:
    """Run the file in ONNX Runtime beside PyTorch and the NumPy op, at two sizes.

    returns  the largest differences: logits (relative to their largest), probs, ab; without tokens that of ab alone
    raises   ModelError where they are too large
    """
    if manifest.kind != "tokens":
        return check_ab_parity(proto, model, manifest)
    rng = np.random.default_rng(0)
    run, centers = session(proto), palette(manifest.palette).centers
    worst = {"logits": 0.0, "probs": 0.0, "ab": 0.0}
    for n, rows, columns in ((1, 3, 5), (2, 4, 2)):
        side, cells = manifest.multiple, manifest.multiple // manifest.stride
        lightness = rng.random((n, 1, rows * side, columns * side), dtype=np.float32) * 100
        inputs = decode_inputs(rng, n, rows * cells, columns * cells, len(centers))
        ab, probs, logits = run.run(["ab", "probs", "logits"], {"lightness": lightness, **inputs})
        expected = model(torch.from_numpy(lightness))[0].numpy()
        worst["logits"] = max(worst["logits"], float(np.abs(logits - expected).max() / np.abs(expected).max()))
        ab_expected, probs_expected = reference(logits, centers=centers, **inputs)
        worst["ab"] = max(worst["ab"], float(np.abs(ab - ab_expected).max()))
        worst["probs"] = max(worst["probs"], float(np.abs(probs - probs_expected).max()))
    for name, limit in {"logits": 1e-4, "probs": 1e-5, "ab": 1e-3}.items():
        if not worst[name] <= limit:
            raise ModelError(f"the exported {manifest.name} is {worst[name]:.2g} off in {name}, more than {limit}")
    return worst


@torch.no_grad()
def check_ab_parity(proto: ModelProto, model: nn.Module, manifest: Manifest) -> dict[str, float]:
    """check_parity for a model without tokens: ab relative to its largest, or to 1 where that is less."""
    rng, run, worst = np.random.default_rng(0), session(proto), 0.0
    for n, rows, columns in ((1, 3, 5), (2, 4, 2)):
        shape = (n, 1, rows * manifest.multiple, columns * manifest.multiple)
        inputs = {"lightness": rng.random(shape, dtype=np.float32) * 100}
        if manifest.hints:
            given = (rng.random(shape, dtype=np.float32) < 0.2).astype(np.float32)
            colors = rng.normal(0, 40, (n, 2, *shape[2:])).astype(np.float32)
            inputs["hints"] = np.concatenate([colors * given, given], axis=1)
        (ab,) = run.run(["ab"], inputs)
        expected = ab_of(model(*map(torch.from_numpy, inputs.values()))).numpy()
        worst = max(worst, float(np.abs(ab - expected).max() / max(1.0, np.abs(expected).max())))
    if not worst <= AB_LIMIT:
        raise ModelError(f"the exported {manifest.name} is {worst:.2g} off in ab, more than {AB_LIMIT}")
    return {"ab": worst}


def export_onnx(model: nn.Module, manifest: Manifest, path: str | Path, half: bool = True) -> Manifest:
    """Write `model` (lightness to logits and features) and the op as one .onnx file; opset 17. A model of kind
    regression has no op, and only the input lightness and the output ab.

    inputs   lightness (N, 1, h0, w0), prev_probs (N, h, w, Q), motion (N, h, w, 2), keep (N, h, w), temperature (1,)
    outputs  ab (N, 2, h, w), probs (N, h, w, Q), logits (N, h, w, Q), features (N, h, w, C)
    half     store weights as float16, of which runtimes make float32 when they load; the file computes in float32
    returns  the manifest as written, with the weights' checksum
    raises   ModelError where the model does not fit the manifest, or the file would not do what PyTorch does
    """
    if (model.stride, model.multiple) != (manifest.stride, manifest.multiple):
        found = f"stride {model.stride} and multiple {model.multiple}"
        raise ModelError(f"the model has {found}, its manifest says {manifest.stride} and {manifest.multiple}")
    model = fold_batch_norm(model).float().cpu()
    if half:
        round_to_half(model)
    proto = trace(model, manifest)
    passes.constant_reshapes(proto)
    passes.drop_unused(proto)
    passes.drop_traces(proto)
    passes.lower_to_opset_17(proto)
    if half:
        passes.store_half(proto)
    name_dims(proto)
    manifest = finish(proto, manifest)
    check_parity(proto, model, manifest)
    write(proto, Path(path))
    return manifest


def export_decode_onnx(colors: Palette, path: str | Path, version: str = "") -> Manifest:
    """Write the op alone, inputs as in its definition. It runs any palette; `colors` is in its manifest."""
    grid = ("N", "h", "w")
    cells = {"logits": (*grid, "Q"), "prev_probs": (*grid, "Q"), "motion": (*grid, 2), "keep": grid}
    inputs = {**cells, "centers": ("Q", 2), "temperature": (1,)}
    outputs = {"ab": ("N", 2, "h", "w"), "probs": (*grid, "Q")}

    def info(name: str, shape: tuple) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    node = helper.make_node(OP, list(inputs), list(outputs), name="decode", domain=DOMAIN, mode=0, **PLUGIN)
    graph = helper.make_graph(
        [node],
        "decode",
        [info(name, shape) for name, shape in inputs.items()],
        [info(name, shape) for name, shape in outputs.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, OP_VERSION)]
    proto = helper.make_model(graph, opset_imports=opsets)
    manifest = finish(proto, Manifest("decode", palette=colors.name, version=version, license="Apache-2.0"))
    write(proto, Path(path))
    return manifest
