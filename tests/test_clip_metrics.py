"""How steady, clean and costly colors are over time: every figure against a case worked by hand, or another
implementation. pytest tests/test_clip_metrics.py
"""

import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="evaluation needs torch")

from scipy.spatial.distance import jensenshannon  # noqa: E402
from skimage.color import lab2rgb  # noqa: E402

from edgecolor.config import ColorConfig  # noqa: E402
from edgecolor.errors import MediaError, MediaNotFoundError, ShapeError  # noqa: E402
from edgecolor.manifest import Manifest  # noqa: E402
from edgecolor.pipeline import Colorizer  # noqa: E402
from edgecolor.train.bleeding import Bleeding  # noqa: E402
from edgecolor.train.clip_metrics import ColorDistributionConsistency, WarpError  # noqa: E402
from edgecolor.train.clips import frames_of, seconds_of  # noqa: E402
from edgecolor.train.colorize import LeftGray  # noqa: E402
from edgecolor.train.evaluate_clips import color_clip, evaluate_clip, ghosting  # noqa: E402
from edgecolor.train.metrics import rgb8_to_lab  # noqa: E402
from edgecolor.train.moving_patterns import TRAIL, Ghosting, MovingPatterns  # noqa: E402
from edgecolor.train.steady_colors import SteadyColors, mean_colors  # noqa: E402


def colored(gray, ab):
    """(H, W) uint8 and ab, one or of each pixel, to (H, W, 3) uint8 RGB of that lightness."""
    lab = np.dstack([rgb8_to_lab(np.repeat(gray[..., None], 3, 2))[..., :1], np.broadcast_to(ab, (*gray.shape, 2))])
    return np.clip(np.rint(lab2rgb(lab) * 255), 0, 255).astype(np.uint8)


def test_chroma_cdc_does_not_count_what_luma_does_by_itself():
    rng = np.random.default_rng(0)
    rgb, chroma = ColorDistributionConsistency(), ColorDistributionConsistency(chroma_only=True)
    for i in range(6):
        frame = np.repeat((rng.integers(0, 100, (16, 16, 1)) + 20 * i).astype(np.uint8), 3, axis=2)
        rgb.add(frame)
        chroma.add(frame)
    assert rgb.value() > 0.1 and chroma.value() == 0


def test_chroma_cdc_equals_scipys_divergence_of_bt601_chroma(photograph):
    turned = [np.roll(photograph, i, axis=2) if i % 3 else photograph // (1 + i) for i in range(6)]
    cdc = ColorDistributionConsistency(chroma_only=True)
    for frame in turned:
        cdc.add(frame)

    def histograms(frame):
        r, g, b = np.moveaxis(frame.astype(np.float64), -1, 0)
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        planes = 128 + (b - luma) / 1.772, 128 + (r - luma) / 1.402
        return [np.bincount(np.clip(np.rint(plane), 0, 255).astype(int).ravel(), minlength=256) for plane in planes]

    known = [histograms(frame) for frame in turned]

    def divergence(distance):
        pairs = zip(known, known[distance:], strict=False)
        return np.mean([jensenshannon(p, q) ** 2 for one, other in pairs for p, q in zip(one, other, strict=True)])

    assert cdc.value() == pytest.approx(np.mean([divergence(distance) for distance in (1, 2, 4)]), rel=0.02)


def test_warp_error_in_ab_is_the_mean_square_of_a_flicker_in_ab(photograph):
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY) // 2 + 60
    views = [np.ascontiguousarray(gray[20:148, 40 + 3 * i : 200 + 3 * i]) for i in range(4)]
    warp = WarpError()
    for i, view in enumerate(views):
        warp.add(view, colored(view, (10.0, 8.0)), colored(view, (13.0, 12.0) if i % 2 else (10.0, 8.0)))
    steady, flickering = warp.ab_values()
    assert steady < 0.3  # rounding to bytes
    assert flickering == pytest.approx((3**2 + 4**2) / 2, rel=0.05)


def test_warp_error_does_not_count_what_was_hidden_before():
    clip, warp = MovingPatterns(3, speed=20), WarpError()
    plain = []
    before = None
    for i in range(clip.frames):
        gray = clip.frame(i)
        frame = colored(gray // 2 + 60, np.where(clip.covered(i)[..., None], (20.0, 10.0), (-10.0, 0.0)))
        warp.add(gray, frame)
        ab = rgb8_to_lab(frame)[..., 1:]
        plain += [] if before is None else [((ab - before) ** 2).mean()]
        before = ab
    assert warp.ab_values()[0] < 0.01 * np.mean(plain)  # twice that with what is uncovered


def test_frames_larger_than_the_longest_side_have_the_warp_error_of_half_of_them(photograph):
    large = cv2.resize(photograph, (1280, 720), interpolation=cv2.INTER_CUBIC)
    frames = [np.roll(large, 4 * i, axis=1) for i in range(2)]
    halves = [cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA) for frame in frames]
    errors = []
    for clip in (frames, halves):
        warp = WarpError()
        for frame in clip:
            small = cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA) if clip is halves else frame
            warp.add(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), frame)
        errors.append(warp.values()[0])
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


def edge(blur=0.0, angle=0):
    """Luma 80 | 180, and the share of the right side's color, by column: both (256, 256) float32."""
    step = np.zeros((256, 256), np.float32)
    step[:, 128:] = 1
    if blur:
        step = cv2.GaussianBlur(step, (0, 0), blur)
    if angle:
        step = cv2.warpAffine(step, cv2.getRotationMatrix2D((127.5, 127.5), angle, 1), (256, 256),
                              borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return 80 + 100 * step, step


def bleeding_of(luma, a):
    bleeding = Bleeding()
    bleeding.add(luma, np.stack([a, np.zeros_like(a)], axis=-1))
    return bleeding


@pytest.mark.parametrize("blur", (0.0, 1.0, 2.0))
def test_color_that_changes_where_luma_does_bleeds_nothing_however_soft_the_edge(blur):
    luma, step = edge(blur)
    bleeding = bleeding_of(luma, 40 * step)
    assert bleeding.edges > 200 and bleeding.value() == pytest.approx(0, abs=0.01)
    assert bleeding_of(luma, -40 * step).value() == pytest.approx(0, abs=0.01)


def test_a_ramp_of_color_over_a_sharp_edge_bleeds_what_it_gives_by_hand():
    luma, _ = edge()
    # The last dark column, 127, is taken for the edge. Samples -4 to 4 around it; color rises by 40 from the first to
    # the last, 5 each: ahead of luma by 0 + 5 + 10 + 15, behind it by 15 + 10 + 5 + 0, over 9 samples.
    ramp = np.clip((np.arange(256, dtype=np.float32) - 123) * 5, 0, 40)
    bleeding = bleeding_of(luma, np.tile(ramp, (256, 1)))
    assert bleeding.value() == pytest.approx(60 / 9, rel=1e-4)
    assert bleeding.percent() == pytest.approx(100 * 60 / 9 / 40, rel=1e-4)
    assert bleeding_of(luma.T.copy(), np.tile(ramp, (256, 1)).T.copy()).value() == pytest.approx(60 / 9, rel=1e-4)
    assert bleeding_of(luma, 80 - np.tile(ramp, (256, 1))).value() == pytest.approx(60 / 9, rel=1e-4)


def test_texture_of_color_beside_an_edge_is_no_bleeding_but_a_wash_of_it_is():
    luma, step = edge()
    texture = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 24, luma.shape).astype(np.float32), (0, 0), 1.0)
    assert abs(bleeding_of(luma, 40 * step + texture).value()) < 0.5
    assert bleeding_of(luma, cv2.GaussianBlur(40 * step, (0, 0), 3)).value() > 4


def test_bleeding_is_the_same_in_every_direction():
    values = []
    for angle in (0, 30, 45, 60):
        luma, step = edge(1.0, angle)
        values.append(bleeding_of(luma, cv2.GaussianBlur(40 * step, (0, 0), 3)).value())
    assert np.ptp(values) < 0.1 * np.mean(values)


def test_thin_lines_weak_edges_and_colors_alike_have_no_bleeding():
    luma, step = edge()
    line = np.full_like(luma, 80)
    line[:, 128:131] = 200
    for light, a in ((line, 40 * step), (80 + 15 * step, 40 * step), (luma, 5 * step)):
        assert np.isnan(bleeding_of(light, a).value())
    with pytest.raises(ShapeError, match="one picture"):
        Bleeding().add(luma, np.zeros((128, 128, 2), np.float32))


def test_the_patterns_move_as_they_say_and_nothing_else_does():
    clip = MovingPatterns(10, speed=6)
    for index, pattern, moved in ((4, 0, 24), (4, 1, -12)):
        here = clip.covered(index, pattern) & ~clip.covered(index, 1 - pattern)
        solid = cv2.erode(here.astype(np.uint8), np.ones((5, 5))) > 0
        rows, columns = np.nonzero(solid)
        assert len(rows) > 500
        assert (clip.frame(index)[rows, columns] == clip.frame(0)[rows, columns - moved]).all()
    still = ~(clip.covered(0) | clip.covered(9))
    assert (clip.frame(0) == clip.frame(9))[still].all()
    trail = np.zeros_like(still)
    for index in range(9 - TRAIL, 9):
        trail |= clip.covered(index)
    assert (clip.trail(9) == (trail & ~clip.covered(9))).all() and not clip.trail(0).any()


def test_the_patterns_file_decodes_to_the_frames(tmp_path):
    clip = MovingPatterns(4)
    decoded = list(frames_of(clip.write(tmp_path / "patterns.mkv")))
    assert [seconds for _, seconds in decoded] == pytest.approx([clip.seconds(i) for i in range(4)], abs=1e-3)
    for index, (frame, _) in enumerate(decoded):
        assert (frame == clip.frame(index)[..., None]).all()


def test_ghosting_tells_color_left_behind_from_a_shift_of_everything():
    clip = MovingPatterns(6, width=224, height=128)
    left_behind, shifted = Ghosting(clip), Ghosting(clip)
    for index in range(clip.frames):
        gray = clip.frame(index) // 2 + 60
        ab = np.where(clip.covered(index)[..., None], (20.0, 0.0), (-4.0, 7.0))
        alone = colored(gray, ab)
        quarter = np.where(clip.trail(index)[..., None], ab + 0.25 * np.array((24.0, -7.0)), ab)
        left_behind.add(index, colored(gray, quarter), alone)
        shifted.add(index, colored(gray, ab + (3.0, 4.0)), alone)
    figures = left_behind.figures()  # bytes round a color by up to 0.6 units, alike at every lightness
    assert figures["ghosting_contrast_ab"] == pytest.approx(25, abs=0.6)
    assert figures["ghosting_leak_ab"] == pytest.approx(0.25 * 25, abs=0.6)
    assert shifted.figures()["ghosting_ab"] == pytest.approx(5, abs=0.6)
    assert shifted.figures()["ghosting_leak_ab"] == pytest.approx(0, abs=0.3)


class BlendedInPlace:
    """Colors by lightness alone: dark things red, others blue; over time smoothed where they are, so it ghosts."""

    def __init__(self):
        self.past = None

    def image(self, gray):
        return colored(gray // 2 + 60, np.where(gray[..., None] < 70, (24.0, 0.0), (-10.0, -10.0)))

    def frame(self, gray, seconds):
        now = self.image(gray).astype(np.float32)
        self.past = now if self.past is None else (now + self.past) / 2
        return np.rint(self.past).astype(np.uint8)


def test_smoothing_in_place_ghosts_and_none_does_not():
    clip = MovingPatterns(5, width=224, height=128)
    figures = ghosting(BlendedInPlace(), clip)
    assert figures["ghosting_leak_ab"] > 1 and figures["ghosting_ab"] > 1
    gray = ghosting(LeftGray(), clip)
    assert math.isnan(gray.pop("ghosting_steady_ab"))  # there is no network that could be replaced
    assert list(gray.values()) == pytest.approx([0, 0, 0], abs=1e-4)


COLORS = np.float32([[30, 20], [-20, 30], [0, -20], [0, 10]])  # of the bar, the ground, the sky, the disc


class Flickering(SteadyColors):
    """Says another color of everything at every look."""

    rng = np.random.default_rng(3)

    def step(self, *given):
        self.colors = COLORS + self.rng.normal(0, 12, 2).astype(np.float32)
        return super().step(*given)


def test_steady_colors_are_the_given_ones_wherever_the_things_are(tmp_path):
    clip = MovingPatterns(6)
    net = SteadyColors(Manifest("steady", working_size=256), COLORS)
    colorizer = Colorizer(net, ColorConfig(half_life=0, network_rate=0))
    frames = list(color_clip(colorizer, clip.write(tmp_path / "patterns.mkv"), tmp_path).frames)
    expected = [net.centers[np.linalg.norm(net.centers - color, axis=1).argmin()] for color in COLORS]
    # Borders of cells are not those of things.
    assert np.linalg.norm(mean_colors(clip, frames) - expected, axis=1).max() < 6
    for thing in (1, 2):
        ab = [rgb8_to_lab(frame)[..., 1:][clip.things(i)[thing]].mean(axis=0) for i, frame in enumerate(frames)]
        assert np.std(ab, axis=0).max() < 0.5


@pytest.mark.parametrize("kind, palette", [("tokens", "ab313"), ("regression", "")])
def test_ghosting_of_a_steady_network_is_without_the_flicker(kind, palette):
    clip = MovingPatterns(9)
    net = Flickering(Manifest("flickering", kind=kind, palette=palette), COLORS)
    figures = ghosting(Colorizer(net, ColorConfig(warmth=8.0)), clip)
    assert figures["ghosting_ab"] > 10 and 0 < figures["ghosting_steady_ab"] < figures["ghosting_ab"] / 6


def test_a_colorizer_is_judged_by_the_file_it_writes(colorizer, tmp_path):
    path = MovingPatterns(9, width=96, height=64).write(tmp_path / "clip.mkv")
    frames = list(color_clip(colorizer, path, tmp_path, 4).frames)
    originals = [frame for frame, _ in frames_of(path, 4)]
    assert len(frames) == 4
    for frame, original in zip(frames, originals, strict=True):
        luma, luma_original = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(int) for picture in (frame, original))
        assert np.abs(luma - luma_original).max() <= 2  # color added, the luma as it was
    figures, count, _ = evaluate_clip(colorizer, path)
    assert count == 9 and figures["cpu_ms_per_frame"] > 0 and figures["colorfulness"] > 0
    assert figures["cdc_chroma_original"] == 0 <= figures["cdc_chroma"] and np.isnan(figures["bleeding_ab_original"])


def test_the_times_of_a_clip_are_those_of_its_frames(tmp_path):
    path = MovingPatterns(6, width=96, height=64).write(tmp_path / "clip.mkv")
    assert seconds_of(path) == pytest.approx([seconds for _, seconds in frames_of(path)], abs=1e-3)
    with pytest.raises(MediaNotFoundError, match="no such clip"):
        seconds_of(tmp_path / "none.mkv")
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    with pytest.raises(MediaError, match="does not decode"):
        seconds_of(tmp_path / "noise.mp4")
