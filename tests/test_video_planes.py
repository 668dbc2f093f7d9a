"""Luma out of every kind of pixel format, against FFmpeg's own conversions or a formula in float64."""

import time

import av
import numpy as np
import pytest
from av.video.format import names as pix_fmt_names
from media import bits_of, luma_of

from edgecolor.video.planes import chroma_shifts, frame_to_luma, is_rgb, luma_bit_depth, planes_to_frame

WIDTH, HEIGHT = 50, 38
HARDWARE = {
    "amf", "cuda", "d3d11", "d3d11va_vld", "d3d12", "drm_prime", "dxva2_vld", "mediacodec", "mmal", "opencl", "qsv",
    "vaapi", "vdpau", "videotoolbox_vld", "vulkan", "ohcodec",
}  # fmt: skip


def random_frame(pix_fmt: str, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> av.VideoFrame:
    """A frame with every byte random, except that unused bits are zero as the format demands."""
    frame = av.VideoFrame(width, height, pix_fmt)
    rng = np.random.default_rng(seed)
    depth = max(part.bits for part in frame.format.components)
    for plane in frame.planes:
        memory = np.frombuffer(plane, np.uint8)
        memory[:] = rng.integers(0, 256, memory.size)
        if 8 < depth < 16 and "x" not in pix_fmt.replace("xyz", ""):
            order = ">u2" if pix_fmt.endswith("be") else "<u2"
            wide = np.frombuffer(plane, order)
            high = pix_fmt.startswith(("p", "y2")) or "msb" in pix_fmt
            wide[:] = (wide >> (16 - depth)) << (16 - depth) if high else wide >> (16 - depth)
    return frame


def planar_twin(pix_fmt: str) -> str:
    """The planar little-endian format with the same depth and subsampling."""
    depth, shifts = bits_of(pix_fmt), chroma_shifts(pix_fmt)
    if shifts is None:
        return "gray" if depth <= 8 else f"gray{depth}le"
    name = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (2, 0): "411", (0, 1): "440", (2, 2): "410"}[shifts]
    return f"yuv{name}p" if depth <= 8 else f"yuv{name}p{depth}le"


YUV_UP_TO_12_BITS = [
    "gray", "gray10le", "gray10be", "gray12le", "ya8",
    "yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "yuv440p", "yuva420p", "yuva444p10le",
    "yuv420p10le", "yuv420p10be", "yuv422p10le", "yuv444p12le", "yuv420p12be", "yuv444p10msble",
    "nv12", "nv21", "nv16", "nv24", "nv42", "nv20le", "p010le", "p010be", "p012le", "p210le", "p212le", "p410le",
    "yuyv422", "yvyu422", "uyvy422", "y210le", "y212le", "vuya", "vuyx", "ayuv", "uyva", "vyu444",
    "xv30le", "v30xle", "xv36le",
]  # fmt: skip


@pytest.mark.parametrize("pix_fmt", YUV_UP_TO_12_BITS)
def test_frame_to_luma_of_yuv_and_gray_formats_is_what_ffmpeg_unpacks_bit_for_bit(pix_fmt):
    twin = pix_fmt if pix_fmt.startswith("yuvj") else planar_twin(pix_fmt)
    planar = random_frame(twin)
    packed = planar if pix_fmt == twin else planar.reformat(format=pix_fmt, threads=1)
    luma = frame_to_luma(packed, full_range=False)
    assert luma.shape == (HEIGHT, WIDTH)
    assert np.array_equal(luma, luma_of(planar))


def test_frame_to_luma_of_uyyvyy411_takes_four_of_every_six_bytes():
    frame = random_frame("uyyvyy411", 48, 6)
    groups = np.frombuffer(frame.planes[0], np.uint8).reshape(6, -1)[:, : 48 * 6 // 4].reshape(6, -1, 6)
    assert np.array_equal(frame_to_luma(frame, False), groups[:, :, [1, 2, 4, 5]].reshape(6, 48))


def test_frame_to_luma_of_p010_reads_the_high_bits():
    frame = random_frame("p010le")
    wide = np.frombuffer(frame.planes[0], "<u2").reshape(HEIGHT, -1)[:, :WIDTH]
    assert np.array_equal(frame_to_luma(frame, False), wide // 64)
    assert luma_bit_depth("p010le") == 10


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (97, 65), (101, 2)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "gray", "yuv420p10le", "gbrp"])
def test_frame_to_luma_at_odd_sizes_leaves_line_padding_out(pix_fmt, size):
    frame = random_frame(pix_fmt, *size)
    luma = frame_to_luma(frame, False)
    assert luma.shape == size[::-1]
    if pix_fmt != "gbrp":
        assert np.array_equal(luma, luma_of(frame))


def test_frame_to_luma_owns_its_memory():
    frame = random_frame("yuv420p")
    luma = frame_to_luma(frame, False)
    before = luma.copy()
    np.frombuffer(frame.planes[0], np.uint8)[:] = 0
    assert np.array_equal(luma, before)


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gray16le", 16), ("yuv420p16le", 16), ("gray14le", 14), ("ya16le", 16)])
@pytest.mark.parametrize("full_range", [False, True])
def test_frame_to_luma_above_12_bits_rounds_to_12(pix_fmt, bits, full_range):
    frame = random_frame(pix_fmt)
    step = 2 if pix_fmt.startswith("ya") else 1
    stored = np.frombuffer(frame.planes[0], "<u2").reshape(HEIGHT, -1)[:, : WIDTH * step : step].astype(np.float64)
    scale = 4095 / (2**bits - 1) if full_range else 2.0 ** (12 - bits)
    wanted = np.minimum(np.floor(stored * scale + 0.5), 4095)
    assert np.array_equal(frame_to_luma(frame, full_range), wanted)


def test_frame_to_luma_of_9_bits_doubles_into_10():
    frame = random_frame("yuv420p9le")
    assert np.array_equal(frame_to_luma(frame, False), luma_of(frame) * 2)


RGB = ["rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "0bgr", "gbrp", "gbrap", "rgb48le", "bgr48be",
       "gbrp10le", "gbrp12le", "gbrp16le", "x2rgb10le"]  # fmt: skip


@pytest.mark.parametrize("pix_fmt", RGB)
def test_frame_to_luma_of_rgb_follows_the_bt709_formula(pix_fmt):
    known = {"gbrp10le": 10, "x2rgb10le": 10, "gbrp12le": 12, "gbrp16le": 16, "rgb48le": 16, "bgr48be": 16}
    bits = known.get(pix_fmt, 8)
    rng = np.random.default_rng(1)
    green, blue, red = (rng.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.float64) for _ in range(3))
    dtype, name = (np.uint8, "gbrp") if bits == 8 else (np.uint16, f"gbrp{bits}le")
    source = av.VideoFrame(WIDTH, HEIGHT, name)
    for plane, values in zip(source.planes, (green, blue, red), strict=True):
        memory = np.frombuffer(plane, dtype).reshape(HEIGHT, -1)
        memory[:, :WIDTH] = values
    frame = source if name == pix_fmt else source.reformat(format=pix_fmt, threads=1)
    depth = min(bits, 12)
    gray = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / (2**bits - 1)
    wanted = np.rint((16 + 219 * gray) * 2 ** (depth - 8))
    assert luma_bit_depth(pix_fmt) == depth
    assert np.array_equal(frame_to_luma(frame, full_range=True), wanted)


def test_frame_to_luma_of_a_palette_looks_the_colors_up():
    frame = av.VideoFrame(4, 2, "pal8")
    indices = np.frombuffer(frame.planes[0], np.uint8).reshape(2, -1)
    indices[:, :4] = [[0, 1, 2, 3], [3, 2, 1, 0]]
    palette = np.frombuffer(frame.planes[1], np.uint8).reshape(256, 4)
    palette[:4] = [[0, 0, 0, 255], [255, 255, 255, 255], [255, 0, 0, 255], [0, 0, 255, 255]]  # BGRA
    levels = [16, 235, round(16 + 219 * 0.0722), round(16 + 219 * 0.2126)]
    assert frame_to_luma(frame, False).tolist() == [levels, levels[::-1]]


def test_frame_to_luma_of_a_bitmap_is_black_and_white():
    frame = av.VideoFrame(8, 1, "monow")
    np.frombuffer(frame.planes[0], np.uint8)[0] = 0b10100000
    assert frame_to_luma(frame, True).tolist() == [[0, 255, 0, 255, 255, 255, 255, 255]]


def test_every_software_pixel_format_gives_luma_or_says_that_it_cannot():
    from edgecolor.errors import UnsupportedMediaError

    refused = []
    for name in sorted(pix_fmt_names - HARDWARE):
        try:
            luma = frame_to_luma(random_frame(name, 16, 8), False)
        except UnsupportedMediaError as error:
            assert "\n" not in str(error)
            refused.append(name)
            continue
        assert luma.shape == (8, 16), name
        assert luma.dtype == (np.uint8 if luma_bit_depth(name) == 8 else np.uint16), name
        assert luma.max() < 2 ** luma_bit_depth(name), name
    # Dumps of 32-bit numbers, nibbles, and unusual byte orders: no decoder of a film gives these.
    odd = ("rgb96le", "rgb4", "bgr4")
    assert all("32" in name or "128" in name or name.endswith("be") or name in odd for name in refused), refused


@pytest.mark.parametrize(
    ("pix_fmt", "shifts"),
    [("yuv420p", (1, 1)), ("yuyv422", (1, 0)), ("yuv411p", (2, 0)), ("p410le", (0, 0)), ("nv12", (1, 1)),
     ("gray", None), ("ya8", None), ("rgb24", None), ("gbrp10le", None), ("pal8", None)],
)  # fmt: skip
def test_chroma_shifts_tells_the_subsampling_of_yuv_and_none_for_the_rest(pix_fmt, shifts):
    assert chroma_shifts(pix_fmt) == shifts
    assert is_rgb(pix_fmt) == (pix_fmt in ("rgb24", "gbrp10le", "pal8"))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p10le", "yuv420p12le"])
def test_planes_to_frame_puts_every_sample_in_its_place(pix_fmt):
    width, height = 97, 65
    twin = random_frame(pix_fmt, width, height)
    dtype = np.uint8 if pix_fmt.endswith("p") else np.uint16
    planes = [np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width].copy() for plane in twin.planes]
    made = planes_to_frame(planes, pix_fmt)
    again = [np.frombuffer(p, dtype).reshape(p.height, -1)[:, : p.width] for p in made.planes]
    assert all(np.array_equal(a, b) for a, b in zip(planes, again, strict=True))


def test_frame_to_luma_of_a_720p_frame_is_fast():
    frame = random_frame("yuv420p", 1280, 720)
    spans = []
    for _ in range(20):
        start = time.perf_counter()
        frame_to_luma(frame, False)
        spans.append(time.perf_counter() - start)
    assert min(spans) < 0.002  # 0.1 ms on an idle machine; rows in a Python loop would take ten times as long
