"""The file's own motion vectors: read, laid out in cells, followed from frame to frame, and checked.
pytest tests/test_codec_motion.py
"""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from edgecolor import ColorConfig, colorize_video
from edgecolor.errors import ConfigError
from edgecolor.frames import LumaFormat, LumaFrame, Matrix
from edgecolor.motion.codec_motion import CodecMotion, vectors_to_cells
from edgecolor.motion.flow import Flow, search_picture
from edgecolor.video import EncodeOptions, VideoReader

WIDTH, HEIGHT, RATE = 320, 192, 24
STEP = (3, -2)  # px a frame that everything moves, right and up


def texture(seed: int = 5) -> np.ndarray:
    """A picture larger than the frames, with detail at every scale."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.normal(0, 1, (n, n)), (640, 640), interpolation=cv2.INTER_CUBIC) for n in (10, 30, 90)]
    return np.clip(128 + 30 * sum(layers), 0, 255).astype(np.uint8)


def moving(index: int, picture: np.ndarray) -> np.ndarray:
    left, top = 160 - STEP[0] * index, 160 - STEP[1] * index
    return np.ascontiguousarray(picture[top : top + HEIGHT, left : left + WIDTH])


def write(path, codec: str, frames: int = 24, b_frames: int = 0, still_from: int | None = None):
    picture = texture()
    options = {"preset": "medium", "b-adapt": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 3_000_000
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = b_frames, 60
        for index in range(frames):
            luma = moving(index, picture)
            planes = np.concatenate([luma.ravel(), np.full(WIDTH * HEIGHT // 2, 128, np.uint8)])
            frame = av.VideoFrame.from_ndarray(planes.reshape(HEIGHT * 3 // 2, WIDTH), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(path, vectors: bool = True) -> list[LumaFrame]:
    with VideoReader(path, vectors=vectors) as reader:
        return [item for item in reader if isinstance(item, LumaFrame)]


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "libx264"])
def test_the_vectors_of_p_frames_lead_to_where_things_were(codec, tmp_path):
    frames = frames_of(write(tmp_path / "moving.mkv", codec))
    assert frames[0].vectors is None  # an I frame
    known = [frame.vectors for frame in frames[1:] if frame.vectors is not None]
    assert len(known) >= 20
    for vectors in known[2:]:
        area = vectors[:, 2] * vectors[:, 3]
        right = np.abs(vectors[:, 4:6] + STEP).max(axis=1) <= 0.5
        assert area[right].sum() > 0.7 * area.sum() and area.sum() > 0.5 * WIDTH * HEIGHT


def test_nobody_asked_nothing_given(tmp_path):
    path = write(tmp_path / "moving.mkv", "mpeg4", frames=6)
    assert all(frame.vectors is None for frame in frames_of(path, vectors=False))


def test_beside_b_frames_only_what_is_known_to_lead_to_the_frame_before_is_given(tmp_path):
    path = write(tmp_path / "b.mkv", "libx264", b_frames=2)
    with av.open(str(path)) as container:
        types = ["?IPB"[frame.pict_type] for frame in container.decode(video=0)]
    assert types.count("B") > 8
    for before, this, frame in zip(["", *types], types, frames_of(path), strict=False):
        assert (frame.vectors is not None) == (this == "P" and before in ("I", "P"))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_cells_are_those_of_the_upright_picture(rotation):
    luma_format = LumaFormat(64, 32, 8, Matrix.BT709, False, rotation)
    vectors = np.float32([[8, 8, 16, 16, -4, 2]])  # the block in the top left corner, as decoded
    h, w = (4, 8) if rotation % 180 == 0 else (8, 4)
    cells = vectors_to_cells(vectors, luma_format, h, w)
    # Turned clockwise by quarters, the top left corner goes to the right, down, and left; so do the directions.
    corner = {0: np.s_[:2, :2], 90: np.s_[:2, -2:], 180: np.s_[-2:, -2:], 270: np.s_[-2:, :2]}[rotation]
    expected = {0: (-4, 2), 90: (-2, -4), 180: (4, -2), 270: (2, 4)}[rotation]
    np.testing.assert_allclose(cells[corner], np.broadcast_to(np.float32(expected) / 8, (2, 2, 2)))
    cells[corner] = 0
    assert not cells.any()


def uniform(dx: float, dy: float) -> np.ndarray:
    """16 x 16 blocks all over the frame."""
    x, y = np.meshgrid(np.arange(8, WIDTH, 16), np.arange(8, HEIGHT, 16))
    blocks = np.stack(np.broadcast_arrays(x, y, 16, 16, dx, dy), axis=-1)
    return blocks.reshape(-1, 6).astype(np.float32)


def test_steps_add_up_until_one_is_not_known():
    motion = CodecMotion(LumaFormat(WIDTH, HEIGHT, 8, Matrix.BT709, False), 48, 80)
    motion.follow(uniform(-3, 2))
    assert motion.cells is None  # nothing has begun
    motion.begin()
    for _ in range(3):
        motion.follow(uniform(-3, 2))
    np.testing.assert_allclose(motion.cells, np.broadcast_to(np.float32([-9, 6]) / 4, (48, 80, 2)), rtol=1e-5)
    motion.follow(None)
    motion.follow(uniform(-3, 2))
    assert motion.cells is None
    motion.begin()
    assert not motion.cells.any()


def test_vectors_that_do_not_hold_explain_little():
    pictures = [search_picture(moving(i, texture()).astype(np.float32) / 2.55) for i in (4, 0)]
    flow = Flow(HEIGHT // 4, WIDTH // 4)
    right, wrong = (
        flow.checked(*pictures, np.full((HEIGHT // 4, WIDTH // 4, 2), cells, np.float32)).shown.mean()
        for cells in ((-3, 2), (3, 0))
    )
    assert right > 0.9 and wrong < 0.5


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_colors_that_follow_the_vectors_are_those_that_follow_the_flow(codec, tmp_path, monkeypatch):
    source, searched, chroma = write(tmp_path / "moving.mkv", codec), [], {}
    towards = Flow.towards
    monkeypatch.setattr(Flow, "towards", lambda *given: searched.append(1) or towards(*given))
    for motion in ("flow", "codec"):
        searched.clear()
        config = ColorConfig(motion=motion, look_ahead=0)
        colorize_video(source, tmp_path / f"{motion}.mkv", config=config, encode=EncodeOptions(codec="ffv1"))
        with av.open(str(tmp_path / f"{motion}.mkv")) as container:
            planes = [frame.to_ndarray(format="yuv444p")[1:] for frame in container.decode(video=0)]
        chroma[motion] = np.array(planes, np.float32), len(searched)
    assert chroma["codec"][1] <= 4 < 15 < chroma["flow"][1]
    gray, away = np.abs(chroma["flow"][0] - 128).mean(), np.abs(chroma["flow"][0] - chroma["codec"][0]).mean()
    assert gray > 1 and away < 0.1 * gray


def test_another_source_of_motion_is_refused():
    with pytest.raises(ConfigError, match="motion is one of flow, codec, got 'guess'"):
        ColorConfig(motion="guess")
