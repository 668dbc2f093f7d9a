"""One export of an untrained edge, made the way a trained one is, for every test that needs a model file."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

PRIOR_SHIFT, PRIOR_UNIFORM = 0.5, 0.3
kept = []  # the temporary folder lives as long as the tests


@cache
def exported_edge() -> tuple[Path, dict]:
    """The folder with edge.onnx, edge.safetensors, decode.onnx, and the checkpoint they were made of."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from edgecolor.export.checkpoint import export_checkpoint
    from edgecolor.models import build_model

    torch.manual_seed(0)
    model = build_model("edge")
    prior = np.random.default_rng(0).dirichlet(np.full(313, 0.3)) + 1e-7
    prior /= prior.sum()
    with torch.no_grad():
        model.token_bias.copy_(torch.from_numpy(prior).log())
        model.tokens *= 4  # an untrained net's logits hardly differ from its bias
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as if trained: folding an untrained one does nothing
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    state = {"ema": model.state_dict(), "prior": torch.from_numpy(prior), "config": {"model": "edge"}, "step": 1}
    kept.append(TemporaryDirectory())
    folder = Path(kept[0].name)
    torch.save(state, folder / "checkpoint.pt")
    export_checkpoint(
        folder / "checkpoint.pt", folder, prior_shift=PRIOR_SHIFT, prior_uniform=PRIOR_UNIFORM, version="test"
    )
    return folder, state
