"""The terms of the loss against their definitions. pytest tests/test_train_losses.py"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

import torch.nn.functional as F  # noqa: E402
from train_tiny import TINY  # noqa: E402

from edgecolor.color.lab import lab_to_srgb  # noqa: E402
from edgecolor.color.tokens import annealed_mean, palette, rebalancing_weights, softmax  # noqa: E402
from edgecolor.errors import ConfigError, MissingDependencyError, ModelError  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402
from edgecolor.train import losses as losses_module  # noqa: E402
from edgecolor.train.checkpoint import save_checkpoint  # noqa: E402
from edgecolor.train.classifier import load_classifier  # noqa: E402
from edgecolor.train.config import LossConfig  # noqa: E402
from edgecolor.train.dataset import Batch  # noqa: E402
from edgecolor.train.distances import kernel_distance  # noqa: E402
from edgecolor.train.losses import build_losses  # noqa: E402
from edgecolor.train.perceptual import (  # noqa: E402
    LPIPS_BACKBONES,
    FeatureExtractor,
    batch_kernel_distance,
    build_lpips,
    feature_distance,
)
from edgecolor.train.prediction import Prediction, centers_of, lab_to_rgb  # noqa: E402

PRIOR = torch.from_numpy(np.random.default_rng(0).dirichlet(np.full(313, 0.3)) + 1e-9)
PRIOR /= PRIOR.sum()


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(2, 1, 32, 32) * 100, torch.rand(2, 8, 8, 2) * 80 - 40)


@pytest.fixture
def tokens():
    torch.manual_seed(2)
    return TINY["tiny"]()


def loss_of(config: LossConfig, model, batch: Batch, previous=None) -> torch.Tensor:
    predicted = Prediction(model(batch.lightness), centers_of(model))
    return build_losses((config,), model, PRIOR)(predicted, batch, previous)[0].detach()


@pytest.mark.parametrize("rebalance", ["mean", "argmax"])
def test_the_token_loss_is_the_dense_cross_entropy_of_the_paper(tokens, batch, rebalance):
    # Onto the lookup table's nodes, where it is exact, and where no two bins are equally far.
    batch.ab = (batch.ab / 10).round() * 10 + torch.tensor([1.5, 3.0])
    config = LossConfig("tokens", uniform=0.5, rebalance=rebalance)
    logits = tokens(batch.lightness)[0].detach().double().numpy()
    target = palette("ab313").soft_encode(batch.ab.numpy())
    of_bins = rebalancing_weights(PRIOR.numpy(), 0.5)
    weights = (target * of_bins).sum(-1) if rebalance == "mean" else of_bins[target.argmax(-1)]
    expected = (weights * -(target * np.log(softmax(logits))).sum(-1)).mean()
    assert float(loss_of(config, tokens, batch)) == pytest.approx(expected, rel=1e-4)


def test_the_token_losss_gradient_is_that_of_autograd(tokens, batch):
    from edgecolor.train.token_loss import sparse_cross_entropy

    logits = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)
    index, weight = torch.randint(0, 7, (3, 5, 1)), torch.ones(3, 5, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: sparse_cross_entropy(x, index, weight), (logits,))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), index.flatten(), reduction="none")
    assert torch.allclose(sparse_cross_entropy(logits, index, weight).flatten(), expected)


@pytest.mark.parametrize(("name", "k"), [("ab313", 5), ("ab326", 10)])
def test_the_lookup_table_holds_the_palettes_own_soft_encoding(name, k):
    from edgecolor.train.token_loss import LOOKUP_LIMIT, LOOKUP_SIDE, LOOKUP_STEP, lookup_table

    index, weight = lookup_table(palette(name), k, 5.0)
    rows = np.random.default_rng(0).integers(0, LOOKUP_SIDE**2, 200)
    ab = np.stack([rows // LOOKUP_SIDE, rows % LOOKUP_SIDE], axis=1) * LOOKUP_STEP - LOOKUP_LIMIT
    dense = np.zeros((200, len(palette(name))))
    np.put_along_axis(dense, index[rows].long().numpy(), weight[rows].numpy(), axis=1)
    assert np.abs(np.sort(dense) - np.sort(palette(name).soft_encode(ab, k))).max() < 1e-5  # ties may differ in place
    close = np.abs(dense - palette(name).soft_encode(ab, k)).max(axis=1) < 1e-5
    assert close.mean() > 0.8


def test_ten_neighbours_spread_the_target_wider(tokens, batch):
    five, ten = (LossConfig("tokens", neighbours=n) for n in (5, 10))
    assert float(loss_of(five, tokens, batch)) != float(loss_of(ten, tokens, batch))


@pytest.mark.parametrize(("kind", "power"), [("l1", 1), ("l2", 2)])
def test_l1_and_l2_in_ab_are_means_in_units_of_110(tokens, batch, kind, power):
    config = LossConfig(kind, temperature=0.5)
    logits = tokens(batch.lightness)[0].detach().numpy()
    ab = annealed_mean(softmax(logits), palette("ab313").centers, 0.5)
    expected = (np.abs(ab - batch.ab.numpy()) / 110) ** power
    assert float(loss_of(config, tokens, batch)) == pytest.approx(expected.mean(), rel=1e-4)


def test_l1_in_rgb_is_the_distance_of_the_pictures(batch):
    model = TINY["tiny-ab"]()
    config = LossConfig("l1", space="rgb")
    ours = lab_to_rgb(batch.lightness, model(batch.lightness).permute(0, 2, 3, 1))
    expected = (ours - lab_to_rgb(batch.lightness, batch.ab)).abs().mean()
    assert float(loss_of(config, model, batch)) == pytest.approx(float(expected), rel=1e-5)


def test_lab_to_rgb_equals_the_numpy_conversion_and_has_finite_gradients():
    rng = np.random.default_rng(3)
    lab = np.stack([rng.uniform(0, 100, (16, 16)), *rng.uniform(-60, 60, (2, 16, 16))], axis=-1).astype(np.float32)
    lab[0] = 0  # black: where a root has no slope
    lightness = torch.from_numpy(lab[None, None, ..., 0].copy())
    ab = torch.from_numpy(lab[None, ..., 1:].copy()).requires_grad_()
    rgb = lab_to_rgb(lightness, ab)
    expected = np.clip(lab_to_srgb(lab.astype(np.float64)), 0, 1).transpose(2, 0, 1)
    assert np.abs(rgb[0].detach().numpy() - expected).max() < 1e-4
    rgb.sum().backward()
    assert torch.isfinite(ab.grad).all()


def test_the_temporal_loss_is_zero_for_colors_that_move_along_and_one_for_disjoint_ones():
    logits = torch.full((1, 4, 6, 313), -50.0)
    logits[..., 10] = 50
    moved = logits.clone()
    moved[:, :, 0] = logits[:, :, 0].roll(7, -1)  # the first column is new
    motion = torch.zeros(1, 4, 6, 2)
    seen = torch.ones(1, 4, 6)
    seen[:, :, 0] = 0
    batch = Batch(torch.zeros(1, 1, 16, 24), torch.zeros(1, 4, 6, 2), torch.zeros(1, 1, 16, 24), motion, seen)
    model = TINY["tiny"]()
    term = build_losses((LossConfig("temporal"),), model, PRIOR)
    centers = centers_of(model)
    before, now = Prediction(logits, centers), Prediction(moved, centers)
    assert float(term(now, batch, before)[0]) == pytest.approx(0, abs=1e-6)
    batch.seen = torch.ones(1, 4, 6)
    assert float(term(now, batch, before)[0]) == pytest.approx(1 / 6, abs=1e-6)
    with pytest.raises(ConfigError, match="pairs"):
        term(now, batch, None)


def test_the_temporal_loss_follows_the_motion():
    pattern = torch.randint(0, 313, (1, 4, 9))
    at = torch.nn.functional.one_hot(pattern, 313).float() * 100
    batch = Batch(
        torch.zeros(1, 1, 16, 32), torch.zeros(1, 4, 8, 2), None, torch.tensor([1.0, 0.0]).expand(1, 4, 8, 2),
        torch.cat([torch.ones(1, 4, 7), torch.zeros(1, 4, 1)], dim=2),
    )  # fmt: skip
    model = TINY["tiny"]()
    centers = centers_of(model)
    now, before = Prediction(at[:, :, 1:], centers), Prediction(at[:, :, :-1], centers)
    assert float(build_losses((LossConfig("temporal"),), model, PRIOR)(now, batch, before)[0]) < 1e-6
    batch.motion = torch.zeros(1, 4, 8, 2)
    assert float(build_losses((LossConfig("temporal"),), model, PRIOR)(now, batch, before)[0]) > 0.5


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    for name, kind in TINY.items():
        monkeypatch.setitem(MODELS, name, kind)

    def write(name: str):
        torch.manual_seed(9)
        state = TINY[name]().state_dict()
        path = tmp_path / f"{name}.pt"
        save_checkpoint(path, {"config": {"model": name}, "step": 1, "model": state, "ema": state, "optimizer": {}})
        return path, state

    return write


def test_distillation_of_a_students_own_weights_is_zero_and_teaches_no_one_else(teacher, batch, tokens):
    path, state = teacher("tiny")
    config = LossConfig("distill", teacher=str(path), temperature=2.0)
    assert float(loss_of(config, tokens, batch)) > 1e-3
    tokens.load_state_dict(state)
    assert float(loss_of(config, tokens, batch)) == pytest.approx(0, abs=1e-6)


def test_distillation_is_the_divergence_of_softened_distributions(teacher, batch, tokens):
    path, state = teacher("tiny")
    master = TINY["tiny"]()
    master.load_state_dict(state)
    t = 2.0
    p, q = (softmax(m(batch.lightness)[0].detach().double().numpy() / t) for m in (master, tokens))
    expected = t**2 * (p * np.log(p / q)).sum(-1).mean()
    config = LossConfig("distill", teacher=str(path), temperature=t)
    assert float(loss_of(config, tokens, batch)) == pytest.approx(expected, rel=1e-4)


def test_the_teacher_sees_what_was_undamaged_where_it_is_told_to(teacher, batch, tokens):
    path, state = teacher("tiny")
    tokens.load_state_dict(state)
    batch.undamaged = batch.lightness.clone()
    batch.lightness = (batch.lightness + 40 * torch.randn_like(batch.lightness)).clamp(0, 100)
    assert float(loss_of(LossConfig("distill", teacher=str(path)), tokens, batch)) == pytest.approx(0, abs=1e-6)
    p, q = (softmax(tokens(x)[0].detach().double().numpy()) for x in (batch.undamaged, batch.lightness))
    expected = (p * np.log(p / q)).sum(-1).mean()
    config = LossConfig("distill", teacher=str(path), undamaged=True)
    assert expected > 1e-5 and float(loss_of(config, tokens, batch)) == pytest.approx(expected, rel=1e-2)


def test_a_tokens_student_learns_ab_from_a_regression_teacher(teacher, batch, tokens):
    path, state = teacher("tiny-ab")
    master = TINY["tiny-ab"]()
    master.load_state_dict(state)
    ours = annealed_mean(softmax(tokens(batch.lightness)[0].detach().numpy()), palette("ab313").centers, 1.0)
    theirs = master(batch.lightness).detach().permute(0, 2, 3, 1).numpy()
    config = LossConfig("distill", teacher=str(path))
    assert float(loss_of(config, tokens, batch)) == pytest.approx((((ours - theirs) / 110) ** 2).mean(), rel=1e-4)


def test_the_sum_weighs_its_terms_and_names_them(tokens, batch):
    configs = (LossConfig("l1", weight=2.0), LossConfig("l2", weight=0.5, space="rgb"), LossConfig("l1"))
    losses = build_losses(configs, tokens, PRIOR)
    total, terms = losses(Prediction(tokens(batch.lightness), centers_of(tokens)), batch)
    assert list(terms) == ["l1_ab", "l2_rgb", "l1_ab_2"]
    assert float(total) == pytest.approx(3 * float(terms["l1_ab"]) + 0.5 * float(terms["l2_rgb"]), rel=1e-5)


def test_a_token_loss_on_a_regression_model_is_refused():
    with pytest.raises(ConfigError, match=r"losses\[0\]"):
        build_losses((LossConfig("tokens"),), TINY["tiny-ab"](), None)


def test_a_model_of_an_unknown_kind_is_refused():
    model = TINY["tiny-ab"]()
    model.kind = "autoregressive"
    with pytest.raises(ModelError, match="autoregressive"):
        build_losses((LossConfig("l1"),), model, None)


def test_the_mobilenet_distance_is_zero_for_equal_pictures_and_grows_with_change(shared, photograph):
    extract = FeatureExtractor(shared / "weights" / "mobilenet_v2_imagenet.safetensors")

    def distance(a, b):
        (ours, _), (theirs, _) = extract(a, b)
        return feature_distance(ours, theirs)

    rgb = torch.from_numpy(photograph[:96, :96].copy()).permute(2, 0, 1)[None].float() / 255
    gray = rgb.mean(dim=1, keepdim=True).expand_as(rgb)
    half = ((rgb + gray) / 2).requires_grad_()
    assert float(distance(rgb, rgb)) == pytest.approx(0, abs=1e-6)
    near, far = distance(half, rgb), distance(gray, rgb)
    assert 0 < float(near) < float(far)
    near.backward()
    assert float(half.grad.abs().sum()) > 0


def test_the_kernel_distance_of_a_batch_is_that_of_the_metrics_and_falls_with_color(shared, photograph):
    weights = shared / "weights" / "mobilenet_v2_imagenet.safetensors"
    extract = FeatureExtractor(weights, 96)
    crops = [photograph[y : y + 64, x : x + 64] for y in (0, 40, 80) for x in (0, 50, 100, 150)]
    rgb = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    gray = rgb.mean(dim=1, keepdim=True).expand_as(rgb)
    classifier = load_classifier(weights)

    def distance(a, b):
        (_, ours), (_, theirs) = extract(a, b)
        return batch_kernel_distance(ours, theirs)

    larger = [F.interpolate(x, size=(96, 96), mode="bicubic").clamp(0, 1) for x in (gray, rgb)]
    ours, theirs = (classifier(x * 2 - 1)[1].numpy() for x in larger)
    assert float(distance(gray, rgb)) == pytest.approx(kernel_distance(ours, theirs), rel=1e-4)
    assert float(distance(rgb, rgb)) == pytest.approx(0, abs=1e-6)
    half = ((rgb + gray) / 2).requires_grad_()
    near = distance(half, rgb)
    near.backward()
    with torch.no_grad():
        further = half - 1e-4 * half.grad / half.grad.abs().mean()
        assert float(distance(further.clamp(0, 1), rgb)) < float(near)


def test_what_judges_one_by_one_and_as_a_set_look_once_at_the_same_pictures(monkeypatch):
    looks = []

    class Counting(torch.nn.Module):
        def __init__(self, classifier, side):
            super().__init__()

        def forward(self, ours, truth):
            looks.append(float(ours.mean()))
            return tuple(([picture], picture.flatten(1)) for picture in (ours, truth))

    monkeypatch.setattr(losses_module, "FeatureExtractor", Counting)
    batch = Batch(torch.full((2, 1, 32, 32), 50.0), torch.rand(2, 8, 8, 2) * 40)
    for temperature, count in ((0.2, 1), (0.5, 2)):
        configs = (LossConfig("mobilenet", weights="x", temperature=0.2),
                   LossConfig("kernel", weights="x", temperature=temperature))  # fmt: skip
        losses = build_losses(configs, TINY["tiny"](), None)
        for _ in range(2):  # a second prediction is looked at anew
            losses(Prediction(torch.randn(2, 8, 8, 313), torch.from_numpy(palette("ab313").centers.copy())), batch)
        assert len(looks) == 2 * count
        looks.clear()


def test_a_side_that_a_classifier_cannot_see_is_refused():
    with pytest.raises(ConfigError, match="from 32 to 1024"):
        LossConfig("kernel", weights="classifier.safetensors", side=16)


def test_lpips_without_its_weights_says_which_file(tmp_path):
    with pytest.raises(MissingDependencyError, match=r"vgg16-397923af\.pth"):
        build_lpips("vgg", tmp_path / "vgg16-397923af.pth")
    with pytest.raises(ConfigError, match="resnet"):
        build_lpips("resnet", tmp_path / "x")


@pytest.fixture
def lpips():
    from torchvision_ops import declare_torchvision_ops

    declare_torchvision_ops()
    return pytest.importorskip("lpips", reason="needs lpips and torchvision")


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_lpips_over_our_file_is_the_packages_own_over_the_same_backbone(lpips, net, tmp_path):
    """The backbone is random: what is checked is where its layers go and how pictures come in."""
    from torchvision import models

    torch.manual_seed(0)
    make = {"alex": models.alexnet, "squeeze": models.squeezenet1_1}[net]
    backbone = make(weights=None).eval()
    torch.save(backbone.state_dict(), tmp_path / LPIPS_BACKBONES[net])
    ours = build_lpips(net, tmp_path / LPIPS_BACKBONES[net])
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    numbers = {name.split(".", 1)[1]: value for name, value in theirs.net.named_parameters()}
    with torch.no_grad():
        for name, value in backbone.features.named_parameters():
            if name in numbers:
                numbers[name].copy_(value)
    a, b = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    assert float(ours(a, b)) == pytest.approx(float(theirs(a, b)), rel=1e-5) and float(ours(a, b)) > 0
    assert float(ours(a, a)) == pytest.approx(0, abs=1e-7)


def test_a_backbone_file_of_another_network_is_refused(lpips, tmp_path):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "alexnet.pth")
    with pytest.raises(ModelError, match=r"alexnet\.pth"):
        build_lpips("alex", tmp_path / "alexnet.pth")


def test_terms_share_the_colors_of_one_temperature_and_not_of_another(tokens, batch):
    predicted = Prediction(tokens(batch.lightness), centers_of(tokens))
    terms = tuple(LossConfig("l2", space="rgb", temperature=t) for t in (0.2, 1.0, 0.2))
    _, values = build_losses(terms, tokens, PRIOR)(predicted, batch)
    alone = [loss_of(term, tokens, batch) for term in terms]
    assert [float(value) for value in values.values()] == [float(value) for value in alone]
    assert alone[0] != alone[1]
    assert predicted.ab(0.2) is predicted.ab(0.2)
