"""Every model of the zoo: what it declares, that it learns, is saved, exported and run as all others are.

Full-size models are built without memory for their weights; what computes is a small twin of each family.
"""

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from zoo import TWINS, busy, on_meta, twin_of  # noqa: E402

from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.catalogue import CATALOGUE  # noqa: E402
from edgecolor.color.tokens import palette  # noqa: E402
from edgecolor.errors import ConfigError, ModelError, ShapeError  # noqa: E402
from edgecolor.export import import_weights as importing  # noqa: E402
from edgecolor.export.checkpoint import export_checkpoint, save_safetensors  # noqa: E402
from edgecolor.models import MODELS, build_model, manifest_of  # noqa: E402
from edgecolor.models.rgb_to_ab import rgb_to_ab  # noqa: E402
from edgecolor.models.siggraph17 import Siggraph17  # noqa: E402
from edgecolor.pipeline import Colorizer  # noqa: E402
from edgecolor.stages.blend_ab import blend_ab  # noqa: E402
from edgecolor.train.config import load_config  # noqa: E402
from edgecolor.train.dataset import Batch  # noqa: E402
from edgecolor.train.hints import random_hints  # noqa: E402
from edgecolor.train.losses import build_losses  # noqa: E402
from edgecolor.train.prediction import centers_of, predictions_of  # noqa: E402

torch.set_num_threads(1)
CONFIGS = Path(__file__).parent.parent / "train" / "configs"
LONG = pytest.mark.skipif("EDGECOLOR_LONG_TESTS" not in os.environ, reason="takes minutes: set EDGECOLOR_LONG_TESTS=1")
# The losses of a family's own config; LPIPS needs a file from elsewhere.
CONFIG_OF = {"ct2-tiny-full": "ct2-tiny", "lpips-cnn": "lpips-cnn-mse"}
IDLE = {  # parameters that are carried for the sake of the published files
    "eccv16": {"model_out.weight"},
    "siggraph17": {"model_class.0.weight", "model_class.0.bias"},
}


@pytest.fixture(params=TWINS)
def family(request, monkeypatch):
    """The name of a family whose small twin stands in its place."""
    monkeypatch.setitem(MODELS, request.param, TWINS[request.param])
    return request.param


def lightness_of(n: int, h0: int, w0: int, seed: int = 0):
    y, x = torch.meshgrid(torch.arange(h0) / 9, torch.arange(w0) / 7, indexing="ij")
    waves = torch.stack([50 + 30 * torch.sin(x + i) * torch.cos(y) for i in range(n)])[:, None]
    noise = torch.rand(n, 1, h0, w0, generator=torch.Generator().manual_seed(seed))
    return (waves + 20 * noise).clamp(0, 100)


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


def batch_for(model, size=32, seed=1):
    """Two crops of four flat colors each: (N, h, w, 2) at the model's stride."""
    ab = torch.tensor([[[40.0, 30], [-30, 20]], [[10, -45], [-5, 60]]])
    cells = size // model.stride
    ab = ab.repeat_interleave(cells // 2, 0).repeat_interleave(cells // 2, 1)
    return Batch(lightness_of(2, size, size, seed), torch.stack([ab, ab.flip(0)]))


def loss_of(model, batch, losses) -> torch.Tensor:
    torch.manual_seed(0)  # dropout
    inputs = (batch.lightness, random_hints(batch.ab)) if getattr(model, "takes_hints", False) else (batch.lightness,)
    predicted, _ = predictions_of(model(*inputs), model, centers_of(model), paired=False)
    return losses(predicted, batch)[0]


def losses_for(family, model):
    config = load_config(CONFIGS / f"{CONFIG_OF.get(family, family)}.yaml")
    tokens = manifest_of(family, model).kind == "tokens"
    prior = torch.full((len(model.token_bias),), 1 / len(model.token_bias), dtype=torch.float64) if tokens else None
    return build_losses(config.losses, model, prior)


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
    pytest.param(name, marks=() if name in ("basic-rgb", "siggraph17") else [LONG, pytest.mark.slow])
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


# What makes each family itself.


def eccv16_keys() -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the published file, from the table of its layers."""
    keys = {}
    inputs = 1
    blocks = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3), (512, 3), (512, 3))
    for block, (chs, convs) in enumerate(blocks, start=1):
        for i in range(convs):
            keys[f"model{block}.{2 * i}.weight"] = (chs, inputs, 3, 3)
            keys[f"model{block}.{2 * i}.bias"] = (chs,)
            inputs = chs
        norm = f"model{block}.{2 * convs}"
        keys |= {f"{norm}.{part}": (chs,) for part in ("weight", "bias", "running_mean", "running_var")}
        keys[f"{norm}.num_batches_tracked"] = ()
    keys |= {"model8.0.weight": (512, 256, 4, 4), "model8.0.bias": (256,)}
    for i in (2, 4):
        keys |= {f"model8.{i}.weight": (256, 256, 3, 3), f"model8.{i}.bias": (256,)}
    return keys | {"model8.6.weight": (313, 256, 1, 1), "model8.6.bias": (313,), "model_out.weight": (2, 313, 1, 1)}


def test_eccv16_has_the_keys_and_the_number_of_parameters_of_the_published_file():
    model = on_meta("eccv16")
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == eccv16_keys()
    assert sum(p.numel() for p in model.parameters()) == 32_236_011


def test_eccv16_carries_the_bin_centers_of_its_palette_as_the_published_file_does():
    model = TWINS["eccv16"]()
    probs = torch.zeros(1, 313, 1, 1)
    probs[0, 120] = 1  # gray
    assert model.model_out(probs).abs().max() == 0
    probs[0, [120, 0]] = torch.tensor([0.0, 1.0])[:, None, None]
    assert (model.model_out(probs) * 110).flatten().tolist() == pytest.approx([-90, 50])


def test_the_dilated_blocks_of_eccv16_see_what_their_dilation_says():
    """One cell of block 7 hangs on as many pixels as nineteen 3x3 convolutions reach, six of them dilated."""
    model = busy(TWINS["eccv16"]())
    lightness = lightness_of(1, 8, 416).requires_grad_()
    model.model7(model.model6(model.model5(model.model4(model.model3(model.model2(
        model.model1((lightness - 50) / 100)))))))[..., 26].sum().backward()  # fmt: skip
    reach = lightness.grad[0, 0].abs().sum(0).nonzero().flatten()
    # 3x3: 1 + 1 px at stride 1, (1 + 1) * 2 at 2, (1 + 1 + 1) * 4 at 4, (3 + 2 * 3 + 2 * 3 + 3) * 8 at 8 px.
    half = 1 + 1 + 2 + 2 + 4 + 4 + 4 + (3 + 6 + 6 + 3) * 8
    assert (int(reach.min()), int(reach.max())) == (26 * 8 - half, 26 * 8 + half)


def siggraph17_keys() -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the published file, from the table of its layers."""
    convs, norms = {}, {"model8.5": 256, "model9.3": 128}
    inputs = 4
    blocks = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3), (512, 3), (512, 3))
    for block, (chs, count) in enumerate(blocks, start=1):
        for i in range(count):
            convs[f"model{block}.{2 * i}"] = (chs, inputs, 3, 3)
            inputs = chs
        norms[f"model{block}.{2 * count}"] = chs
    ups = {"model8up.0": (512, 256, 4, 4), "model9up.0": (256, 128, 4, 4), "model10up.0": (128, 128, 4, 4)}
    convs |= {"model3short8.0": (256, 256, 3, 3), "model8.1": (256, 256, 3, 3), "model8.3": (256, 256, 3, 3)}
    convs |= {"model2short9.0": (128, 128, 3, 3), "model9.1": (128, 128, 3, 3)}
    convs |= {"model1short10.0": (128, 64, 3, 3), "model10.1": (128, 128, 3, 3)}
    convs |= {"model_class.0": (529, 256, 1, 1), "model_out.0": (2, 128, 1, 1)}
    keys = {f"{name}.weight": shape for name, shape in (convs | ups).items()}
    keys |= {f"{name}.bias": shape[:1] for name, shape in convs.items()}
    keys |= {f"{name}.bias": shape[1:2] for name, shape in ups.items()}
    parts = ("weight", "bias", "running_mean", "running_var")
    keys |= {f"{name}.{part}": (chs,) for name, chs in norms.items() for part in parts}
    return keys | {f"{name}.num_batches_tracked": () for name in norms}


def test_siggraph17_has_the_keys_and_the_number_of_parameters_of_the_published_file():
    model = on_meta("siggraph17")
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == siggraph17_keys()
    assert sum(p.numel() for p in model.parameters()) == 34_187_027


def given_to(part: torch.nn.Module, model: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """What a part of the model gets when the model sees the inputs."""
    seen = []
    handle = part.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(*inputs)
    handle.remove()
    (first,) = seen
    return first


def test_siggraph17_sees_lightness_in_hundreds_and_hints_in_units_of_110():
    model = busy(TWINS["siggraph17"]())
    lightness, ab = lightness_of(2, 16, 24), 220 * torch.rand(2, 2, 16, 24) - 110
    given = torch.rand(2, 1, 16, 24).round()
    seen = given_to(model.model1, model, lightness, torch.cat([ab, given], dim=1))
    torch.testing.assert_close(seen, torch.cat([(lightness - 50) / 100, ab / 110, given], dim=1))


@pytest.mark.parametrize("name, first, center, scale", [
    ("eccv16", "model1", 50, 100), ("colorful", "conv1", 50, 100),
    ("basic-lab", "encoder", 50, 50), ("basic-rgb", "encoder", 50, 50),
])  # fmt: skip
def test_the_first_layer_sees_lightness_scaled_as_its_originals_do(name, first, center, scale):
    model = busy(TWINS[name]())
    lightness = lightness_of(2, 16, 24)
    torch.testing.assert_close(given_to(getattr(model, first), model, lightness), (lightness - center) / scale)


def constant(conv: torch.nn.Module, values: list[float]) -> None:
    """Make the convolution say these values whatever it sees."""
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.copy_(torch.tensor(values))


def test_the_last_layer_speaks_of_ab_in_the_units_of_its_originals():
    lightness = lightness_of(1, 16, 16)
    lab, rgb, hinted = (busy(TWINS[name]()) for name in ("basic-lab", "basic-rgb", "siggraph17"))
    constant(lab.upsample[-1], [0.2, -0.4])  # bytes of Lab, brought to [-1, 1]: 127.5 ab units each
    constant(rgb.upsample[-1], [-1.0, 0.0, 0.5])
    constant(hinted.model_out[0], [0.5, -2.0])
    with torch.no_grad():
        assert lab(lightness)[0, :, 3, 3].tolist() == pytest.approx([25.5, -51.0])
        assert rgb(lightness)[1][0, :, 3, 3].tolist() == pytest.approx([0.0, 0.5, 0.75])
        assert hinted(lightness)[0, :, 3, 3].tolist() == pytest.approx([110 * np.tanh(0.5), 110 * np.tanh(-2)])


@pytest.mark.parametrize("name, part", [("eccv16", "model"), ("colorful", "conv"), ("siggraph17", "model")])
def test_blocks_five_and_six_are_dilated_by_two_and_their_neighbours_not(name, part):
    torch.manual_seed(0)
    model = busy(TWINS[name]())
    reaches = []
    for number in (4, 5, 6, 7):
        block = getattr(model, f"{part}{number}")
        x = torch.rand(1, block[0].in_channels, 25, 25, requires_grad=True)
        block(x)[..., 12, 12].sum().backward()
        rows, columns = x.grad[0].abs().sum(0).nonzero().T
        reaches.append([int(12 - rows.min()), int(rows.max() - 12), int(12 - columns.min()), int(columns.max() - 12)])
    assert reaches == [[3] * 4, [6] * 4, [6] * 4, [3] * 4]  # three 3x3 convolutions each


def test_a_hint_changes_the_colors_around_it_and_less_the_farther_away(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "siggraph17", TWINS["siggraph17"])
    model = busy(build_model("siggraph17"))
    path = tmp_path / "siggraph17.safetensors"
    save_safetensors(model, manifest_of("siggraph17", model), path)
    backend = open_backend(path, threads=1)
    backend.start(1, 64, 128)
    lightness = lightness_of(1, 64, 128).numpy()
    without = backend.step(lightness, 0.0)
    hints = np.zeros((1, 3, 64, 128), np.float32)
    hints[0, :, 28:36, 28:36] = np.array([60, -40, 1], np.float32)[:, None, None]
    backend.hint(hints)
    change = np.abs(backend.step(lightness, 0.0) - without).sum(axis=(0, 1))
    assert change[28:36, 28:36].mean() > 10 * change[:, 96:].mean()
    hints[:, :2] *= -1
    backend.hint(hints)
    other = np.abs(backend.step(lightness, 0.0) - without).sum(axis=(0, 1))
    assert np.abs(other - change)[28:36, 28:36].mean() > 0.01 * change.max()  # its color counts, not its place alone
    backend.hint(None)
    np.testing.assert_array_equal(backend.step(lightness, 0.0), without)
    with pytest.raises(ShapeError, match="hints must be"):
        backend.hint(hints[:, :2])


def test_siggraph17_without_hints_is_with_hints_of_zeros_and_stays_within_its_range():
    model = busy(Siggraph17(width=8))
    lightness = lightness_of(2, 32, 48)
    with torch.no_grad():
        bare = model(lightness)
        torch.testing.assert_close(bare, model(lightness, torch.zeros(2, 3, 32, 48)), rtol=0, atol=0)
        model.model_out[0].bias.fill_(50)
        assert model(lightness).max() <= 110


def test_simulated_hints_are_the_true_colors_where_they_say_so():
    ab = torch.zeros(400, 24, 32, 2)
    ab[:, :, :16] = torch.tensor([30.0, -20])
    ab[:, :, 16:] = torch.tensor([-10.0, 50])
    torch.manual_seed(0)
    hints = random_hints(ab)
    given = hints[:, 2] == 1
    assert set(hints[:, 2].unique().tolist()) == {0.0, 1.0}
    assert (hints[:, :2].permute(0, 2, 3, 1)[~given] == 0).all()
    left = given[:, :, :8]  # patches are at most 9 wide, and those here cannot reach the other color much
    close = hints[:, :2, :, :8].permute(0, 2, 3, 1)[left] - torch.tensor([30.0, -20])
    assert (close.abs().sum(dim=-1) < 1e-4).float().mean() > 0.6
    share = given.flatten(1).float().mean(dim=1)
    assert (share == 0).float().mean() == pytest.approx(1 / 8, abs=0.05)  # no point at all
    assert 0 < (share == 1).float().mean() < 0.05


def test_colorful_is_over_the_326_bins():
    model = on_meta("colorful")
    assert model.softmax[0].weight.shape == (326, 256, 1, 1)
    assert {name.split(".")[0] for name in model.state_dict()} == {f"conv{i}" for i in range(1, 9)} | {"softmax"}


def test_the_small_cnn_has_a_million_parameters_and_the_layers_of_the_originals():
    model = build_model("lpips-cnn")
    assert sum(p.numel() for p in model.parameters()) == 954_722  # 0.96 M with three input channels
    learned = sorted({int(name.split(".")[1]) for name in model.state_dict() if name.startswith("upsample.")})
    assert learned == [0, 1, 4, 5, 7, 8, 11, 12, 14]


def test_basic_rgb_has_the_ab_of_the_picture_that_it_paints():
    skcolor = pytest.importorskip("skimage.color")
    rgb = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    rgb[0, :, 0, 0], rgb[0, :, 0, 1] = 0, 1
    expected = skcolor.rgb2lab(rgb.clamp(0, 1).permute(0, 2, 3, 1).numpy().astype(np.float64))[..., 1:]
    # scikit-image's white is rounded to five digits.
    np.testing.assert_allclose(rgb_to_ab(rgb).permute(0, 2, 3, 1).numpy(), expected, rtol=0, atol=0.02)
    model = build_model("basic-rgb").eval()
    with torch.no_grad():
        ab, painted = model(lightness_of(1, 32, 32))
    torch.testing.assert_close(ab, rgb_to_ab(painted))


def test_basic_rgb_is_judged_by_its_picture_and_not_by_the_true_lightness():
    model = build_model("basic-rgb")
    losses = losses_for("basic-rgb", model)
    batch = batch_for(model)
    from edgecolor.train.prediction import Prediction, lab_to_rgb

    truth = lab_to_rgb(batch.lightness, batch.ab)
    wrong = truth + 0.1
    said = Prediction(torch.zeros(2, 2, 16, 16), None, wrong)
    assert float(losses(said, batch)[0]) == pytest.approx(0.01, rel=1e-4)


def torchvision_resnet18() -> dict:
    """Names and shapes as torchvision's file has them, with random values."""
    generator = torch.Generator().manual_seed(0)
    state = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 512), "fc.bias": (1000,)}
    norms = {"bn1": 64}
    inputs = 64
    for layer, chs in enumerate((64, 128, 256, 512), start=1):
        for i in range(2):
            at = f"layer{layer}.{i}"
            state |= {f"{at}.conv1.weight": (chs, inputs, 3, 3), f"{at}.conv2.weight": (chs, chs, 3, 3)}
            norms |= {f"{at}.bn1": chs, f"{at}.bn2": chs}
            if inputs != chs:
                state[f"{at}.downsample.0.weight"] = (chs, inputs, 1, 1)
                norms[f"{at}.downsample.1"] = chs
            inputs = chs
    for name, chs in norms.items():
        state |= {f"{name}.{part}": (chs,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {name: torch.randn(shape, generator=generator) for name, shape in state.items()}


def test_the_stem_takes_torchvisions_resnet18_and_no_other_network(tmp_path):
    from edgecolor.train.config import TrainConfig
    from edgecolor.train.prepare import prepare_model

    state = torchvision_resnet18()
    torch.save(state, tmp_path / "resnet18.pth")
    model = prepare_model(TrainConfig(model="basic-lab", init_encoder=str(tmp_path / "resnet18.pth"), frozen_blocks=2))
    encoder = model.encoder.eval()
    gray = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(
        encoder.conv1(gray), torch.nn.functional.conv2d(gray.repeat(1, 3, 1, 1), state["conv1.weight"], None, 2, 3),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip
    assert torch.equal(encoder.layer2[1].bn2.running_var, state["layer2.1.bn2.running_var"])
    assert not encoder.layer1[1].conv2.weight.requires_grad and encoder.layer2[0].conv1.weight.requires_grad
    state["layer2.0.conv1.weight"] = state["layer2.0.conv1.weight"][:64]
    with pytest.raises(ModelError, match=r"not torchvision's resnet18 \(see layer2.0.conv1.weight"):
        encoder.load_imagenet(state)
    with pytest.raises(ModelError, match="not torchvision's resnet18"):
        encoder.load_imagenet({"features.0.weight": torch.zeros(2)})


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


@pytest.mark.parametrize("name, published", [("eccv16", 83.6), ("siggraph17", 150.5)])
def test_the_operations_of_the_published_networks_are_those_published(name, published):
    from torch.utils.flop_counter import FlopCounterMode

    model = on_meta(name)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 256, 256))
    assert counter.get_total_flops() / 1e9 == pytest.approx(published, rel=2e-3)
