"""Colors that somebody puts at places: what they change, how far they reach, where they go.

pytest tests/test_hints.py
"""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from media import Clip, decode, luma_of, make_video

from edgecolor import ColorConfig, Colorizer, Hint, colorize_image, colorize_video, open_colorizer
from edgecolor.cli import main
from edgecolor.color.lab import srgb_to_lab
from edgecolor.errors import ConfigError, EdgeColorError, MediaError, MediaNotFoundError
from edgecolor.frames import ChromaFormat, LumaFormat, LumaFrame, Matrix, Siting
from edgecolor.hint_field import CarriedHints
from edgecolor.hint_files import read_hint, read_hints
from edgecolor.hint_spread import grow, spread
from edgecolor.hints import DueHints
from edgecolor.manifest import Manifest
from edgecolor.motion.flow import Motion
from edgecolor.references import Reference
from edgecolor.video import EncodeOptions

H, W = 192, 256
LUMA = LumaFormat(W, H, 8, Matrix.BT709, full_range=True)
CHROMA = ChromaFormat(W, H, 0, 0, Siting.CENTER)
BLUE, GREEN, ORANGE = (0x20, 0x50, 0xC0), (0x20, 0x80, 0x40), (0xD0, 0x60, 0x20)
SAUCER, SAUCER_TOO, INSIDE_CUP, WOOD = (90, 165), (75, 120), (150, 60), (20, 30)  # in view(coffee)


@pytest.fixture(scope="module")
def net():
    return open_colorizer().net


def gray_of(name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """A photograph of scikit-image without its colors, at (width, height)."""
    from skimage import data

    gray = cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA) if size else gray


def view(gray: np.ndarray, x: int, y: int) -> np.ndarray:
    return np.ascontiguousarray(gray[y : y + H, x : x + W])


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return gray_of("coffee", (384, 256))


def frame(gray: np.ndarray, index: int) -> LumaFrame:
    return LumaFrame(gray, index, Fraction(1, 25), 1)


def colors(net, grays, hints=(), references=(), luma=LUMA, chroma=CHROMA, **config) -> list[np.ndarray]:
    """ab (h, w, 2) of each frame at 25 a second, saturation included."""
    colorizer = Colorizer(net, ColorConfig(**config), references, hints)
    colorizer.begin(luma, chroma)
    items = colorizer.colors(frame(gray, i) for i, gray in enumerate(grays))
    return [np.moveaxis(ab, 0, 2) * colorizer.saturation for _, ab in items]


def at(ab: np.ndarray, place: tuple[int, int], size: tuple[int, int] = (W, H)) -> np.ndarray:
    """(2,) around a pixel of a picture of that size."""
    y, x = place[1] * ab.shape[0] // size[1], place[0] * ab.shape[1] // size[0]
    return ab[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean(axis=(0, 1))


def distance(ab: np.ndarray, rgb) -> float:
    return float(np.linalg.norm(ab - Hint(0, 0, rgb).ab()))


def change(after: np.ndarray, before: np.ndarray, place: tuple[int, int]) -> float:
    return float(np.linalg.norm(at(after, place) - at(before, place)))


def test_a_hint_gives_its_color_to_the_thing_it_is_on_and_little_to_others(net, coffee):
    still = [view(coffee, 0, 30)]
    before, after = colors(net, still)[0], colors(net, still, [Hint(*SAUCER, BLUE)])[0]
    assert distance(at(before, SAUCER), BLUE) > 40
    assert distance(at(after, SAUCER), BLUE) < 5 and distance(at(after, SAUCER_TOO), BLUE) < 15
    assert change(after, before, INSIDE_CUP) < 3 and change(after, before, WOOD) < 3


def test_a_hint_reaches_far_where_no_edge_is_and_not_across_one(net):
    rocket = gray_of("rocket")
    size = rocket.shape[::-1]
    pictures = [Colorizer(net).image(rocket, [Hint(x, 100, ORANGE)]) for x in (150, 318)] + [
        Colorizer(net).image(rocket)
    ]
    sky, body, plain = (srgb_to_lab(rgb.astype(np.float32) / 255)[..., 1:] for rgb in pictures)
    moved_sky, moved_body = (np.linalg.norm(ab - plain, axis=2) for ab in (sky, body))
    assert moved_sky[60:140, 120:280].mean() > 25 and moved_sky[60:140, 250:290].mean() > 30  # hinted at x = 150
    assert size == (640, 427) and moved_sky[180:300, 316:323].mean() < 0.3 * moved_sky[60:140, 120:280].mean()


def test_a_hint_on_a_crease_gives_its_color_to_the_thing_around_it_too(net):
    suit = Colorizer(net).image(gray_of("astronaut"), [Hint(120, 420, BLUE)])
    ab = srgb_to_lab(suit.astype(np.float32) / 255)[..., 1:]
    assert all(distance(at(ab, place, (512, 512)), BLUE) < 15 for place in ((100, 350), (60, 380)))


def test_two_hints_share_what_lies_between_them(net):
    smooth = np.tile(np.linspace(90, 110, W).astype(np.uint8), (H, 1))
    ab = colors(net, [smooth], [Hint(40, 96, BLUE), Hint(215, 96, ORANGE)])[0]
    assert distance(at(ab, (40, 96)), BLUE) < 8 and distance(at(ab, (215, 96)), ORANGE) < 8
    across = np.array([distance(at(ab, (x, 96)), BLUE) for x in range(40, 216, 5)])
    assert (np.diff(across) > -6).all() and np.abs(np.diff(across)).max() < 35  # a gradient, no seam


def test_shares_of_hints_are_no_more_than_one_and_whole_at_their_places():
    rng = np.random.default_rng(0)
    features, probs = rng.normal(0, 1, (24, 32, 16)).astype(np.float32), np.full((24, 32, 5), 0.2, np.float32)
    shares, own = spread([(3, 4), (20, 28), (20, 27)], features, probs, np.full((96, 128), 50, np.float32), 4)
    assert shares.shape == (24, 32, 3) and len(own) == 3
    assert shares.min() >= 0 and shares.sum(axis=2).max() < 1 + 1e-5 and shares[3, 4, 0] > 0.99
    fine, _ = spread([(14, 18)], features.repeat(4, 0).repeat(4, 1), probs.repeat(4, 0).repeat(4, 1),
                     np.full((96, 128), 50, np.float32), 1)  # fmt: skip
    assert fine.shape == (96, 128, 1) and fine[14, 18, 0] > 0.9


FLAT = np.full((64, 96), 50, np.float32)  # lightness


def cells_of(probs_along_x, features_along_x) -> tuple[np.ndarray, np.ndarray]:
    """Features and probabilities of 16 x 24 cells that are alike in every row."""
    rows = (np.asarray(values, np.float32)[None].repeat(16, 0) for values in (features_along_x, probs_along_x))
    return tuple(np.ascontiguousarray(each) for each in rows)


def test_a_hint_stays_with_what_looks_as_its_place_does_even_where_looks_change_step_by_step():
    way = np.linspace(0, 1, 24)[:, None]
    first, second = np.eye(8)[:2]
    same, turning = np.tile(first, (24, 1)), first * (1 - way) + second * way
    shares = []
    for probs, features in ((same, same), (turning, same), (same, turning)):
        features, probs = cells_of(0.9 * probs + 0.0125, features)
        features[12:] = np.eye(8)[2]  # another thing below
        shares.append(spread([(8, 2)], features, probs, FLAT, 4)[0][8, :, 0])
    assert shares[0][20] > 0.6
    assert shares[1][4] > 0.9 and shares[1][20] < 0.3 * shares[0][20]  # other colors
    assert shares[2][4] > 0.9 and shares[2][20] < 0.9 * shares[0][20]  # other features


def carried_by(features: np.ndarray, probs: np.ndarray, columns: slice) -> CarriedHints:
    """One hint that holds in some columns."""
    shares, own = spread([(8, columns.start + 1)], features, probs, FLAT, 4)
    shares = np.zeros_like(shares)
    shares[:, columns] = 1
    return CarriedHints(np.eye(8, dtype=np.float32)[:1], shares, own, features)


def test_shares_go_along_the_motion_and_not_to_another_thing_of_the_same_looks():
    rng = np.random.default_rng(1)
    looks = rng.normal(0, 1, (24, 8))
    looks[16:20] = looks[4:8]  # seen twice, hinted once
    features, probs = cells_of(np.full((24, 8), 0.125), looks)
    carried = carried_by(features, probs, slice(4, 8))
    moved = np.roll(features, 2, axis=1)
    cells, shown = np.full((16, 24, 2), (-2, 0), np.float32), np.ones((16, 24), np.float32)
    carried.follow(Motion(cells, shown), 0.3)
    carried.arrive(moved, probs, FLAT, 4)
    assert carried.shares[:, 6:10].min() > 0.8 and carried.shares[:, 13:].max() < 0.05
    for _ in range(10):
        carried.follow(Motion(0 * cells, shown), 0.3)
        carried.arrive(moved, probs, FLAT, 4)
    assert carried.shares[:, 7:9].min() > 0.4 and carried.shares[:, 14:].max() < 0.05
    carried.follow(Motion(-cells, shown), 0.0)  # an error of two cells
    for _ in range(10):
        carried.arrive(moved, probs, FLAT, 4)
        carried.follow(Motion(0 * cells, shown), 0.3)
    assert carried.shares[:, 3:5].max() < 0.3


def test_a_hint_goes_on_into_what_comes_into_view_beside_it_up_to_the_edge_of_its_thing():
    rng = np.random.default_rng(2)
    probs_along = np.full((24, 8), 0.01)
    probs_along[:16, 0], probs_along[16:, 3] = 0.93, 0.93
    features, probs = cells_of(probs_along, np.tile(rng.normal(0, 1, 8), (24, 1)) + rng.normal(0, 0.01, (24, 8)))
    carried = carried_by(features, probs, slice(0, 10))
    shown = np.ones((16, 24), np.float32)
    shown[:, 10:20] = 0
    still = np.zeros((16, 24, 2), np.float32)
    faint = grow(0.4 * carried.shares, shown > 0, carried.own, features, probs, FLAT, 4)
    assert faint[:, 10:].max() < 0.05  # what is hardly of the thing hands nothing on
    carried.follow(Motion(still, shown), 1.1)
    known, new = features[0, 0].copy(), rng.normal(0, 1, 8)
    features[:, 10:] = new  # like nothing that is remembered
    carried.arrive(features, probs, FLAT, 4)
    assert carried.shares[:, :9].min() > 0.99 and carried.shares[:, 11:15].min() > 0.6
    assert carried.shares[:, 16:].max() < 0.1
    carried.follow(Motion(still, 0 * shown), 0.3)  # another view, in which it is seen again
    features[:], features[:, :12] = -new, new
    carried.arrive(features, probs, FLAT, 4)
    assert carried.shares[:, 2:10].min() > 0.3 and np.abs(known - new).max() > 1


def test_a_hint_in_gray_takes_color_away(net, coffee):
    still = [view(coffee, 0, 30)]
    place = (150, 100)
    before, after = colors(net, still)[0], colors(net, still, [Hint(*place, (90, 90, 90))])[0]
    assert np.linalg.norm(at(before, place)) > 8 and np.linalg.norm(at(after, place)) < 3


def test_the_lightness_of_a_hint_says_nothing_and_that_of_the_picture_stays(net, coffee):
    ab = np.array([20.0, -40.0])
    dark, bright = (np.r_[lightness, ab] for lightness in (30, 60))
    from edgecolor.color.lab import lab_to_srgb

    hints = [
        Hint(*SAUCER, tuple(int(v) for v in np.rint(lab_to_srgb(lab) * 255).clip(0, 255))) for lab in (dark, bright)
    ]
    gray = view(coffee, 0, 30)
    pictures = [Colorizer(net).image(gray, [hint]) for hint in hints]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 6
    lightness = [srgb_to_lab(rgb.astype(np.float32) / 255)[..., 0] for rgb in (pictures[0], np.dstack([gray] * 3))]
    assert np.abs(lightness[0] - lightness[1]).max() < 1.5


def test_a_colorizer_is_as_before_once_its_hints_are_over(net, coffee):
    gray = view(coffee, 0, 30)
    colorizer = Colorizer(net)
    plain = colorizer.image(gray)
    assert (colorizer.image(gray, [Hint(*SAUCER, BLUE)]) != plain).any()
    assert np.array_equal(colorizer.image(gray), plain)


@pytest.mark.parametrize("look_ahead", [0.0, 0.4])
def test_the_color_of_a_hint_follows_its_thing_through_a_camera_move(net, coffee, look_ahead):
    frames = [view(coffee, 2 * i, 10 + i) for i in range(31)]  # 60 to the right, 30 down
    x, y = SAUCER[0], SAUCER[1] + 20
    options = {"look_ahead": look_ahead, "working_size": 128}
    before, after = colors(net, frames, **options), colors(net, frames, [Hint(x, y, BLUE)], **options)
    for i in (1, 10, 20, 30):
        assert distance(at(after[i], (x - 2 * i, y - i)), BLUE) < 15
        cup = (INSIDE_CUP[0] - 2 * i, INSIDE_CUP[1] + 20 - i)
        assert change(after[i], before[i], cup) < 5


def test_what_of_a_thing_comes_into_view_later_takes_the_color_too(net):
    suit = gray_of("astronaut", (460, 460))
    frames = [view(suit, 2 * i, 60 + 4 * i) for i in range(25)]
    below = (100, 150)  # in the last frame; under the lower border of the first
    before, after = (colors(net, frames, hints, working_size=128) for hints in ([], [Hint(80, 175, GREEN)]))
    assert distance(at(after[-1], below), GREEN) < 0.4 * distance(at(before[-1], below), GREEN)


def test_a_thing_that_was_out_of_view_comes_back_with_the_color_of_its_hint(net, coffee):
    path = [*range(0, 121, 12), *[120] * 15, *range(120, -1, -12)]  # the saucer's left side leaves and returns
    frames = [view(coffee, x, 60) for x in path]
    place = (60, 105)
    after = colors(net, frames, [Hint(*place, BLUE)], half_life=0.1, working_size=128)
    assert distance(at(after[18], (200, 40)), BLUE) > 40  # wood: there is nothing of the saucer in view
    assert distance(at(after[-1], place), BLUE) < 20


def test_a_hint_begins_at_its_frame_at_once_and_ends_at_the_next_cut(net, coffee):
    other = gray_of("astronaut", (320, 256))
    frames = [view(coffee, 0, 30)] * 12 + [view(other, 20, 20)] * 4
    options = {"look_ahead": 0, "network_rate": 3}
    before, after = colors(net, frames, **options), colors(net, frames, [Hint(*SAUCER, BLUE, 0.2)], **options)
    for i in (0, 4, 12, 15):  # 4 is the last before 0.2 s, at 12 a scene begins
        assert np.array_equal(before[i], after[i])
    for i in (5, 11):
        assert distance(at(after[i], SAUCER), BLUE) < 6


def test_hints_of_two_moments_hold_side_by_side_and_the_later_one_wins_where_both_are(net, coffee):
    frames = [view(coffee, 0, 30)] * 9
    hints = [Hint(*SAUCER, BLUE), Hint(*INSIDE_CUP, GREEN, 0.1), Hint(*SAUCER_TOO, ORANGE, 0.2)]
    ab = colors(net, frames, hints, half_life=0, network_rate=0, working_size=128)
    assert distance(at(ab[4], SAUCER), BLUE) < 8 and distance(at(ab[4], INSIDE_CUP), GREEN) < 8
    assert distance(at(ab[8], SAUCER_TOO), ORANGE) < 8 and distance(at(ab[8], INSIDE_CUP), GREEN) < 8


def test_a_hint_on_a_corrected_frame_comes_on_top_of_its_colors(net, coffee):
    gray = view(coffee, 0, 30)
    corrected = Reference(Colorizer(net).image(gray, [Hint(*INSIDE_CUP, GREEN)]), frame=2)
    ab = colors(net, [gray] * 4, [Hint(*SAUCER, BLUE, 0.08)], [corrected], look_ahead=0)[2]
    assert distance(at(ab, SAUCER), BLUE) < 6 and distance(at(ab, INSIDE_CUP), GREEN) < 12


def test_places_are_those_of_the_upright_picture(net, coffee):
    gray = view(coffee, 0, 30)
    turned = LumaFormat(H, W, 8, Matrix.BT709, full_range=True, rotation=90)  # a player turns it clockwise
    stored = np.ascontiguousarray(np.rot90(gray))
    chroma = ChromaFormat(H, W, 0, 0, Siting.CENTER)
    ab = colors(net, [stored], [Hint(*SAUCER, BLUE)], luma=turned, chroma=chroma)[0]
    assert distance(at(ab, SAUCER), BLUE) < 6


# A network that takes hints


@pytest.fixture
def hinted(tmp_path, monkeypatch):
    """A small siggraph17 as a backend that notes the hints it is given."""
    pytest.importorskip("torch")
    from zoo import TWINS, busy

    from edgecolor.backends import open_backend
    from edgecolor.export.checkpoint import save_safetensors
    from edgecolor.models import MODELS, build_model, manifest_of

    monkeypatch.setitem(MODELS, "siggraph17", TWINS["siggraph17"])
    model = busy(build_model("siggraph17"))
    path = tmp_path / "siggraph17.safetensors"
    save_safetensors(model, manifest_of("siggraph17", model, working_size=96), path)
    backend = open_backend(path, threads=1)
    backend.given, give = [], backend.hint
    backend.hint = lambda hints: (backend.given.append(hints), give(hints))
    return backend


def middle(plane: np.ndarray) -> tuple[float, float]:
    """x and y of the middle of what is hinted, in pixels of a picture of (W, H)."""
    rows, columns = np.nonzero(plane[0, 2])
    return (columns.mean() + 0.5) * W / plane.shape[3], (rows.mean() + 0.5) * H / plane.shape[2]


def test_a_network_that_takes_hints_gets_color_and_place(hinted, coffee):
    gray = view(coffee, 0, 30)
    plain = Colorizer(hinted).image(gray)
    painted = Colorizer(hinted).image(gray, [Hint(*SAUCER, BLUE)])
    plane = hinted.given[-1]
    assert plane.shape == (1, 3, 96, 128) and plane[0, 2].sum() == 25
    assert np.abs(np.subtract(middle(plane), SAUCER)).max() < 2
    np.testing.assert_allclose(plane[0, :2, plane[0, 2] == 1], np.tile(Hint(0, 0, BLUE).ab(), (25, 1)), atol=1e-4)
    assert not plane[0, :, plane[0, 2] == 0].any()
    moved = np.abs(painted.astype(int) - plain).sum(axis=2)
    assert moved[150:180, 75:105].mean() > 5 * moved[:40, 200:].mean()
    assert np.array_equal(Colorizer(hinted).image(gray), plain)


def test_the_hints_of_a_network_that_takes_them_move_with_their_things_until_a_cut(hinted, coffee):
    frames = [view(coffee, 2 * i, 10 + i) for i in range(20)]
    x, y = SAUCER[0], SAUCER[1] + 20
    other, around = view(gray_of("astronaut", (320, 256)), 20, 20), (slice(140, 192), slice(28, 80))
    other[around] = frames[-1][around]  # what is hinted looks as if it went on
    frames += [other] * 3
    hints = [Hint(x, y, BLUE), Hint(1, 60, ORANGE), Hint(*INSIDE_CUP, GREEN, 0.4)]
    for _ in range(2):  # the second video begins without what is left of the first
        hinted.given.clear()
        ab = colors(hinted, frames, hints, network_rate=5, look_ahead=0)
    planes = hinted.given[1:]  # the first is the beginning's None
    assert hinted.given[0] is None and hinted.given[-1] is None and len(planes) == 5  # frames 0, 5, 10, 15, 20
    assert planes[0][0, 2].sum() == 40  # one of them is cut off by the border
    assert planes[1][0, 2].sum() == 25 and np.abs(np.subtract(middle(planes[1]), (x - 10, y - 5))).max() < 4
    assert planes[2][0, 2].sum() == 50  # the other one has left, the third begins
    plain = colors(hinted, frames, network_rate=5, look_ahead=0)
    assert not np.array_equal(ab[10], plain[10]) and np.array_equal(ab[20], plain[20])


# What cannot be


def test_a_model_that_takes_no_hints_says_which_do():
    class Regression:
        manifest = Manifest("basic-lab", kind="regression", palette="")

    with pytest.raises(ConfigError, match=r"basic-lab takes no hints: take edge .* or siggraph17"):
        Colorizer(Regression(), hints=[Hint(1, 1, BLUE)])


@pytest.mark.parametrize(
    "wrong", [{"x": -1}, {"y": float("nan")}, {"rgb": (0, 0, 256)}, {"rgb": (0, 0)}, {"seconds": -1}], ids=str
)
def test_impossible_hints_are_refused(wrong):
    with pytest.raises(ConfigError, match="a hint's"):
        Hint(**{"x": 1, "y": 1, "rgb": BLUE, **wrong})


def test_hints_outside_of_the_picture_or_with_a_time_for_one_are_refused(net):
    gray = np.zeros((60, 80), np.uint8)
    with pytest.raises(ConfigError, match=r"80,5,#2050c0 lies outside: the picture is 80 x 60"):
        colorize_image(gray, hints=[Hint(80, 5, BLUE)], colorizer=Colorizer(net))
    with pytest.raises(ConfigError, match=r"5,5,#2050c0@2 has a time"):
        colorize_image(gray, hints=[Hint(5, 5, BLUE, 2)], colorizer=Colorizer(net))


def test_a_hint_is_due_with_the_frame_on_the_screen_at_its_time():
    hints = [Hint(i, 0, BLUE, seconds) for i, seconds in enumerate((0, 0.05, 0.0797, 0.5))]
    due = DueHints(hints, origin=10.0)
    taken = [[hint.x for hint in due.take(10 + i / 25, 1 / 25)] for i in range(4)]
    assert taken == [[0], [1], [2], []]  # 0.0797 is meant to be 0.08
    assert [str(hint) for hint in due.left] == ["3,0,#2050c0@0.5"]


@pytest.mark.parametrize("look_ahead", [0, 0.5])
def test_a_video_that_ends_before_a_hint_unlike_what_it_said_is_kept_and_the_hint_named(net, tmp_path, look_ahead):
    clip = make_video(tmp_path / "in.mkv", width=96, height=64)
    declared = clip.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(declared[: len(declared) * 2 // 3])
    config = ColorConfig(working_size=64, look_ahead=look_ahead)
    colorizer = Colorizer(net, config, hints=[Hint(4, 4, BLUE, 0.45)])
    report = colorize_video(tmp_path / "cut.mkv", tmp_path / "out.mkv", colorizer=colorizer)
    assert 0 < report.frames < len(decode(clip))
    said = "hint 4,4,#2050c0@0.45 was not used, the video was over before: give an earlier time"
    assert said in report.warnings
    assert len(decode(tmp_path / "out.mkv")) == report.frames


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("120,80,#a03020", Hint(120, 80, (160, 48, 32))),
        (" 0 , 7,#FFffFF @ 1:02.5 ", Hint(0, 7, (255, 255, 255), 62.5)),
        ("3,4,#000000@12", Hint(3, 4, (0, 0, 0), 12)),
    ],
)
def test_hints_are_read_as_people_write_them(text, hint):
    assert read_hint(text) == hint and read_hint(str(hint)) == hint


@pytest.mark.parametrize("text", ["", "1,2", "1,2,red", "1,2,#fff", "1,2,#1234567", "-1,2,#123456", "1.5,2,#123456"])
def test_texts_that_are_no_hint_are_refused_with_the_way_to_write_one(text):
    with pytest.raises(ConfigError, match="is no hint: write X,Y,#RRGGBB"):
        read_hint(text)


def test_a_file_of_hints_may_have_comments_and_its_errors_name_the_line(tmp_path):
    path = tmp_path / "hints.txt"
    path.write_text("\ufeff# the coat\n\n12,8,#a03020@0:12  # from the second shot on\n3,4,#00ff00\n", encoding="utf-8")
    assert read_hints(path) == [Hint(12, 8, (160, 48, 32), 12.0), Hint(3, 4, (0, 255, 0))]
    for content, kind, words in (
        (b"1,2,#ffffff\n3,4,red\n", ConfigError, "line 2: '3,4,red' is no hint"),
        (b"1,2,#ffffff@noon", ConfigError, "line 1: .*'noon' after the @ is no time"),
        (b"# nothing\n", ConfigError, "holds no hints"),
        (b"\xff\xfe1\x00", MediaError, "no text in UTF-8"),
        (b"#" * 1_000_001, MediaError, "too long"),
    ):
        path.write_bytes(content)
        with pytest.raises(kind, match=words):
            read_hints(path)
    with pytest.raises(MediaNotFoundError, match="no such file"):
        read_hints(tmp_path / "none.txt")
    with pytest.raises(MediaError, match="cannot be read"):
        read_hints(tmp_path)


# Whole files


@pytest.fixture(scope="module")
def clip(tmp_path_factory, coffee):
    """25 frames of a camera move, 256 x 192."""
    import av

    grays = [view(coffee, 2 * i, 10 + i) for i in range(25)]
    frames = [av.VideoFrame.from_ndarray(gray, format="gray").reformat(format="yuv420p") for gray in grays]
    pts = [40 * i for i in range(25)]
    clip = Clip(W, H, codec="ffv1", pts=pts, time_base=Fraction(1, 1000), frames=frames, options={})
    return make_video(tmp_path_factory.mktemp("hints") / "old.mkv", clip)


def chroma_at(path, index: int, place: tuple[int, int]) -> np.ndarray:
    """(Cb, Cr) of a 4:2:0 frame around a pixel, gray being 0."""
    picture = decode(path)[index].to_ndarray(format="yuv444p").astype(int)
    return picture[1:, place[1] - 3 : place[1] + 4, place[0] - 3 : place[0] + 4].mean(axis=(1, 2)) - 128


def test_a_video_with_hints_keeps_its_luma_and_their_times_count_from_the_beginning_of_the_file(clip, tmp_path):
    config = ColorConfig(look_ahead=0, working_size=128)
    x, y = SAUCER[0] - 30, SAUCER[1] + 5  # in frame 15, at 0.6 s
    hints = [Hint(x, y, BLUE, 0.6)]
    colorize_video(
        clip, tmp_path / "part.mkv", config=config, hints=hints, start=0.4, encode=EncodeOptions(codec="ffv1")
    )
    before, after = decode(clip)[10:], decode(tmp_path / "part.mkv")
    assert len(after) == 15 and all(np.array_equal(luma_of(a), luma_of(b)) for a, b in zip(before, after, strict=True))
    assert chroma_at(tmp_path / "part.mkv", 4, (x + 2, y + 1))[0] < 10
    assert chroma_at(tmp_path / "part.mkv", 5, (x, y))[0] > 25  # blue
    assert chroma_at(tmp_path / "part.mkv", 14, (x - 18, y - 9))[0] > 25
    with pytest.raises(EdgeColorError, match="before 0.7 s"):
        colorize_video(clip, tmp_path / "none.mkv", hints=hints, start=0.7)


def test_times_of_references_count_from_where_those_of_hints_do(net, coffee):
    gray = view(coffee, 0, 30)
    reference = Reference(Colorizer(net).image(gray, [Hint(*SAUCER, BLUE)]), since=0.48)
    ab = []
    for references in ([], [reference]):
        colorizer = Colorizer(net, ColorConfig(half_life=0, network_rate=0, working_size=64), references)
        colorizer.begin(LUMA, CHROMA, origin=-0.4)  # the first frame is 0.4 s after the beginning
        ab.append([ab for _, ab in colorizer.colors(frame(gray, i) for i in range(4))])
    same = [np.allclose(*pair, rtol=0, atol=1e-4) for pair in zip(*ab, strict=True)]  # two paths, to rounding
    assert same == [True, True, False, False]


def run(capsys, *arguments) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code, capsys.readouterr().err


def test_the_command_takes_hints_from_its_options_and_from_a_file(tmp_path, coffee, capsys):
    gray = view(coffee, 0, 30)
    cv2.imwrite(str(tmp_path / "old.png"), gray)
    (tmp_path / "hints.txt").write_text("150,60,#208040 # coffee\n")
    hints = ["--hint", "90,165,#2050c0", "--hints", tmp_path / "hints.txt"]
    assert run(capsys, "colorize", tmp_path / "old.png", tmp_path / "new.png", *hints) == (0, "")
    rgb = cv2.imread(str(tmp_path / "new.png"))[..., ::-1]
    expected = colorize_image(np.dstack([gray] * 3), hints=[Hint(90, 165, BLUE), Hint(150, 60, GREEN)])
    assert np.array_equal(rgb, expected)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("clip", ["--hint", "256,5,#ff0000"], ["256,5,#ff0000", "outside", "256 x 192"]),
        ("clip", ["--hint", "5,5,#ff0000@0:12"], ["5,5,#ff0000@12", "is over at 1.00 s", "earlier"]),
        ("clip", ["--hint", "5,5,#ff0000@0.2", "--start", "0.5"], ["before 0.5 s", "start earlier"]),
        ("clip", ["--hint", "5,5,crimson"], ["crimson", "X,Y,#RRGGBB"]),
        ("clip", ["--hint", "5,5,#ff0000@noon"], ["noon", "no time"]),
        ("clip", ["--hints", "none.txt"], ["none.txt", "no such file"]),
        ("picture", ["--hint", "5,5,#ff0000@2"], ["picture", "leave the @"]),
        ("picture", ["--hint", "5,64,#ff0000"], ["5,64,#ff0000", "96 x 64"]),
        ("picture", ["--hint", "5,5,#ff0000", "--model", "basic-lab"], ["basic-lab takes no hints", "siggraph17"]),
    ],
)
def test_hints_that_cannot_be_are_one_line_and_leave_nothing(
    clip, tmp_path, monkeypatch, capsys, source, options, words
):
    if "--model" in options:
        pytest.importorskip("torch")
        from edgecolor.export.checkpoint import save_safetensors
        from edgecolor.models import build_model, manifest_of

        model = build_model("basic-lab")
        save_safetensors(model, manifest_of("basic-lab", model), tmp_path / "basic-lab.safetensors")
        options = [*options[:-1], str(tmp_path / "basic-lab.safetensors")]
    cv2.imwrite(str(tmp_path / "old.png"), np.full((64, 96), 90, np.uint8))
    (tmp_path / "out").mkdir()
    src, dst = (clip, "new.mkv") if source == "clip" else (tmp_path / "old.png", "new.png")
    status, err = run(capsys, "colorize", src, tmp_path / "out" / dst, *options)
    assert status == 2 and err.count("\n") == 1 and err.startswith("edgecolor: error: ")
    assert all(word in err for word in words), err
    assert not list((tmp_path / "out").iterdir())
