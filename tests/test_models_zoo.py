"""Every model of the zoo: what it declares, that it learns, is saved, exported and run as all others are.

Full-size models are built without memory for their weights; what computes is a small twin of each family.
"""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from zoo import CONFIGS, TWINS, batch_for, busy, lightness_of, losses_for, on_meta, twin_of  # noqa: E402

from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.catalogue import CATALOGUE  # noqa: E402
from edgecolor.color.tokens import palette  # noqa: E402
from edgecolor.errors import ConfigError, ModelError, ShapeError  # noqa: E402
from edgecolor.export import import_weights as importing  # noqa: E402
from edgecolor.export.checkpoint import export_checkpoint, save_safetensors  # noqa: E402
from edgecolor.models import MODELS, build_model, manifest_of  # noqa: E402
from edgecolor.pipeline import Colorizer  # noqa: E402
from edgecolor.stages.blend_ab import blend_ab  # noqa: E402
from edgecolor.train.config import load_config  # noqa: E402
from edgecolor.train.hints import random_hints  # noqa: E402
from edgecolor.train.prediction import centers_of, predictions_of  # noqa: E402

torch.set_num_threads(1)
LONG = pytest.mark.skipif("EDGECOLOR_LONG_TESTS" not in os.environ, reason="takes minutes: set EDGECOLOR_LONG_TESTS=1")
IDLE = {  # parameters that are carried for the sake of the published files
    "eccv16": {"model_out.weight"},
    "siggraph17": {"model_class.0.weight", "model_class.0.bias"},
}


@pytest.fixture(params=TWINS)
def family(request, monkeypatch):
    """The name of a family whose small twin stands in its place."""
    monkeypatch.setitem(MODELS, request.param, TWINS[request.param])
    return request.param


@pytest.mark.parametrize("name", MODELS)
def test_a_model_at_full_size_gives_what_it_declares(name):
    model = on_meta(name)
    manifest = manifest_of(name, model)
    rows, columns = 4 * manifest.multiple, 6 * manifest.multiple
    with torch.device("meta"):
        output = model(torch.zeros(2, 1, rows, columns))
    first = output[0] if isinstance(output, tuple) else output
    h, w = rows // manifest.stride, columns // manifest.stride
    if manifest.kind == "tokens":
        assert first.shape == (2, h, w, len(palette(manifest.palette)))
        assert output[1].shape[:3] == (2, h, w)
        assert model.token_bias.shape == (len(palette(manifest.palette)),)
    else:
        assert first.shape == (2, 2, h, w)
    assert twin_of(name) in TWINS


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_training_config_that_names_it(name):
    config = load_config(CONFIGS / f"{name.removesuffix('-full')}.yaml")
    assert config.model == name.removesuffix("-full")


def test_an_unknown_name_gets_the_nearest_as_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean siggraph17"):
        build_model("sigraph17")
    with pytest.raises(ConfigError, match="known are edge"):
        build_model("zzz")


def loss_of(model, batch, losses) -> torch.Tensor:
    torch.manual_seed(0)  # dropout
    inputs = (batch.lightness, random_hints(batch.ab)) if getattr(model, "takes_hints", False) else (batch.lightness,)
    predicted, _ = predictions_of(model(*inputs), model, centers_of(model), paired=False)
    return losses(predicted, batch)[0]


def test_the_gradient_reaches_every_parameter_and_a_step_along_it_lowers_the_loss(family):
    torch.manual_seed(3)
    model = build_model(family).train()
    losses, batch = losses_for(family, model), batch_for(model, 64)
    loss = loss_of(model, batch, losses)
    loss.backward()
    idle = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert idle == IDLE.get(family, set())
    unreached = [name for name, p in model.named_parameters() if name not in idle and not (p.grad**2).sum() > 0]
    assert not unreached
    with torch.no_grad():
        slope = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
        for p in model.parameters():
            if p.grad is not None:
                p -= 5e-4 * loss.detach() / slope * p.grad  # along a straight slope: 0.05 % less
    assert loss_of(model, batch, losses) < loss.detach() * (1 - 2.5e-4)


def test_a_saved_model_is_the_same_in_the_torch_backend_at_every_size(family, tmp_path):
    model = busy(build_model(family))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())  # what the file holds
    path = tmp_path / f"{family}.safetensors"
    save_safetensors(model, manifest_of(family, model), path)
    backend = open_backend(path, threads=1)
    m = model.multiple
    for n, h0, w0 in ((1, 32, 64), (2, 64, 32)):
        assert h0 % m == w0 % m == 0
        backend.start(n, h0, w0)
        ours = backend.step(lightness_of(n, h0, w0).numpy(), 0.0, temperature=1.0)
        with torch.no_grad():
            predicted, _ = predictions_of(model(lightness_of(n, h0, w0)), model, centers_of(model), paired=False)
        np.testing.assert_allclose(ours, predicted.ab().permute(0, 3, 1, 2).numpy(), rtol=0, atol=2e-3)
    with pytest.raises(ShapeError, match=f"multiples of {m}"):
        backend.start(1, m + 1, m)


@pytest.mark.parametrize("size", [(61, 83), (1, 1), (7, 200), (64, 64)])
def test_pictures_of_any_size_go_through_the_pipeline_and_keep_their_lightness(family, tmp_path, size):
    model = busy(build_model(family))
    path = tmp_path / f"{family}.safetensors"
    save_safetensors(model, manifest_of(family, model, working_size=64), path)
    gray = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    colorizer = Colorizer(open_backend(path, threads=1))
    still = colorizer.image(gray)
    assert still.shape == (*size, 3) and still.dtype == np.uint8
    assert np.abs(still @ [0.2126, 0.7152, 0.0722] - gray).max() < 60  # luma moves a little where lightness stays
    colorizer.image(gray)
    again = colorizer.frame(gray, 0.2)  # the same picture a moment later: the past agrees with it
    assert np.abs(again.astype(int) - still).max() <= 2


EXPORTS = [
    pytest.param(name, marks=[LONG, pytest.mark.slow] if name == "ct2-tiny-full" else ())
    for name in TWINS
    if name != "edge"  # test_export.py is about it
]


@pytest.mark.parametrize("name", EXPORTS)
def test_an_exported_model_does_what_pytorch_does_at_sizes_it_was_not_checked_at(name, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, name, TWINS[name])
    state = {"ema": busy(build_model(name)).state_dict(), "config": {"model": name}, "step": 1}
    torch.save(state, tmp_path / "checkpoint.pt")
    manifest = export_checkpoint(tmp_path / "checkpoint.pt", tmp_path)
    assert (tmp_path / "decode.onnx").exists() == (manifest.kind == "tokens")
    rng = np.random.default_rng(0)
    backends = [open_backend(tmp_path / f"{name}.onnx", kind, threads=1) for kind in ("onnxruntime", "torch")]
    for n, h0, w0 in ((2, 64, 96), (1, 96, 32)):
        frames = [lightness_of(n, h0, w0, seed).numpy() for seed in range(3)]
        motion = rng.normal(0, 2, (n, h0 // manifest.stride, w0 // manifest.stride, 2)).astype(np.float32)
        found = []
        for backend in backends:
            backend.start(n, h0, w0)
            found.append([backend.step(frame, keep, motion) for frame, keep in zip(frames, (0, 0.5, 0.9), strict=True)])
        scale = max(1.0, np.abs(found[1]).max())
        # One holds the weights in float16 with batch norm folded in before that, the other after.
        assert np.abs(np.array(found[0]) - np.array(found[1])).max() < 0.02 * scale
        assert np.abs(found[0][2] - found[0][1]).max() > 0


def regression_backend(kind, tmp_path):
    model = busy(build_model("basic-lab"))
    path = tmp_path / "basic-lab.safetensors"
    save_safetensors(model, manifest_of("basic-lab", model), path)
    return open_backend(path, kind, threads=1)


def test_without_tokens_the_past_is_warped_and_blended_in_ab(tmp_path):
    backend = regression_backend("torch", tmp_path)
    backend.start(1, 32, 32)
    first, second = (lightness_of(1, 32, 32, seed).numpy() for seed in (0, 1))
    alone = [backend.step(frame, 0.0) for frame in (second, first)]
    motion = np.zeros((1, 16, 16, 2), np.float32)
    motion[..., 0] = 1.0  # each cell was one to the right
    blended = backend.step(second, 0.25, motion)
    past = np.concatenate([alone[1][..., 1:], alone[1][..., -1:]], axis=-1)
    np.testing.assert_allclose(blended, 0.75 * alone[0] + 0.25 * past, rtol=0, atol=1e-4)
    frozen = backend.step(first, 1.0)
    np.testing.assert_array_equal(frozen, blended)


def test_what_needs_tokens_is_refused_by_a_model_without(tmp_path):
    backend = regression_backend("torch", tmp_path)
    backend.start(1, 32, 32)
    for call in (lambda: backend.logits(lightness_of(1, 32, 32).numpy()), backend.probs,
                 lambda: backend.decode(np.zeros((1, 16, 16, 2)), 0.0)):  # fmt: skip
        with pytest.raises(ModelError, match="basic-lab predicts ab without color tokens"):
            call()
    with pytest.raises(ModelError, match="take siggraph17"):
        backend.hint(np.zeros((1, 3, 32, 32)))


def test_blend_ab_refuses_shapes_that_do_not_fit():
    ab, motion, keep = np.zeros((1, 2, 4, 5), np.float32), np.zeros((1, 4, 5, 2)), np.zeros((1, 4, 5))
    for wrong in ({"past": ab[..., :4]}, {"motion": motion[:, :3]}, {"keep": keep[:, 1:]}):
        with pytest.raises(ShapeError, match=f"{next(iter(wrong))} must be"):
            blend_ab(**{"ab": ab, "past": ab, "motion": motion, "keep": keep, **wrong})


def test_a_file_of_another_model_is_refused(tmp_path):
    model = build_model("basic-lab")
    manifest = manifest_of("basic-lab", model).replace(name="basic-rgb")
    save_safetensors(model, manifest, tmp_path / "basic-rgb.safetensors")
    with pytest.raises(ModelError, match="does not fit basic-rgb"):
        open_backend(tmp_path / "basic-rgb.safetensors")


def test_prior_shift_of_a_model_without_tokens_is_refused(tmp_path):
    state = {"ema": build_model("basic-lab").state_dict(), "config": {"model": "basic-lab"}, "step": 1}
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match="leave it at 0"):
        export_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "out", prior_shift=0.5)


def test_the_catalogue_lists_every_model_with_its_size_and_a_config_that_is_there():
    assert set(CATALOGUE) == {*MODELS, "coltran"}
    for name, entry in CATALOGUE.items():
        if name != "coltran":
            count = sum(p.numel() for p in on_meta(name).parameters()) / 1e6
            assert count == pytest.approx(entry.millions, abs=0.05 if entry.millions > 5 else 0.006), name
        assert (CONFIGS / f"{entry.config}.yaml").is_file()
    published = {name for name, entry in CATALOGUE.items() if entry.published}
    assert published <= set(importing.IMPORTABLE)


def test_a_model_without_installed_weights_says_how_to_get_them(tmp_path):
    with pytest.raises(ModelError, match=r"eccv16 is known, but its weights are not installed: .*import-weights"):
        open_backend("eccv16")
    with pytest.raises(ModelError, match=r"train/configs/ct2-small.yaml and edgecolor export"):
        open_backend("ct2-small")
    with pytest.raises(ModelError, match=r"train/configs/ct2-small.yaml model=ct2-small-full and edgecolor export"):
        open_backend("ct2-small-full")
    with pytest.raises(ModelError, match="did you mean colorful"):
        open_backend("colorfull")
