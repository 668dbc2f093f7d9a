"""ab from the token grid to the chroma planes. pytest tests/test_stages_upsample_ab.py"""

import tarfile

import cv2
import numpy as np
import pytest
from skimage.color import rgb2lab

from edgecolor.errors import ConfigError, ShapeError
from edgecolor.frames import ChromaFormat, LumaFormat, Matrix, Siting
from edgecolor.stages.upsample_ab import UpsampleAb, fit_ab_to_luma, luma_at_chroma

SUBSAMPLINGS = [(1, 1), (1, 0), (0, 0)]


def formats(width, height, log2=(1, 1), siting=Siting.LEFT, bit_depth=8, rotation=0):
    chroma = ChromaFormat(-(-width >> log2[0]), -(-height >> log2[1]), *log2, siting)
    return LumaFormat(width, height, bit_depth, Matrix.BT709, True, rotation), chroma


def brute_force_luma_at_chroma(luma, chroma):
    """Each chroma sample weighs the luma samples around it one by one."""
    weights_x = {0: 1.0} if not chroma.log2_x else {0: 0.5, 1: 0.5}
    if chroma.log2_x and chroma.siting is not Siting.CENTER:
        weights_x = {-1: 0.25, 0: 0.5, 1: 0.25}
    weights_y = {0: 1.0} if not chroma.log2_y else {0: 0.5, 1: 0.5}
    if chroma.log2_y and chroma.siting is Siting.TOPLEFT:
        weights_y = {-1: 0.25, 0: 0.5, 1: 0.25}
    rows, columns = luma.shape
    sited = np.zeros((chroma.height, chroma.width))
    for j in range(chroma.height):
        for i in range(chroma.width):
            for dy, wy in weights_y.items():
                for dx, wx in weights_x.items():
                    y, x = (j << chroma.log2_y) + dy, (i << chroma.log2_x) + dx
                    sited[j, i] += wy * wx * luma[min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)]
    return sited


@pytest.mark.parametrize("size", [(26, 18), (27, 17), (2, 2), (1, 1)])
@pytest.mark.parametrize("log2", SUBSAMPLINGS)
@pytest.mark.parametrize("siting", list(Siting))
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_luma_at_chroma_equals_a_brute_force_inside_the_borders(size, log2, siting, bit_depth):
    luma_format, chroma = formats(*size, log2, siting, bit_depth)
    luma = np.random.default_rng(0).integers(0, 2**bit_depth, size[::-1], np.uint8 if bit_depth == 8 else np.uint16)
    sited = luma_at_chroma(luma, chroma)
    assert sited.dtype == np.float32 and sited.shape == (chroma.height, chroma.width)
    expected = brute_force_luma_at_chroma(luma, chroma)
    inner = np.s_[1:, 1:] if log2 != (0, 0) else np.s_[:, :]
    np.testing.assert_allclose(sited[inner], expected[inner], atol=0.51)
    assert sited.min() >= luma.min() and sited.max() <= luma.max()


@pytest.mark.parametrize("size", [(192, 128), (191, 127)])
@pytest.mark.parametrize("log2", SUBSAMPLINGS)
@pytest.mark.parametrize("siting", list(Siting))
def test_upsampled_ramp_of_ab_has_its_values_where_the_chroma_samples_sit(size, log2, siting):
    width, height = size
    luma_format, chroma = formats(width, height, log2, siting)
    h, w = 16, 24
    a, b = np.meshgrid((np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h)  # position in the picture, 0 to 1
    flat = np.full((height, width), 90, np.uint8)
    planes, _ = UpsampleAb(luma_format, chroma, h, w)(np.stack([a, b]).astype(np.float32) * 100, flat)
    first_x = 0.5 if log2[0] and siting is Siting.CENTER else 0
    first_y = 0.5 if log2[1] and siting is not Siting.TOPLEFT else 0
    x = ((np.arange(chroma.width) << log2[0]) + first_x + 0.5) / width * 100
    y = ((np.arange(chroma.height) << log2[1]) + first_y + 0.5) / height * 100
    inner = slice(8, -8)
    # OpenCV before 4.11 places the grid in steps of 1/32 cell.
    np.testing.assert_allclose(planes[0, :, 0][inner], x[inner], atol=100 / w / 60)
    np.testing.assert_allclose(planes[:, 0, 1][inner], y[inner], atol=100 / h / 60)


@pytest.mark.parametrize("bit_depth", [8, 10, 12])
def test_constant_ab_stays_constant_under_any_luma(bit_depth):
    luma_format, chroma = formats(96, 64, bit_depth=bit_depth)
    luma = np.random.default_rng(1).integers(0, 2**bit_depth, (64, 96), np.uint8 if bit_depth == 8 else np.uint16)
    ab = np.stack([np.full((8, 12), 30.0), np.full((8, 12), -20.0)]).astype(np.float32)
    planes, sited = UpsampleAb(luma_format, chroma, 8, 12)(ab, luma)
    assert planes.shape == (32, 48, 2) and planes.dtype == np.float32 and sited.shape == (32, 48)
    np.testing.assert_allclose(planes, np.broadcast_to([30, -20], planes.shape), atol=1e-3)


def test_gain_and_offset_give_the_ab_of_each_cell_back():
    random = np.random.default_rng(2)
    ab, guide = random.normal(0, 30, (2, 9, 11)).astype(np.float32), random.random((9, 11), dtype=np.float32)
    gain, offset = fit_ab_to_luma(ab, guide)
    np.testing.assert_allclose(gain * guide + offset, ab, atol=1e-4)


def test_gain_is_the_slope_of_ab_over_luma_where_they_are_tied():
    guide = np.random.default_rng(3).random((20, 20), dtype=np.float32)
    gain, _ = fit_ab_to_luma(np.stack([40 * guide, -15 * guide]), guide, edge_contrast=1e-4)
    np.testing.assert_allclose(gain[:, 3:-3, 3:-3].mean(axis=(1, 2)), [40, -15], rtol=1e-3)


def test_upsampling_puts_the_edge_of_color_on_the_edge_of_luma():
    luma = np.full((128, 192), 60, np.uint8)
    luma[:, 101:] = 190  # in the middle of a cell of 8 x 8
    truth = np.where(luma == 60, 40.0, -10.0).astype(np.float32)
    ab = cv2.resize(truth, (24, 16), interpolation=cv2.INTER_AREA)
    luma_format, chroma = formats(192, 128, (0, 0))
    planes, _ = UpsampleAb(luma_format, chroma, 16, 24)(np.stack([ab, ab]), luma)
    linear = cv2.resize(ab, (192, 128), interpolation=cv2.INTER_LINEAR)
    guided_error, linear_error = (np.abs(plane - truth)[:, 90:112].mean() for plane in (planes[..., 0], linear))
    assert guided_error < 0.35 * linear_error
    assert np.abs(np.diff(planes[64, :, 0]))[100] > 35  # the step itself


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("log2", [(1, 1), (0, 0)])
def test_upright_ab_lands_on_the_coded_picture(photograph, rotation, log2):
    upright = photograph[..., 1]
    ab = np.random.default_rng(4).normal(0, 30, (2, 16, 24)).astype(np.float32)
    straight, _ = UpsampleAb(*formats(384, 256, log2, Siting.CENTER), 16, 24)(ab, upright)
    coded = np.ascontiguousarray(np.rot90(upright, rotation // 90))
    turned_formats = formats(*coded.shape[::-1], log2, Siting.CENTER, rotation=rotation)
    turned, _ = UpsampleAb(*turned_formats, 16, 24)(ab, coded)
    difference = np.rot90(turned, -rotation // 90) - straight
    assert np.abs(difference).mean() < 0.5  # rounding of the guide goes the other way round


def mean_errors(rgb, log2):
    """Mean distance to the true ab of a photograph: guided, and interpolated linearly."""
    rgb = rgb[: len(rgb) // 8 * 8, : rgb.shape[1] // 8 * 8]
    lab = rgb2lab(rgb).astype(np.float32)
    luma = np.rint(rgb @ [0.2126, 0.7152, 0.0722]).astype(np.uint8)
    height, width = luma.shape
    ab = cv2.resize(lab[..., 1:], (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    luma_format, chroma = formats(width, height, log2, Siting.CENTER)
    size = (chroma.width, chroma.height)
    truth = cv2.resize(lab[..., 1:], size, interpolation=cv2.INTER_AREA)
    guided, _ = UpsampleAb(luma_format, chroma, height // 4, width // 4)(np.moveaxis(ab, -1, 0), luma)
    linear = cv2.resize(ab, size, interpolation=cv2.INTER_LINEAR)
    return [np.linalg.norm(planes - truth, axis=-1).mean() for planes in (guided, linear)]


@pytest.mark.parametrize("log2", [(1, 1), (0, 0)])
def test_guided_upsampling_beats_linear_on_a_photograph(photograph, log2):
    guided, linear = mean_errors(photograph, log2)
    assert guided < 0.95 * linear


def validation_photographs(shared, every):
    """Every n-th of the validation photographs, (H, W, 3) uint8."""
    with tarfile.open(shared / "data" / "val" / "photos-val.tar") as archive:
        for name in sorted(name for name in archive.getnames() if name.endswith(".webp"))[::every]:
            data = np.frombuffer(archive.extractfile(name).read(), np.uint8)
            yield cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_guided_upsampling_beats_linear_on_the_validation_photographs(shared):
    errors = [mean_errors(rgb, (1, 1)) for rgb in validation_photographs(shared, 25)]
    guided, linear = np.mean(errors, axis=0)
    assert len(errors) == 20 and guided < 0.96 * linear  # every 25th is a hard choice: of every 12th it is 0.915


def test_chroma_planes_of_another_size_are_refused():
    luma_format, _ = formats(96, 64)
    with pytest.raises(ConfigError, match="47 samples wide"):
        UpsampleAb(luma_format, ChromaFormat(47, 32, 1, 1, Siting.LEFT), 8, 12)
    with pytest.raises(ConfigError, match="4:4:0"):
        UpsampleAb(luma_format, ChromaFormat(96, 32, 0, 1, Siting.LEFT), 8, 12)
    with pytest.raises(ConfigError, match="1/4"):
        UpsampleAb(luma_format, ChromaFormat(24, 64, 2, 0, Siting.LEFT), 8, 12)


def test_ab_or_luma_of_another_size_is_refused():
    stage = UpsampleAb(*formats(96, 64), 8, 12)
    with pytest.raises(ShapeError, match="token grid"):
        stage(np.zeros((2, 12, 8), np.float32), np.zeros((64, 96), np.uint8))
    with pytest.raises(ShapeError, match="luma"):
        stage(np.zeros((2, 8, 12), np.float32), np.zeros((96, 64), np.uint8))


def spilled(rgb, log2):
    """Bleeding of the true ab of a photograph from a grid of cells of 8 px: guided, and interpolated linearly."""
    from edgecolor.train.bleeding import Bleeding

    rgb = rgb[: len(rgb) // 16 * 16, : rgb.shape[1] // 16 * 16]
    height, width = rgb.shape[:2]
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    ab = cv2.resize(rgb2lab(rgb).astype(np.float32)[..., 1:], (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    luma_format, chroma = formats(width, height, log2, Siting.CENTER)
    guided, _ = UpsampleAb(luma_format, chroma, height // 8, width // 8)(np.moveaxis(ab, -1, 0), luma)
    linear = cv2.resize(ab, (chroma.width, chroma.height), interpolation=cv2.INTER_LINEAR)
    found = []
    for planes in (guided, linear):
        bleeding = Bleeding()
        bleeding.add(luma, cv2.resize(np.ascontiguousarray(planes), (width, height), interpolation=cv2.INTER_LINEAR))
        found.append(bleeding)
    return found


@pytest.mark.parametrize(("log2", "share"), [((1, 1), 0.4), ((0, 0), 0.28)])
def test_color_bleeds_two_fifths_less_than_with_linear_interpolation(log2, share):
    pytest.importorskip("torch", reason="the measure is part of training")
    from skimage import data

    ratios = []
    for name in ("coffee", "astronaut", "chelsea"):
        guided, linear = spilled(getattr(data, name)(), log2)
        assert linear.edges > 30, name
        ratios.append(guided.percent() / linear.percent())
    assert max(ratios) < 0.6 and np.mean(ratios) < share, ratios


def test_colors_of_the_default_model_bleed_two_fifths_less_on_the_validation_photographs(shared):
    pytest.importorskip("torch", reason="the measure is part of training")
    from edgecolor import open_colorizer
    from edgecolor.stages.frame_to_lightness import image_to_lightness, resize_lightness, working_size
    from edgecolor.train.bleeding import Bleeding

    net = open_colorizer(threads=1).net
    found = Bleeding(), Bleeding()
    for rgb in validation_photographs(shared, 16):
        height, width = (side // 8 * 8 for side in rgb.shape[:2])
        gray = cv2.cvtColor(rgb[:height, :width], cv2.COLOR_RGB2GRAY)
        h0, w0 = working_size(width, height)
        net.start(1, h0, w0)
        ab = net.step(resize_lightness(image_to_lightness(gray), h0, w0)[None, None], 0.0)[0]
        luma_format, chroma = formats(width, height, (1, 1), Siting.CENTER)
        guided, _ = UpsampleAb(luma_format, chroma, *ab.shape[1:])(ab, gray)
        linear = cv2.resize(np.moveaxis(ab, 0, -1), (chroma.width, chroma.height))
        for bleeding, planes in zip(found, (guided, linear), strict=True):
            full = cv2.resize(np.ascontiguousarray(planes), (width, height), interpolation=cv2.INTER_LINEAR)
            bleeding.add(gray, full)
    assert found[1].edges > 1000
    assert found[0].value() < 0.6 * found[1].value()
