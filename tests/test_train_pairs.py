"""Pairs of frames that are made from still pictures, and the losses that use them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from train_tiny import TINY, crops_of, write_folder  # noqa: E402

from edgecolor.color.tokens import annealed_mean, palette, softmax  # noqa: E402
from edgecolor.errors import ConfigError  # noqa: E402
from edgecolor.train.config import DataConfig, DegradeConfig, LossConfig, Source  # noqa: E402
from edgecolor.train.dataset import Batch, Photographs  # noqa: E402
from edgecolor.train.degrade import Degrade  # noqa: E402
from edgecolor.train.losses import build_losses  # noqa: E402
from edgecolor.train.moved_pairs import camera_moved, passed_over  # noqa: E402
from edgecolor.train.prediction import Prediction, centers_of  # noqa: E402

CELL = 4  # pixels
SHAKE = 10  # pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    return write_folder(tmp_path_factory.mktemp("data") / "photos", crops_of(photograph))


def pairs_of(folder, shake: int, degrade: Degrade | None = None) -> Batch:
    data = DataConfig(sources=(Source(str(folder), "folder"),), min_chroma=0.0, shake=shake)
    return Photographs(data, True, degrade).batch((3, 0), 64, 8)


def test_a_still_picture_is_its_own_frame_before_moved(folder):
    batch = pairs_of(folder, SHAKE)
    moves = (batch.motion[:, 0, 0] * CELL).long()
    assert (batch.motion == moves[:, None, None] / CELL).all() and SHAKE / 2 < moves.abs().max() <= SHAKE
    assert len({tuple(move) for move in moves.tolist()}) > 4 and (moves % CELL > 0).any()
    for now, before, seen, (dx, dy) in zip(batch.lightness, batch.previous, batch.seen, moves.tolist(), strict=True):
        # Cells whose place in the frame before lies between the middles of its first and its last cell.
        rows, columns = (
            [CELL // 2 <= CELL * i + CELL // 2 + d <= 64 - CELL // 2 for i in range(16)] for d in (dy, dx)
        )  # fmt: skip
        assert torch.equal(seen, torch.tensor(rows).float()[:, None] * torch.tensor(columns).float())
        rows, columns = (slice(max(0, -d), 64 - max(0, d)) for d in (dy, dx))
        there = [slice(s.start + d, s.stop + d) for s, d in ((rows, dy), (columns, dx))]
        assert torch.equal(now[0][rows, columns], before[0][there[0], there[1]])


def test_what_passes_over_hides_the_ground_and_moves_by_itself():
    random, size, cells = np.random.default_rng(8), 96, 24
    thing_seen = ground_seen = hidden = 0
    for _ in range(40):
        ground = random.integers(0, 100, (size + SHAKE, size + SHAKE, 3), np.uint8)
        thing = random.integers(156, 256, (size, size, 3), np.uint8)  # so every pixel tells whose it is
        alone = camera_moved(random, ground, SHAKE, CELL)
        pair = passed_over(random, alone, thing, CELL)
        assert (pair.now >= alone.now).all() and (pair.now > 127).any()
        moves = np.rint(pair.motion * CELL).astype(int)
        assert len(np.unique(moves[pair.seen > 0], axis=0)) <= 2  # the camera's and the thing's
        for row, column in np.ndindex(cells, cells):
            dx, dy = moves[row, column]
            y, x = CELL * row, CELL * column
            now = pair.now[y : y + CELL, x : x + CELL].astype(int)
            inside = 0 <= y + dy <= size - CELL and 0 <= x + dx <= size - CELL
            before = pair.before[y + dy : y + dy + CELL, x + dx : x + dx + CELL].astype(int) if inside else None
            if pair.seen[row, column]:
                assert inside and abs(now - before).max() <= 4
                thing_seen, ground_seen = thing_seen + (now > 127).all(), ground_seen + (now < 127).all()
            elif inside and (now < 100).all():
                hidden += (before > 127).any()
    assert thing_seen > 400 and ground_seen > 8000 and hidden > 400


def test_a_share_of_the_pairs_has_something_pass(folder):
    def pictures(passing: float) -> torch.Tensor:
        data = DataConfig(sources=(Source(str(folder), "folder"),), min_chroma=0.0, shake=SHAKE, passing=passing)
        return Photographs(data, True).batch((3, 0), 64, 32).lightness

    never, half, always = (pictures(share) for share in (0.0, 0.5, 1.0))
    passed = [int((frames != never).flatten(1).any(dim=1).sum()) for frames in (half, always)]
    assert 8 <= passed[0] <= 24 and passed[1] >= 28  # a thing may be outside of the frame, or the same gray
    with pytest.raises(ConfigError, match="data.shake"):
        DataConfig(passing=0.5)


def test_without_shake_a_still_picture_gives_no_pair(folder):
    with pytest.raises(ConfigError, match="data.shake"):
        pairs_of(folder, 0)


def test_both_frames_are_damaged_anew_and_what_they_were_is_kept(folder):
    clean = pairs_of(folder, SHAKE)
    worn = pairs_of(folder, SHAKE, Degrade(DegradeConfig(grain=1.0)))
    assert clean.undamaged is None and torch.equal(worn.undamaged, clean.lightness)
    assert torch.equal(worn.ab, clean.ab) and torch.equal(worn.motion, clean.motion)
    noise = [(a - b).flatten() for a, b in ((worn.lightness, clean.lightness), (worn.previous, clean.previous))]
    assert min(float(n.abs().mean()) for n in noise) > 0.5
    assert abs(float(torch.corrcoef(torch.stack(noise))[0, 1])) < 0.2


def test_the_temporal_loss_of_ab_is_what_a_viewer_sees_of_the_change():
    random = np.random.default_rng(5)
    now, before = random.normal(0, 2, (2, 1, 4, 6, 313)).astype(np.float32)
    seen = (random.random((1, 4, 6)) < 0.7).astype(np.float32)
    ab = [annealed_mean(softmax(logits.astype(np.float64)), palette("ab313").centers, 0.2) for logits in (now, before)]
    came_from = np.concatenate([ab[1][:, :, 1:], ab[1][:, :, -1:]], axis=2)  # a cell to the right
    truth = ab[0] + random.normal(0, 20, ab[0].shape)
    ours, theirs = (colors - colors.mean(axis=(0, 1, 2)) for colors in (ab[0], truth))
    apart = np.vdot(ours, theirs) / np.linalg.norm(theirs, axis=-1).sum()
    expected = (np.abs(ab[0] - came_from).mean(-1) * seen).sum() / seen.sum() / apart
    motion = torch.tensor([1.0, 0.0]).expand(1, 4, 6, 2)
    batch = Batch(torch.zeros(1, 1, 16, 24), torch.from_numpy(truth).float(), None, motion, torch.from_numpy(seen))
    model = TINY["tiny"]()
    term = build_losses((LossConfig("temporal_ab", temperature=0.2),), model, torch.full((313,), 1 / 313))
    predicted, previous = (Prediction(torch.from_numpy(logits), centers_of(model)) for logits in (now, before))
    found = term(predicted, batch, previous)[0]
    paler = [Prediction(torch.from_numpy(a.transpose(0, 3, 1, 2) / 10), None) for a in ab]  # of a model without tokens
    assert float(term(paler[0], batch, paler[1])[0]) == pytest.approx(float(expected), rel=1e-4)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_a_tint_that_follows_lightness_does_not_make_changes_count_less():
    random = torch.Generator().manual_seed(6)
    truth = torch.randn(2, 8, 8, 2, generator=random) * 20
    tint = torch.linspace(-30, 30, 8)[:, None, None].expand(2, 8, 8, 2)  # top to bottom; the true colors know none
    truth -= truth.mean(dim=(0, 2), keepdim=True)
    batch = Batch(torch.zeros(2, 1, 32, 32), truth, None, torch.zeros(2, 8, 8, 2), torch.ones(2, 8, 8))
    term = build_losses((LossConfig("temporal_ab"),), TINY["tiny"](), torch.full((313,), 1 / 313))
    change = torch.randn(2, 8, 8, 2, generator=random)

    def loss(colors: torch.Tensor) -> float:
        now, before = (Prediction(ab.permute(0, 3, 1, 2), None) for ab in (colors, colors + change))
        return float(term(now, batch, before)[0])

    assert loss(truth / 2 + tint) == pytest.approx(loss(truth / 2), rel=1e-3)
    assert loss(truth) == pytest.approx(loss(truth / 2) / 2, rel=1e-3)
