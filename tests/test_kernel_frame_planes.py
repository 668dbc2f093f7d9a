"""The two frame kernels, run on the CPU thread by thread, against the NumPy stages.

The stages round to whole codes between their steps, and the kernels do not: hence Y' within 1.5 codes of 8 bits. Where
chroma sits beside the luma samples the stages move the grid and then enlarge it, interpolating twice, in steps of 1/32
of a cell. The kernels sample once, where it is exact; so they are held to the stage loosely (0.8 codes on average, as
the cells here are only 8 samples wide), and tightly to the stage's own parts, sampled exactly.
"""

import ctypes

import cv2
import numpy as np
import pytest
from cuda_on_cpu import build_for_cpu, guarded, is_guard_intact
from scipy.ndimage import map_coordinates

from edgecolor.color.chroma_table import chroma_table
from edgecolor.color.resize import shrink
from edgecolor.color.yuv import lightness_of_luma, luma_range
from edgecolor.frames import ChromaFormat, LumaFormat, Matrix, Siting
from edgecolor.kernels import LightnessJob, chroma_job, luma_plane
from edgecolor.stages.ab_to_frame import AbToChroma
from edgecolor.stages.frame_to_lightness import FrameToLightness
from edgecolor.stages.upsample_ab import UpsampleAb, fit_ab_to_luma


@pytest.fixture(scope="module")
def kernels():
    return build_for_cpu()


def picture(rng, height, width, bit_depth, full_range):
    """Soft shapes with hard edges and a little noise: (height, width) code values of the whole range."""
    small = rng.random((5, 7), dtype=np.float32)
    plane = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    plane[height // 3 :, : width // 2] += 0.3
    plane = np.clip(plane + rng.normal(0, 0.01, plane.shape), 0, 1)
    top = 2**bit_depth - 1
    low, high = (0, top) if full_range else (16 / 255 * top, 235 / 255 * top)
    return (low + plane * (high - low)).astype(np.uint8 if bit_depth == 8 else np.uint16)


def padded(plane, extra=24):
    """The same plane with rows further apart than they are long, as decoders give them."""
    wide = np.full((plane.shape[0], plane.shape[1] + extra), np.iinfo(plane.dtype).max, dtype=plane.dtype)
    wide[:, : plane.shape[1]] = plane
    return wide


def shade(luma_format, code):
    """L* of codes that need not be whole."""
    table = lightness_of_luma(luma_format.bit_depth, luma_format.full_range)
    return np.interp(code, np.arange(len(table)), table)


@pytest.mark.parametrize("rotation", (0, 90, 180, 270))
@pytest.mark.parametrize(
    ("height", "width", "bit_depth", "full_range"),
    ((72, 128, 8, False), (137, 251, 8, True), (72, 128, 10, False), (20, 30, 12, True)),
)
def test_lightness_kernel_equals_the_numpy_stage(kernels, rotation, height, width, bit_depth, full_range):
    rng = np.random.default_rng()
    luma_format = LumaFormat(width, height, bit_depth, Matrix.BT709, full_range, rotation)
    h0, w0 = (32, 64) if rotation % 180 == 0 else (64, 32)
    plane = picture(rng, height, width, bit_depth, full_range)
    wide = padded(plane)
    table = lightness_of_luma(bit_depth, full_range)
    lightness = guarded(np.full((h0, w0), np.nan, dtype=np.float32))
    luma = luma_plane(luma_format, wide.ctypes.data, wide.strides[0])
    job = LightnessJob(luma, table.ctypes.data, lightness.ctypes.data, h0, w0)
    assert kernels.edgecolorLumaToLightness(ctypes.byref(job), None) == 0
    assert is_guard_intact(lightness)
    expected = FrameToLightness(luma_format, h0, w0)(plane)[0, 0]
    # In codes, because L* is steep near black; codes below black and above white cannot be told apart.
    black, white = luma_range(bit_depth, full_range)
    codes = np.arange(black, white + 1)
    here, there = (np.interp(light, table[codes], codes) for light in (lightness, expected))
    difference = np.abs(here - there) / 2 ** (bit_depth - 8)
    assert difference.max() < 1.5 and difference.mean() < 0.5, (difference.max(), difference.mean())


def test_lightness_kernel_is_the_mean_over_each_area_where_the_factor_is_a_power_of_two(kernels):
    rng = np.random.default_rng()
    luma_format = LumaFormat(128, 64, 8, Matrix.BT709, True)
    plane = rng.integers(0, 256, (64, 128), dtype=np.uint8)
    table, lightness = lightness_of_luma(8, True), np.full((16, 32), np.nan, dtype=np.float32)
    job = LightnessJob(
        luma_plane(luma_format, plane.ctypes.data, 128), table.ctypes.data, lightness.ctypes.data, 16, 32
    )
    assert kernels.edgecolorLumaToLightness(ctypes.byref(job), None) == 0
    expected = shade(luma_format, plane.reshape(16, 4, 32, 4).astype(np.float64).mean(axis=(1, 3)))
    assert np.abs(lightness - expected).max() < 1e-3


def colorize(kernels, luma_format, chroma_format, plane, ab, saturation=1.0):
    """Run the kernel on one frame: cb, cr."""
    h, w = ab.shape[1:]
    wide = padded(plane)
    table = chroma_table(luma_format.matrix, luma_format.bit_depth, luma_format.full_range)
    workspace = guarded(np.full(5 * h * w, np.nan, dtype=np.float32))
    planes = [guarded(np.zeros((chroma_format.height, chroma_format.width), dtype=plane.dtype)) for _ in range(2)]
    job = chroma_job(luma_format, chroma_format, h, w, saturation)
    job.luma.plane, job.luma.pitch, job.chroma_pitch = wide.ctypes.data, wide.strides[0], planes[0].strides[0]
    job.ab, job.table, job.workspace = ab.ctypes.data, table.ctypes.data, workspace.ctypes.data
    job.cb, job.cr = (chroma.ctypes.data for chroma in planes)
    assert kernels.edgecolorAbToChroma(ctypes.byref(job), None) == 0
    assert all(is_guard_intact(array) for array in (*planes, workspace))
    return planes


def smooth_ab(rng, h, w, largest=40):
    ab = rng.normal(0, 1, (2, 4, 5)).astype(np.float32)
    ab = np.stack([cv2.resize(plane, (w, h), interpolation=cv2.INTER_CUBIC) for plane in ab])
    return np.ascontiguousarray(ab * (largest / np.abs(ab).max()), dtype=np.float32)


SAMPLINGS = (
    (1, 1, Siting.LEFT), (1, 1, Siting.CENTER), (1, 1, Siting.TOPLEFT), (1, 0, Siting.LEFT), (1, 0, Siting.CENTER),
    (0, 0, Siting.LEFT),
)  # fmt: skip


@pytest.mark.parametrize(("log2_x", "log2_y", "siting"), SAMPLINGS)
@pytest.mark.parametrize(
    ("height", "width", "bit_depth", "full_range", "rotation"),
    ((64, 96, 8, False, 0), (65, 97, 8, True, 90), (64, 96, 10, False, 180), (65, 97, 12, True, 270)),
)
def test_chroma_kernel_equals_the_numpy_stages(
    kernels, log2_x, log2_y, siting, height, width, bit_depth, full_range, rotation
):
    rng = np.random.default_rng()
    luma_format = LumaFormat(width, height, bit_depth, Matrix.BT709, full_range, rotation)
    chroma_format = ChromaFormat(-(-width >> log2_x), -(-height >> log2_y), log2_x, log2_y, siting)
    h, w = (8, 12) if rotation % 180 == 0 else (12, 8)
    plane, ab = picture(rng, height, width, bit_depth, full_range), smooth_ab(rng, h, w)
    planes = colorize(kernels, luma_format, chroma_format, plane, ab, 1.25)
    ab_planes, luma = UpsampleAb(luma_format, chroma_format, h, w)(ab, plane)
    expected = AbToChroma(luma_format, 1.25)(luma, ab_planes)
    exact = AbToChroma(luma_format, 1.25)(luma, upsample_exactly(luma_format, chroma_format, ab, plane, luma))
    for here, there, truth in zip(planes, expected, exact, strict=True):
        assert here.dtype == there.dtype and here.shape == there.shape
        assert np.abs(here.astype(np.float64) - there).mean() / 2 ** (bit_depth - 8) < 0.8
        difference = np.abs(here.astype(np.float64) - truth) / 2 ** (bit_depth - 8)
        # Half a code of luma may choose the next level of the table, which in shadows is several codes of chroma.
        assert np.quantile(difference, 0.99) <= 2 and difference.max() <= 12 and difference.mean() < 0.15


def upsample_exactly(luma_format, chroma_format, ab, plane, luma):
    """UpsampleAb with gain and offset sampled once, in float64, at the positions that the siting means."""
    black, white = luma_range(luma_format.bit_depth, luma_format.full_range)
    coded = np.ascontiguousarray(np.rot90(ab, luma_format.rotation // 90, axes=(1, 2)))
    gain, offset = fit_ab_to_luma(coded, shrink(plane, *coded.shape[1:]).astype(np.float32) / np.float32(white - black))
    first_x = 0.5 * (chroma_format.siting is Siting.CENTER) * chroma_format.log2_x
    first_y = 0.5 * (chroma_format.siting is not Siting.TOPLEFT) * chroma_format.log2_y
    y = np.arange(chroma_format.height) * 2**chroma_format.log2_y + first_y
    x = np.arange(chroma_format.width) * 2**chroma_format.log2_x + first_x
    rows, columns = coded.shape[1:]
    places = (y + 0.5) * rows / luma_format.height - 0.5, (x + 0.5) * columns / luma_format.width - 0.5
    grid = np.meshgrid(*places, indexing="ij")

    def sample(model):
        return map_coordinates(model.astype(np.float64), grid, order=1, mode="nearest")

    planes = [sample(gain[k]) * luma / (white - black) + sample(offset[k]) for k in range(2)]
    return np.stack(planes, axis=-1).astype(np.float32)


def test_chroma_kernel_leaves_gray_neutral_exactly(kernels):
    rng = np.random.default_rng()
    luma_format = LumaFormat(96, 64, 8, Matrix.BT601, False)
    plane, ab = picture(rng, 64, 96, 8, False), np.zeros((2, 8, 12), dtype=np.float32)
    for chroma in colorize(kernels, luma_format, ChromaFormat(48, 32, 1, 1, Siting.LEFT), plane, ab):
        assert (chroma == 128).all()


def test_chroma_kernel_keeps_colors_beyond_the_table_at_their_hue(kernels):
    rng = np.random.default_rng()
    luma_format, chroma_format = LumaFormat(96, 64, 8, Matrix.BT709, False), ChromaFormat(48, 32, 1, 1, Siting.CENTER)
    plane = np.full((64, 96), 120, dtype=np.uint8)
    ab = np.empty((2, 8, 12), dtype=np.float32)
    ab[0], ab[1] = rng.uniform(150, 400), rng.uniform(-400, -150)
    within = ab * np.float32(110 / np.abs(ab).max())
    np.testing.assert_allclose(
        colorize(kernels, luma_format, chroma_format, plane, ab),
        colorize(kernels, luma_format, chroma_format, plane, within),
        atol=1,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    (
        ("ab", None), ("cb", None), ("workspace", 2**20 + 4), ("chroma_width", 47), ("chroma_height", 33),
        ("siting", 3), ("log2_x", 2), ("chroma_pitch", 47), ("grid_width", 0), ("black_to_white", 0),
        ("saturation", -1),
    ),
)  # fmt: skip
def test_chroma_kernel_refuses_a_job_that_breaks_its_contract(kernels, field, value):
    job = chroma_job(LumaFormat(96, 64, 8, Matrix.BT709, False), ChromaFormat(48, 32, 1, 1, Siting.LEFT), 8, 12)
    somewhere = 2**20
    job.luma.plane, job.luma.pitch, job.chroma_pitch = somewhere, 96, 48
    job.ab = job.table = job.workspace = job.cb = job.cr = somewhere
    setattr(job, field, value)
    assert kernels.edgecolorAbToChroma(ctypes.byref(job), None) == 1


@pytest.mark.parametrize(("field", "value"), (("rotation", 45), ("bit_depth", 7), ("pitch", 95), ("plane", None)))
def test_lightness_kernel_refuses_a_plane_that_breaks_its_contract(kernels, field, value):
    luma = luma_plane(LumaFormat(96, 64, 8, Matrix.BT709, False), 2**20, 96)
    setattr(luma, field, value)
    job = LightnessJob(luma, 2**20, 2**20, 32, 32)
    assert kernels.edgecolorLumaToLightness(ctypes.byref(job), None) == 1
