"""CT2: what makes it CT2, held against NumPy, and its way through training, export and the backends."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import make_video, video_track

torch = pytest.importorskip("torch", reason="the models need torch")

from ct2_tiny import CENTERS, TRAINING, lightness_with_edges, possible_tokens, small  # noqa: E402
from train_tiny import crops_of, write_folder  # noqa: E402

from edgecolor.errors import ConfigError, ShapeError  # noqa: E402
from edgecolor.models import MODELS, build_model  # noqa: E402
from edgecolor.models.ct2_decoder import ColorPosition, ColorTokenDecoder  # noqa: E402
from edgecolor.models.ct2_luminance import MASKED_LOGIT, token_masks  # noqa: E402

# The luminance-selecting module


def test_the_masks_hold_as_many_bins_as_all_srgb_colors_reach():
    assert token_masks("ab313").sum(axis=1).tolist() == [82, 182, 227, 156]
    assert token_masks("ab313").any(axis=0).sum() == 261
    assert token_masks("ab326").sum(axis=1).tolist() == [82, 182, 227, 156]  # its further bins lie outside sRGB


def test_every_color_may_have_the_token_nearest_to_it():
    from skimage.color import rgb2lab

    lab = rgb2lab(np.random.default_rng(0).integers(0, 256, (20_000, 3)) / 255)
    nearest = ((lab[:, None, 1:] - CENTERS) ** 2).sum(-1).argmin(-1)
    assert token_masks("ab313")[np.minimum(lab[:, 0] // 25, 3).astype(int), nearest].all()


@pytest.mark.parametrize("side", [4, 16])
def test_a_square_may_have_the_tokens_of_its_own_pixels(side):
    lightness = lightness_with_edges(2, 48, 80)
    module = small().luminance
    found = module(module.present(torch.from_numpy(lightness), side)).numpy()
    np.testing.assert_array_equal(found, possible_tokens(lightness, side))
    assert 0 < found.mean() < 0.9


@pytest.mark.parametrize("stride", [1, 4])
def test_a_masked_token_has_no_probability_and_every_other_some(stride):
    lightness = lightness_with_edges(1, 32, 48)
    with torch.no_grad():
        logits, _ = small(query_stride=stride)(torch.from_numpy(lightness))
    np.testing.assert_array_equal(logits.softmax(-1).numpy() > 0, possible_tokens(lightness, stride))


def test_a_patch_is_not_touched_by_a_token_that_it_cannot_have():
    torch.manual_seed(0)
    decoder = ColorTokenDecoder(24, 3, 1, "ab313", 0.0).eval()
    for conv in (decoder.patch_position.conv, decoder.color_position.conv, decoder.patch_out):
        conv.weight.data.zero_()  # else neighbours hand on what they saw
    decoder.patch_out.weight.data[:, :, 1, 1] = torch.eye(24)
    patches, tokens = torch.randn(1, 24, 2, 3), torch.randn(1, 313, 24)
    allowed = torch.ones(1, 2, 3, 313, dtype=torch.bool)
    allowed[0, 0, 1, 40] = allowed[0, 1, 2, 40] = False
    other = tokens.clone()
    other[:, 40] = torch.randn(24)
    with torch.no_grad():
        difference = [decoder(patches, t, allowed) for t in (tokens, other)]
    change = (difference[0][0] - difference[1][0]).abs().amax(dim=(0, 1))
    assert (change > 0).tolist() == allowed[0, :, :, 40].tolist()  # zero to the last bit where it is masked
    assert (difference[0][1] - difference[1][1]).abs().amax(dim=2).min() > 1e-6  # tokens see each other


def test_color_positions_are_a_convolution_over_the_ab_grid():
    torch.manual_seed(0)
    position = ColorPosition(6, "ab313")
    tokens = torch.randn(2, 313, 6)
    found = position(tokens).detach().numpy()
    index = {tuple(center): i for i, center in enumerate(CENTERS.tolist())}
    kernel, bias = position.conv.weight.detach().numpy()[:, 0], position.conv.bias.detach().numpy()
    expected = tokens.numpy() + bias
    for (a, b), i in index.items():
        for da, db in np.ndindex(3, 3):
            neighbour = index.get((a + 10 * (da - 1), b + 10 * (db - 1)))
            if neighbour is not None:
                expected[:, i] += kernel[:, da, db] * tokens[:, neighbour].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


# The whole


@pytest.mark.parametrize("size, encoder, decoder", [("tiny", 5.73, 5.12), ("small", 22.1, 20.35), ("base", 86.6, 81.1)])
def test_the_sizes_have_the_parameters_of_the_paper(size, encoder, decoder):
    with torch.device("meta"):
        model = build_model(f"ct2-{size}-full")
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    dim = model.config.dim
    # Theirs has an input channel for each of R, G and B, and a classifier of 1000 classes that it does not use.
    assert (parts["encoder"] + 2 * 256 * dim + 1000 * (dim + 1)) / 1e6 == pytest.approx(encoder, rel=2e-3)
    rest = sum(p.numel() for p in model.parameters()) - parts["encoder"] - parts["branch"]
    assert rest / 1e6 == pytest.approx(decoder, rel=2e-3)


def test_the_large_one_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        model = build_model("ct2-large-full")
    total = sum(p.numel() for p in model.parameters()) + 2 * 256 * 1024 + 1000 * 1025
    assert total / 1e6 == pytest.approx(304.39 + 158.6, rel=1e-4)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("h0, w0", [(16, 16), (48, 48), (32, 112)])
def test_any_size_that_patches_divide_gives_logits_tokens_last(stride, h0, w0):
    model = small(query_stride=stride)
    lightness = torch.from_numpy(lightness_with_edges(2, h0, w0))
    with torch.no_grad():
        logits, features = model(lightness)
        alone, _ = model(lightness[1:])
    assert logits.shape == (2, h0 // stride, w0 // stride, 313) and features.shape == (*logits.shape[:3], 24)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(logits.shape[:3]))
    torch.testing.assert_close(logits[1:], alone, atol=1e-4, rtol=0)


def given_to(part: torch.nn.Module, model: torch.nn.Module, lightness: np.ndarray) -> tuple[np.ndarray, ...]:
    """What a part of the model gets when the model sees that lightness."""
    seen = []
    handle = part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    with torch.no_grad():
        model(torch.from_numpy(lightness))
    handle.remove()
    (inputs,) = seen
    return tuple(value.detach().numpy() for value in inputs)


def test_the_encoder_sees_lightness_around_zero_in_hundreds():
    lightness = lightness_with_edges(2, 32, 48)
    model = small()
    (seen,) = given_to(model.encoder, model, lightness)
    np.testing.assert_allclose(seen, (lightness - 50) / 100, atol=1e-7)


@pytest.mark.parametrize("stride", [1, 4])
def test_color_attention_is_between_a_patch_and_the_tokens_of_its_own_256_pixels(stride):
    lightness = lightness_with_edges(2, 48, 80)
    model = small(query_stride=stride)
    _, _, allowed = given_to(model.decoder, model, lightness)
    np.testing.assert_array_equal(allowed, possible_tokens(lightness, 16))


def test_the_color_query_is_the_cosine_of_cell_and_token_normalised_over_the_tokens():
    model, names, found = small(), ("query_patch", "query_token"), {}
    torch.manual_seed(1)
    for name in names:
        part = getattr(model, name)
        part.weight.data.mul_(torch.rand(24, 1) * 9 + 1)  # far from a rotation: the lengths that come out differ
        part.register_forward_hook(lambda _, inputs, output, name=name: found.update({name: output.double().numpy()}))
    model.logit_norm.weight.data.uniform_(1, 5)
    model.token_bias.data.normal_()
    lightness = lightness_with_edges(2, 32, 48)
    with torch.no_grad():
        logits, features = model(torch.from_numpy(lightness))
    cells, tokens = (found[name] / np.linalg.norm(found[name], axis=-1, keepdims=True) for name in names)
    cosine = np.einsum("nhwd,nqd->nhwq", cells, tokens)
    scaled = (cosine - cosine.mean(-1, keepdims=True)) / np.sqrt(cosine.var(-1, keepdims=True) + model.logit_norm.eps)
    expected = scaled * model.logit_norm.weight.detach().numpy() + model.token_bias.detach().numpy()
    expected[~possible_tokens(lightness, 4)] = MASKED_LOGIT
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(features.numpy(), cells, atol=1e-5)


def test_other_sizes_and_settings_are_refused():
    with pytest.raises(ShapeError, match="40 x 32"):
        small()(torch.zeros(1, 1, 40, 32))
    for wrong in ({"query_stride": 3}, {"dim": 25}, {"patch": 14}):
        with pytest.raises(ConfigError):
            small(**wrong)


# Trained by its config, exported, and run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    """What two steps of a small CT2's training left, and the files exported from it."""
    pytest.importorskip("onnxscript")
    from edgecolor.cli import main

    where = tmp_path_factory.mktemp("ct2")
    pictures = write_folder(where / "photos", crops_of(photograph, count=4))
    changes = ["model=ct2-test", "phases=[{steps: 2, crop: 32, batch: 4}]", "data.min_chroma=0", "prior_crops=20"]
    changes += [f"data.sources=[{{kind: folder, path: '{pictures}'}}]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "ct2-test", functools.partial(small, layers=1))
        for command in (
            ["train", str(TRAINING), *changes, "--out", str(where / "run"), "--quiet"],
            ["export", str(where / "run" / "checkpoint.pt"), str(where)],
        ):
            with pytest.raises(SystemExit) as stop:
                main(command)
            assert stop.value.code == 0
        yield where


def open_net(folder: Path, backend: str, h0: int, w0: int):
    from edgecolor.backends import open_backend

    net = open_backend(folder / f"ct2-test.{'onnx' if backend == 'onnxruntime' else 'safetensors'}", backend, threads=1)
    net.start(1, h0, w0)
    return net


def test_the_exported_files_say_what_the_model_is(folder):
    onnx = pytest.importorskip("onnx")
    net = open_net(folder, "onnxruntime", 32, 48)
    assert (net.manifest.name, net.manifest.stride, net.manifest.multiple) == ("ct2-test", 4, 16)
    proto = onnx.load(folder / "ct2-test.onnx")
    assert {entry.domain: entry.version for entry in proto.opset_import}[""] == 17


@torch.no_grad()
def rounded_model(folder: Path):
    """The trained network in PyTorch with the weights as the ONNX file stores them."""
    from edgecolor.export.torch_to_onnx import fold_batch_norm, round_to_half

    model = small(layers=1)
    model.load_state_dict(torch.load(folder / "run" / "checkpoint.pt", weights_only=True)["ema"])
    model = fold_batch_norm(model)
    round_to_half(model)
    return model


@pytest.mark.parametrize("h0, w0", [(32, 48), (80, 48)])
def test_both_backends_say_what_pytorch_says_and_nothing_of_masked_tokens(folder, h0, w0):
    lightness = lightness_with_edges(1, h0, w0)
    possible = possible_tokens(lightness, 4)
    with torch.no_grad():
        expected = rounded_model(folder)(torch.from_numpy(lightness))[0].numpy()
    # The .safetensors file was rounded before the batch norms were folded.
    for backend, tolerance in (("onnxruntime", 1e-4), ("torch", 1e-2)):
        net = open_net(folder, backend, h0, w0)
        logits, features = net.logits(lightness)
        assert features.shape == (1, h0 // 4, w0 // 4, 24)
        assert np.abs(logits - expected)[possible].max() < tolerance
        assert (logits[~possible] == MASKED_LOGIT).all()
        net.step(lightness, 0.0)
        np.testing.assert_array_equal(net.probs() > 0, possible)


def test_a_picture_and_a_clip_are_colored_alike_by_both(folder, tmp_path, photograph):
    from edgecolor import open_colorizer
    from edgecolor.cli import main

    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)[:150, :190]
    painted = {}
    for suffix in ("onnx", "safetensors"):
        painted[suffix] = open_colorizer(folder / f"ct2-test.{suffix}").image(gray).astype(int)
        assert painted[suffix].shape == (150, 190, 3)
    assert np.abs(painted["onnx"] - painted["safetensors"]).max() <= 1
    source = make_video(tmp_path / "old.mkv")
    with pytest.raises(SystemExit) as stop:
        main(["colorize", str(source), str(tmp_path / "new.mkv"), "--model", str(folder / "ct2-test.onnx"), "--quiet"])
    assert stop.value.code == 0
    assert len(video_track(tmp_path / "new.mkv").payloads) == len(video_track(source).payloads) == 20
