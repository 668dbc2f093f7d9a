"""What makes each convolutional family of the zoo itself: keys, sizes, scales, dilations, hints.

pytest tests/test_models_convolutional.py
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from zoo import TWINS, batch_for, busy, lightness_of, losses_for, on_meta  # noqa: E402

from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.errors import ModelError, ShapeError  # noqa: E402
from edgecolor.export.checkpoint import save_safetensors  # noqa: E402
from edgecolor.models import MODELS, build_model, manifest_of  # noqa: E402
from edgecolor.models.rgb_to_ab import rgb_to_ab  # noqa: E402
from edgecolor.models.siggraph17 import Siggraph17  # noqa: E402
from edgecolor.train.config import TrainConfig  # noqa: E402
from edgecolor.train.hints import random_hints  # noqa: E402
from edgecolor.train.prediction import Prediction, lab_to_rgb  # noqa: E402
from edgecolor.train.prepare import prepare_model  # noqa: E402

torch.set_num_threads(1)


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


@pytest.mark.parametrize("name, published", [("eccv16", 83.6), ("siggraph17", 150.5)])
def test_the_operations_of_the_published_networks_are_those_published(name, published):
    from torch.utils.flop_counter import FlopCounterMode

    model = on_meta(name)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 256, 256))
    assert counter.get_total_flops() / 1e9 == pytest.approx(published, rel=2e-3)
