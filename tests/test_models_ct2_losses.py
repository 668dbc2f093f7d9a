"""How CT2 learns: both losses, and targets that keep to what a lightness can be."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from ct2_tiny import CENTERS, TRAINING, lightness_with_edges, possible_tokens, small  # noqa: E402
from train_tiny import TINY  # noqa: E402

from edgecolor.color.tokens import palette, rebalancing_weights, softmax  # noqa: E402
from edgecolor.errors import ConfigError  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402
from edgecolor.models.ct2_luminance import MASKED_LOGIT  # noqa: E402


def loaded_losses(model, *kinds: str):
    from edgecolor.train.config import load_config
    from edgecolor.train.losses import build_losses

    configs = tuple(loss for loss in load_config(TRAINING).losses if loss.kind in kinds)
    assert len(configs) == len(kinds)
    return build_losses(configs, model, torch.full((313,), 1 / 313, dtype=torch.float64))


def a_batch():
    from edgecolor.train.dataset import Batch

    torch.manual_seed(1)
    return Batch(torch.from_numpy(lightness_with_edges(2, 32, 32)), torch.rand(2, 8, 8, 2) * 60 - 30)


def predict(model, batch):
    from edgecolor.train.prediction import centers_of, predictions_of

    return predictions_of(model(batch.lightness), model, centers_of(model), paired=False)[0]


def test_the_gradient_of_both_losses_reaches_every_parameter():
    model = small(dropout=0.0, drop_path=0.0).train()
    batch = a_batch()
    loss, terms = loaded_losses(model, "tokens", "branch")(predict(model, batch), batch)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(terms["tokens"] + 10 * terms["branch"]), rel=1e-6)
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not untouched and all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_target_of_a_masked_token_goes_to_those_that_are_left():
    model, batch = small(), a_batch()
    batch.ab = (batch.ab / 5).round() * 10 + torch.tensor([1.5, 3.0])  # on nodes of the loss's table
    predicted = predict(model, batch)
    found = float(loaded_losses(model, "tokens")(predicted, batch)[1]["tokens"])
    logits = predicted.logits.detach().double().numpy()
    possible = possible_tokens(batch.lightness.numpy(), 4)
    target = palette("ab313").soft_encode(batch.ab.numpy()) * possible
    left = target.sum(-1, keepdims=True)
    assert all(((left > low) & (left <= high)).any() for low, high in ((-1, 0), (0, 0.9), (0.99, 1)))
    target = target / np.maximum(left, 1e-30)
    weights = (target * rebalancing_weights(np.full(313, 1 / 313), 0.5)).sum(-1)
    log_probs = np.log(np.maximum(softmax(logits), 1e-300))
    assert found == pytest.approx((weights * -(target * log_probs).sum(-1)).mean(), rel=1e-4)


def test_the_branch_learns_by_smooth_l1_in_units_of_110():
    model, batch = small(), a_batch()
    assert len(model(batch.lightness)) == 2  # nothing but training computes it
    model.train()
    torch.manual_seed(0)
    predicted = predict(model, batch)
    error = np.abs(predicted.branch.detach().numpy() - batch.ab.numpy()) / 110
    expected = np.where(error < 1, error**2 / 2, error - 0.5).mean()
    found = loaded_losses(model, "branch")(predicted, batch)[1]["branch"]
    assert predicted.branch.shape == batch.ab.shape and float(found) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ConfigError, match=r"losses\[0\]: branch"):
        loaded_losses(TINY["tiny"](), "branch")


def test_distillation_gives_the_teachers_share_of_masked_tokens_to_the_rest(tmp_path, monkeypatch):
    from edgecolor.train.checkpoint import save_checkpoint
    from edgecolor.train.config import LossConfig
    from edgecolor.train.losses import build_losses
    from edgecolor.train.prediction import Prediction

    monkeypatch.setitem(MODELS, "tiny", TINY["tiny"])
    torch.manual_seed(3)
    teacher, batch = TINY["tiny"](), a_batch()
    weights = teacher.state_dict()
    state = {"config": {"model": "tiny"}, "step": 0, "model": weights, "ema": weights, "optimizer": {}}
    save_checkpoint(tmp_path / "teacher.pt", state)
    losses = build_losses(
        (LossConfig("distill", teacher=str(tmp_path / "teacher.pt"), temperature=2.0),), small(), None
    )
    possible = torch.from_numpy(possible_tokens(batch.lightness.numpy(), 4))
    taught = teacher(batch.lightness)[0].detach()
    centers = torch.from_numpy(CENTERS.copy())
    same = Prediction(taught.masked_fill(~possible, MASKED_LOGIT), centers)
    assert float(losses(same, batch)[0]) == pytest.approx(0, abs=1e-6)
    ours = torch.randn(taught.shape)
    p, q = ((x / 2).masked_fill(~possible, -torch.inf).softmax(-1).double() for x in (taught, ours))
    expected = 4 * torch.where(possible, p * (p / q).log(), 0).sum(-1).mean()
    found = losses(Prediction(ours.masked_fill(~possible, MASKED_LOGIT), centers), batch)[0]
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
