"""Scene cuts, on photographs and clips cut together with known cuts. pytest tests/test_scene_cut.py"""

import time
from itertools import islice

import cv2
import numpy as np
import pytest

from edgecolor.color.lab import gray_to_lightness
from edgecolor.config import ColorConfig
from edgecolor.motion.scene_cut import SceneCuts, unlikeness

NAMES = ("chelsea", "astronaut", "coffee", "rocket", "camera", "coins", "page", "moon")
THRESHOLD = ColorConfig().scene_cut
WIDTH, HEIGHT = 448, 256  # of a frame; scenes are larger, so that the camera can move over them
SPAN_X, SPAN_Y = 64, 64


def to_lightness(gray: np.ndarray) -> np.ndarray:
    """(H, W) uint8 to (HEIGHT + SPAN_Y, WIDTH + SPAN_X) float32 L*."""
    size = (WIDTH + SPAN_X, HEIGHT + SPAN_Y)
    return gray_to_lightness(cv2.resize(gray, size, interpolation=cv2.INTER_AREA) / np.float32(255))


@pytest.fixture(scope="module")
def scenes():
    """name -> (320, 512) float32 L*, larger than the frames that are cut out of it."""
    from skimage import data

    pictures = {name: getattr(data, name)() for name in NAMES}
    return {
        name: to_lightness(picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        for name, picture in pictures.items()
    }


@pytest.fixture(scope="module")
def clips(shared):
    """name -> successive frames of one scene of a clip, each as a picture of `scenes`."""
    import av

    found = {}
    # The archival clip cuts at its frames 44 and 134.
    for name, first, last in (("cockatoo.mp4", 0, 60), ("openpose_street.avi", 0, 60), ("sam2_juggle.mp4", 0, 60),
                              ("archival_bw_abomb_blast_effects.mp4", 0, 44),
                              ("archival_bw_abomb_blast_effects.mp4", 44, 90)):  # fmt: skip
        with av.open(str(shared / "data" / "video" / name)) as container:
            container.streams.video[0].thread_type = "AUTO"
            grays = (frame.to_ndarray(format="gray") for frame in islice(container.decode(video=0), first, last))
            found[name, first] = [to_lightness(gray) for gray in grays]
    return found


def view(scene: np.ndarray, x: float = 0, y: float = 0) -> np.ndarray:
    x, y = int(np.clip(x, 0, SPAN_X)), int(np.clip(y, 0, SPAN_Y))
    return scene[y : y + HEIGHT, x : x + WIDTH]


def degraded(rng, kind: str, frames: list[np.ndarray]) -> list[np.ndarray]:
    """What old film does to a scene, and lamps to a new one: (256, 448) float32 L*."""
    count, moment = len(frames), int(rng.integers(2, len(frames) - 4))
    lasts, strong = int(rng.integers(1, 4)), rng.uniform(2, 6)
    changed = []
    for i, frame in enumerate(frames):
        during = moment <= i < moment + lasts
        if kind == "flash" and during:
            frame = frame * 1.3 + 25
        elif kind == "white" and during:
            frame = frame * 0.15 + 88
        elif kind == "flicker":
            frame = frame * rng.uniform(0.75, 1.25) + rng.uniform(-6, 6)
        elif kind == "fade out":
            frame = frame * (1 - i / (count - 1))
        elif kind == "fade in":
            frame = frame * (i / (count - 1))
        elif kind == "grain":
            frame = frame + cv2.GaussianBlur(rng.normal(0, 2 * strong, frame.shape).astype(np.float32), (0, 0), 0.8)
        changed.append(np.clip(frame, 0, 100).astype(np.float32))
    return changed


KINDS = ("plain", "flash", "white", "flicker", "fade out", "fade in", "grain")


def cut_together(rng, stock: dict, shots: int) -> tuple[list[np.ndarray], set[int], set[int]]:
    """Frames of that many shots of different scenes, joined by cuts, dissolves and fades through black.

    returns  frames; those that start a scene by a cut; those over which one comes out of black or by a dissolve
    """
    frames, cuts, unclear, before = [], set(), set(), None
    for _ in range(shots):
        name = list(stock)[rng.integers(len(stock))]
        while name == before:
            name = list(stock)[rng.integers(len(stock))]
        before, kind = name, KINDS[rng.integers(len(KINDS))]
        count = int(rng.integers(12, 22))
        first = int(rng.integers(max(1, len(stock[name]) - count))) if isinstance(stock[name], list) else 0
        still = stock[name] if isinstance(stock[name], list) else [stock[name]] * count
        x, y, vx, vy = rng.uniform(0, SPAN_X), rng.uniform(0, SPAN_Y), rng.uniform(-4, 4), rng.uniform(-3, 3)
        shake = rng.choice([0, 0, 2, 6])  # px
        path = [(x + vx * i + rng.normal(0, shake), y + vy * i + rng.normal(0, shake)) for i in range(count)]
        shot = [view(picture, *at) for picture, at in zip(still[first:], path, strict=False)]
        shot = degraded(rng, kind, shot)
        if frames and kind == "fade in":
            unclear |= set(range(len(frames), len(frames) + 9))
        elif frames and rng.random() < 0.25:
            # The darker side of a dissolve can be all but gone at once, so only what comes of it is judged.
            long = int(rng.integers(6, 12))
            for i in range(long):
                share = (i + 1) / (long + 1)
                frames[i - long] = frames[i - long] * (1 - share) + shot[i] * share
            shot = shot[long:]
        elif frames:
            cuts.add(len(frames))
        frames += shot
    return frames, cuts, unclear


def precision_and_recall(stock: dict, seeds: range) -> tuple[float, float, int]:
    """Over hard cuts, and how many of them there were."""
    hits = misses = wrong = 0
    for seed in seeds:
        frames, cuts, unclear = cut_together(np.random.default_rng(seed), stock, shots=10)
        detector = SceneCuts(THRESHOLD)
        found = {i for i, frame in enumerate(frames) if detector.is_cut(frame)} - {0}
        hits, misses, wrong = hits + len(found & cuts), misses + len(cuts - found), wrong + len(found - cuts - unclear)
    return hits / (hits + wrong), hits / (hits + misses), hits + misses


def test_hard_cuts_between_photographs_are_told_from_everything_else(scenes):
    precision, recall, count = precision_and_recall(scenes, range(12))
    assert count > 60 and precision >= 0.95 and recall >= 0.95, (precision, recall, count)


def test_hard_cuts_between_clips_are_told_from_everything_else(clips):
    precision, recall, count = precision_and_recall(clips, range(12))
    assert count > 60 and precision >= 0.95 and recall >= 0.95, (precision, recall, count)


def test_the_clips_themselves_have_the_cuts_that_a_person_sees(clips):
    for name, frames in clips.items():
        detector = SceneCuts(THRESHOLD)
        assert [i for i, frame in enumerate(frames) if detector.is_cut(view(frame, 32, 32))] == [0], name
    detector = SceneCuts(THRESHOLD)
    archival = clips["archival_bw_abomb_blast_effects.mp4", 0] + clips["archival_bw_abomb_blast_effects.mp4", 44]
    assert [i for i, frame in enumerate(archival) if detector.is_cut(view(frame, 32, 32))] == [0, 44]


def test_the_first_frame_starts_a_scene_even_a_black_one(scenes):
    assert SceneCuts(THRESHOLD).is_cut(view(scenes["coffee"]))
    cuts = SceneCuts(THRESHOLD)
    assert cuts.is_cut(np.zeros((HEIGHT, WIDTH), np.float32))
    assert not cuts.is_cut(np.zeros((HEIGHT, WIDTH), np.float32))
    assert not cuts.is_cut(view(scenes["coffee"]))  # nothing came before that could be dropped


def test_every_hard_cut_between_photographs_is_seen(scenes):
    cuts = SceneCuts(THRESHOLD)
    assert all(cuts.is_cut(view(scenes[name])) for name in NAMES * 2)


def test_camera_motion_and_shake_are_no_cuts(scenes):
    rng = np.random.default_rng(1)
    for name in NAMES:
        cuts = SceneCuts(THRESHOLD)
        flags = [cuts.is_cut(view(scenes[name], x=4 * i, y=4 * i)) for i in range(16)]
        flags += [cuts.is_cut(view(scenes[name], *rng.uniform(16, 48, 2))) for _ in range(16)]
        assert not any(flags[1:]), name


def test_flash_fade_and_grain_are_no_cuts(scenes):
    rng = np.random.default_rng(0)
    for name in ("chelsea", "astronaut", "coffee", "camera"):
        frame, cuts = view(scenes[name]), SceneCuts(THRESHOLD)
        frames = [frame]
        frames += [np.clip(frame * 1.3 + 15, 0, 100), frame]  # a flash
        frames += [frame * (1 - 0.08 * i) for i in range(10)]  # a fade to dark
        frames += [np.clip(0.2 * frame + rng.normal(0, 6, frame.shape), 0, 100).astype(np.float32) for _ in range(4)]
        assert not any([cuts.is_cut(f.astype(np.float32)) for f in frames][1:]), name


def test_a_scene_that_comes_back_after_black_goes_on_and_another_one_is_new(scenes):
    black = np.zeros((HEIGHT, WIDTH), np.float32)
    for back, expected in (("coffee", False), ("camera", True)):
        cuts = SceneCuts(THRESHOLD)
        shown = [view(scenes["coffee"])] * 3 + [black] * 6 + [view(scenes[back])] * 2
        assert [cuts.is_cut(frame) for frame in shown][-2:] == [expected, False]


def test_a_dissolve_is_no_cut_at_any_length(scenes):
    for long in (6, 12, 25):
        cuts = SceneCuts(THRESHOLD)
        shares = [0] * 3 + [(i + 1) / (long + 1) for i in range(long)] + [1] * 3
        flags = [cuts.is_cut(view(scenes["coffee"]) * (1 - s) + view(scenes["chelsea"]) * s) for s in shares]
        assert not any(flags[1:]), long


def test_unlikeness_ignores_exposure_and_is_large_between_different_pictures(scenes):
    small = {name: cv2.resize(view(scenes[name]), (48, 27), interpolation=cv2.INTER_AREA) for name in NAMES}
    coffee = small["coffee"]
    assert unlikeness(coffee, coffee * np.float32(0.6) + 8) < 0.02
    assert all(unlikeness(coffee, other) > 0.5 for name, other in small.items() if name != "coffee")
    assert unlikeness([small["camera"], coffee], coffee) < 0.05  # from before a flash


def test_an_overexposed_picture_is_like_the_one_before_the_lamp(scenes):
    for name in NAMES:
        before, after = (
            cv2.resize(np.clip(view(scenes[name]) * gain + offset, 0, 100), (48, 27), interpolation=cv2.INTER_AREA)
            for gain, offset in ((1, 0), (2, 30))
        )
        assert unlikeness(before, after) < 0.4, name


def test_a_frame_costs_less_than_a_millisecond(scenes):
    frames = [np.ascontiguousarray(view(scenes["coffee"], 3 * i, 2 * i)) for i in range(16)]
    cuts, took = SceneCuts(THRESHOLD), []
    for frame in frames * 4:
        since = time.thread_time()
        cuts.is_cut(frame)
        took.append(time.thread_time() - since)
    assert np.median(took) < 1e-3
