"""Colors carried from pictures that the user gives, by the default model. pytest tests/test_references.py"""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from edgecolor import open_colorizer
from edgecolor.color.lab import srgb_to_lab
from edgecolor.color.tokens import annealed_mean, palette
from edgecolor.config import ColorConfig
from edgecolor.errors import ConfigError, MediaNotFoundError, ShapeError
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Matrix, Siting
from edgecolor.manifest import Manifest
from edgecolor.memory import TokenMemory
from edgecolor.pipeline import Colorizer
from edgecolor.recollection import Recollection
from edgecolor.reference_files import read_kept_frames, read_reference, seconds_of
from edgecolor.references import Reference, probs_of

H, W = 192, 256
LUMA = LumaFormat(W, H, 8, Matrix.BT709, full_range=True)
CHROMA = ChromaFormat(W, H, 0, 0, Siting.CENTER)


@pytest.fixture(scope="module")
def net():
    return open_colorizer().net


def photograph(name: str = "astronaut") -> np.ndarray:
    from skimage import data

    return cv2.resize(getattr(data, name)(), (W + 64, H + 48), interpolation=cv2.INTER_AREA)


def turned(rgb: np.ndarray) -> np.ndarray:
    """The same things in colors that no network would guess: red and blue exchanged, of the same lightness."""
    return np.ascontiguousarray(rgb[..., ::-1])


def view(rgb: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.ascontiguousarray(rgb[y : y + H, x : x + W])


def frame(rgb: np.ndarray, pts: int) -> LumaFrame:
    return LumaFrame(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), pts, Fraction(1, 25))


def ab_of(rgb: np.ndarray) -> np.ndarray:
    small = cv2.resize(rgb, (W // 4, H // 4), interpolation=cv2.INTER_AREA)
    return srgb_to_lab(small.astype(np.float32) / 255)[..., 1:]


def colors(net, frames, references=(), **config) -> list[np.ndarray]:
    """ab (h, w, 2) of each frame, saturation included."""
    colorizer = Colorizer(net, ColorConfig(**config), references)
    colorizer.begin(LUMA, CHROMA)
    items = colorizer.colors(frame(rgb, i) for i, rgb in enumerate(frames))
    return [np.moveaxis(ab, 0, 2) * colorizer.saturation for _, ab in items]


def error(ab: np.ndarray, rgb: np.ndarray) -> float:
    return float(np.linalg.norm(ab - ab_of(rgb), axis=-1).mean())


def test_colors_of_a_reference_are_carried_to_the_same_things_elsewhere_in_the_picture(net):
    rgb = turned(photograph())
    frames = [view(rgb, 40 + 2 * i, 30 + i) for i in range(4)]
    reference = Reference(view(rgb, 4, 6))
    without, with_it = colors(net, frames), colors(net, frames, [reference])
    assert error(without[3], frames[3]) > 25  # the network cannot know
    assert error(with_it[3], frames[3]) < 0.4 * error(without[3], frames[3])


def test_a_reference_says_nothing_about_things_that_are_not_in_it(net):
    frames = [view(photograph("coffee"), 2 * i, i) for i in range(3)]
    reference = Reference(view(turned(photograph("astronaut")), 0, 0))
    without, with_it = colors(net, frames), colors(net, frames, [reference])
    assert np.linalg.norm(with_it[2] - without[2], axis=-1).mean() < 3


def test_a_reference_holds_from_its_time_on(net):
    rgb = turned(photograph())
    frames = [view(rgb, i, 0) for i in range(20)]
    reference = Reference(view(rgb, 0, 0), since=0.4)  # frame 10
    ab = colors(net, frames, [reference], half_life=0, network_rate=0)
    assert error(ab[9], frames[9]) > 25 and error(ab[10], frames[10]) < 12


def test_a_reference_that_began_before_the_span_holds_beside_one_without_a_time(net):
    coffee, rgb = turned(photograph("coffee")), turned(photograph())
    frames = [view(rgb, i, 0) for i in range(3)]
    colorizer = Colorizer(net, None, [Reference(view(coffee, 0, 0)), Reference(view(rgb, 0, 0), since=30)])
    colorizer.begin(LUMA, CHROMA, origin=-60.0)  # the span starts at 60 s
    assert error(np.moveaxis(colorizer.ab(frame(frames[0], 0)), 0, 2) * colorizer.saturation, frames[0]) < 12


def test_a_corrected_frame_gets_its_colors_and_those_around_it_too(net):
    rgb = turned(photograph())
    frames = [view(rgb, i, 0) for i in range(25)]
    ab = colors(net, frames, [Reference(frames[12], frame=12)])
    assert error(ab[12], frames[12]) < 1.5
    assert all(error(ab[i], frames[i]) < 8 for i in (0, 6, 18, 24))


def test_a_still_picture_takes_colors_from_a_reference(net):
    rgb = turned(photograph())
    gray = cv2.cvtColor(view(rgb, 30, 20), cv2.COLOR_RGB2GRAY)
    with_it = Colorizer(net, None, [Reference(view(rgb, 0, 0))]).image(gray)
    without = Colorizer(net).image(gray)
    assert error(ab_of(with_it), view(rgb, 30, 20)) < 0.5 * error(ab_of(without), view(rgb, 30, 20))


def test_references_whose_frame_or_time_did_not_come_are_named(net):
    rgb = photograph()
    frames = [view(rgb, i, 0) for i in range(3)]
    references = [Reference(frames[0], frame=number) for number in (2, 3)]
    references += [Reference(frames[0], since=since) for since in (60.08, 60.2)]
    colorizer = Colorizer(net, ColorConfig(working_size=64), references)
    colorizer.begin(LUMA, CHROMA, origin=-60.0)
    list(colorizer.colors(frame(rgb, i) for i, rgb in enumerate(frames)))
    assert len(colorizer.unused) == 2
    assert "frame 3 " in colorizer.unused[0] and "60.2 s" in colorizer.unused[1]


def test_a_picture_takes_no_reference_with_a_time(net):
    rgb = photograph()
    with pytest.raises(ConfigError, match="leave the @"):
        Colorizer(net, None, [Reference(rgb, since=5)]).image(rgb)


def test_a_scene_that_returns_gets_the_colors_it_had(net):
    """The network sees the returning scene darker and closer, and would color it a little differently."""
    rgb, other = photograph(), photograph("coffee")
    dark = cv2.convertScaleAbs(rgb, alpha=0.5)
    frames = [view(rgb, 0, 0)] * 6 + [view(other, 0, 0)] * 6 + [view(dark, 6, 4)] * 6

    def shift(**config) -> float:
        ab = colors(net, frames, network_rate=0, **config)
        return float(np.linalg.norm(ab[17][:-1, :-2] - ab[5][1:, 2:], axis=-1)[4:-4, 4:-4].mean())

    assert shift(shot_memory=1.0) < 0.75 * shift(shot_memory=0.0)


def test_probabilities_of_a_color_paint_that_color():
    ab = np.random.default_rng(0).uniform(-50, 50, (8, 8, 2)).astype(np.float32)
    for temperature in (0.2, 0.38, 1.0):
        painted = annealed_mean(probs_of(ab, "ab313", temperature), palette("ab313").centers, temperature)
        assert np.linalg.norm(painted - ab, axis=-1).mean() < 1.5


def test_a_memory_tells_what_it_has_learnt_and_how_sure_it_is():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (8, 12, 32)).astype(np.float32).repeat(2, 0).repeat(2, 1)
    probs = rng.dirichlet(np.ones(5), (8, 12)).astype(np.float32).repeat(2, 0).repeat(2, 1)
    memory = TokenMemory()
    memory.learn(features, probs)
    recalled, trust = memory.recall(np.roll(features, 4, axis=1))
    assert np.allclose(recalled[::2, ::2].sum(axis=-1), 1, atol=1e-5) and trust.min() == pytest.approx(1)
    assert np.abs(recalled - np.roll(probs, 4, axis=1)).mean() < 0.6 * np.abs(recalled - probs).mean()
    _, trust = memory.recall(rng.normal(0, 1, (16, 24, 32)).astype(np.float32))
    assert trust.mean() < 0.05


def test_a_memory_leaves_out_what_it_knows_and_forgets_the_oldest():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(0, 1, (8, 8, 32)).astype(np.float32) for _ in range(2))
    probs = np.full((8, 8, 3), 1 / 3, np.float32)
    memory = TokenMemory(capacity=24)
    memory.learn(first, probs)
    memory.learn(first, probs, only_new=True)
    assert len(memory) == 16
    memory.learn(second, probs, only_new=True)
    assert len(memory) == 24
    assert memory.recall(second)[1].min() > 0.9 and memory.recall(first)[1].min() < 0.1


def test_an_empty_memory_and_grids_that_do_not_fit_are_refused():
    memory = TokenMemory()
    with pytest.raises(ShapeError, match="empty"):
        memory.recall(np.zeros((4, 4, 8), np.float32))
    with pytest.raises(ShapeError):
        memory.learn(np.zeros((4, 4, 8), np.float32), np.zeros((4, 5, 3), np.float32))
    assert not Recollection([], 0.0)


def test_a_model_without_tokens_takes_no_references():
    class Regression:
        manifest = Manifest("regression", kind="regression", palette="")

    with pytest.raises(ConfigError, match="tokens"):
        Colorizer(Regression(), None, [Reference(np.zeros((8, 8, 3), np.uint8))])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"rgb": np.zeros((8, 8), np.uint8)}, ShapeError),
        ({"rgb": np.zeros((8, 8, 3))}, ShapeError),
        ({"since": -1.0}, ConfigError),
        ({"since": float("nan")}, ConfigError),
    ],
)
def test_impossible_references_are_refused(wrong, error):
    with pytest.raises(error, match="a reference"):
        Reference(**{"rgb": np.zeros((8, 8, 3), np.uint8), **wrong})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12), ("12.5s", 12.5), ("1:02.5", 62.5), ("1:00:02", 3602), ("", None), ("1:x", None), ("1:75", None)],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


def write(path, shade: int = 0):
    cv2.imwrite(str(path), np.full((8, 8, 3), shade, np.uint8))
    return path


def test_a_reference_may_name_a_time_and_its_name_may_hold_an_at(tmp_path):
    plain, at = write(tmp_path / "a.png"), write(tmp_path / "b@12.png")
    assert read_reference(str(plain)).since == 0 and read_reference(f"{plain}@1:30").since == 90
    assert read_reference(str(at)).since == 0
    with pytest.raises(ConfigError, match="no time"):
        read_reference(f"{plain}@noon")
    with pytest.raises(MediaNotFoundError):
        read_reference(str(tmp_path / "none.png"))


def test_corrected_frames_are_numbered_by_their_names(tmp_path):
    write(tmp_path / "frame-000312.png", 10), write(tmp_path / "7.png", 20)
    (tmp_path / "notes.txt").write_text("mine")
    assert [reference.frame for reference in read_kept_frames(tmp_path)] == [7, 312]
    write(tmp_path / "other-7.png")
    with pytest.raises(ConfigError, match="both of frame 7"):
        read_kept_frames(tmp_path)


def test_a_folder_without_corrected_frames_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no pictures"):
        read_kept_frames(tmp_path)
    write(tmp_path / "nameless.png")
    with pytest.raises(ConfigError, match="number"):
        read_kept_frames(tmp_path)
    with pytest.raises(MediaNotFoundError):
        read_kept_frames(tmp_path / "none")
