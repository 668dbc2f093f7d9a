"""ColTran's three trained stages to one file that colors, and its one-pass parts to ONNX."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, helper
from torch import Tensor, nn

from edgecolor.backends.coltran_backend import COLTRAN_KEY, ColTranBackend
from edgecolor.errors import ConfigError, ModelError
from edgecolor.export import graph as passes
from edgecolor.export.checkpoint import ema_model, load_checkpoint
from edgecolor.export.torch_to_onnx import IR_VERSION, quiet, session, write
from edgecolor.manifest import Manifest, weights_sha256
from edgecolor.models.coltran import PRESETS, STAGES, ColTran
from edgecolor.models.coltran_colorizer import Colorizer
from edgecolor.models.coltran_sampling import check_mode
from edgecolor.models.coltran_upsamplers import Upsampler

OPSET = 18
PARITY = 1e-4  # difference of logits, relative to the largest


def join_stages(checkpoints: dict[str, Path]) -> ColTran:
    """The averaged weights of three checkpoints, by the names of STAGES, in one model.

    raises  ModelError where a checkpoint is damaged, of another stage, or not of the same sizes as the others
    """
    stages, configs = {}, {}
    for stage, path in checkpoints.items():
        state = load_checkpoint(path)
        name = state["config"]["model"]
        stages[stage] = ema_model(state)
        if not isinstance(stages[stage], STAGES[stage]):
            raise ModelError(f"{path} is of {name!r}, and should be a ColTran {stage}: mind the order")
        configs[path] = stages[stage].config
    first, *others = configs
    for other in others:
        if configs[other] != configs[first]:
            raise ModelError(f"{other} is of another size than {first}: train all three stages of one preset")
    model = ColTran(configs[first])
    for stage, part in stages.items():
        getattr(model, stage.replace("-", "_")).load_state_dict(part.state_dict())
    return model.eval()


def save_coltran(
    model: ColTran, path: str | Path, *, mode: str = "sample", seed: int = 0, training_data: str = "",
    license: str = "Apache-2.0", version: str = "",
) -> Manifest:  # fmt: skip
    """Write a model as one .safetensors file, matrices as float16.

    mode, seed  how it samples unless told otherwise
    raises      ConfigError
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"{path.name}: ColTran is written as a .safetensors file")
    if not path.parent.is_dir():
        raise ConfigError(f"the folder {path.parent} does not exist: make it first")
    check_mode(mode, 1.0, 1)
    weights = {
        name: (value.half() if value.ndim >= 2 else value).contiguous() for name, value in model.state_dict().items()
    }
    name = next((name for name, config in PRESETS.items() if config == model.config), "coltran")
    side = model.config.full_side
    manifest = Manifest(
        name, "regression", "", stride=1, multiple=min(32, side), working_size=side, temperature=1.0,
        training_data=training_data, license=license, version=version,
        weights_sha256=weights_sha256((key, value.numpy().tobytes()) for key, value in weights.items()),
    )  # fmt: skip
    facts = {"config": dataclasses.asdict(model.config), "mode": mode, "seed": seed}
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        # Not save_file, whose files only their owner may read.
        partial.write_bytes(save(weights, metadata={**manifest.to_metadata(), COLTRAN_KEY: json.dumps(facts)}))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return manifest


class ParallelHead(nn.Module):
    """gray (N, side, side) int64 -> logits (N, side, side, 512)"""

    def __init__(self, colorizer: Colorizer):
        super().__init__()
        self.colorizer = colorizer

    def forward(self, gray: Tensor) -> Tensor:
        return self.colorizer.parallel_logits(gray)


class OneChannel(nn.Module):
    """gray, values (N, side, side), channel (N,), all int64 -> logits (N, side, side, 256)"""

    def __init__(self, upsampler: Upsampler):
        super().__init__()
        self.upsampler = upsampler

    def forward(self, gray: Tensor, values: Tensor, channel: Tensor) -> Tensor:
        return self.upsampler.logits(gray, values, channel)


def inputs_of(part: nn.Module, count: int) -> dict[str, Tensor]:
    """Random inputs of a part, of the right sizes and ranges."""
    generator = torch.Generator().manual_seed(count)
    stage = part.colorizer if isinstance(part, ParallelHead) else part.upsampler
    shape = (count, stage.side, stage.side)
    inputs = {"gray": torch.randint(256, shape, generator=generator)}
    if isinstance(part, OneChannel):
        inputs["values"] = torch.randint(stage.levels, shape, generator=generator)
        inputs["channel"] = torch.arange(count) % 3
    return inputs


@torch.no_grad()
def part_to_onnx(part: nn.Module) -> ModelProto:
    """A part as an ONNX graph with a dynamic N, compared with PyTorch. raises ModelError where they differ"""
    part = part.eval().cpu()
    inputs = inputs_of(part, 2)
    batch = torch.export.Dim("N", min=1, max=4096)
    with quiet():
        program = torch.onnx.export(
            part, tuple(inputs.values()), dynamo=True, opset_version=OPSET, input_names=list(inputs),
            output_names=["logits"], dynamic_shapes={name: {0: batch} for name in inputs}, verbose=False,
        )  # fmt: skip
    proto = program.model_proto
    passes.raw_initializers(proto)
    passes.drop_traces(proto)
    proto.ir_version, proto.producer_name = IR_VERSION, "edgecolor"
    onnx.checker.check_model(proto, full_check=True)
    run = session(proto)
    for count in (1, 3):
        inputs = inputs_of(part, count)
        expected = part(**inputs).numpy()
        (logits,) = run.run(["logits"], {name: value.numpy() for name, value in inputs.items()})
        worst = float(np.abs(logits - expected).max() / np.abs(expected).max())
        if not worst <= PARITY:
            raise ModelError(f"an exported {type(part).__name__} is {worst:.2g} off in its logits, more than {PARITY}")
    return proto


def export_parts(file: str | Path, folder: str | Path) -> list[Path]:
    """Write the parallel head and the two upsamplers of a joined ColTran as .onnx files; the rest of the colorizer goes
    pixel by pixel and stays in PyTorch.

    raises  ModelError (no joined ColTran, or the files would not do what PyTorch does)
    """
    model = ColTranBackend(Path(file)).model.cpu()
    parts = {
        "parallel-head": ParallelHead(model.colorizer),
        "color-upsampler": OneChannel(model.color_upsampler),
        "spatial-upsampler": OneChannel(model.spatial_upsampler),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, part in parts.items():
        proto = part_to_onnx(part)
        facts = {"config": dataclasses.asdict(model.config), "part": name}
        helper.set_model_props(proto, {COLTRAN_KEY: json.dumps(facts)})
        paths.append(folder / f"{Path(file).stem}-{name}.onnx")
        write(proto, paths[-1])
    return paths
