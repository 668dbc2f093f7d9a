"""shrink(): exact geometry, nothing skipped. pytest tests/test_color_resize.py"""

import numpy as np
import pytest

from edgecolor.color.resize import shrink


def area_mean(plane, height, width):
    """Mean over the exact area of every output sample, by integrating and differencing."""

    def along_rows(plane, count):
        integral = np.concatenate([np.zeros((1, plane.shape[1])), np.cumsum(plane, axis=0)])
        edges = np.linspace(0, len(plane), count + 1)
        at = np.stack([np.interp(edges, np.arange(len(plane) + 1), column) for column in integral.T], axis=1)
        return np.diff(at, axis=0) * count / len(plane)

    return along_rows(along_rows(plane.astype(np.float64), height).T, width).T


@pytest.mark.parametrize("size", [(256, 384), (255, 381), (101, 67), (128, 192)])
def test_shrink_of_a_ramp_has_no_shift_and_no_stretch(size):
    rows, columns = size
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    for plane, span, axis in ((y, rows, 0), (x, columns, 1)):
        small = shrink(plane, 32, 24)
        count = small.shape[axis]
        expected = (np.arange(count) + 0.5) * span / count - 0.5
        found = small.mean(axis=1 - axis)
        # OpenCV before 4.11 places samples of a cropped plane in steps of 1/32.
        np.testing.assert_allclose(found[1:-1], expected[1:-1], atol=span / count / 32)


@pytest.mark.parametrize("size", [(64, 96), (48, 88), (100, 150)])
def test_shrink_of_a_photograph_is_close_to_the_mean_over_the_area(photograph, size):
    luma = photograph[..., 1]
    difference = shrink(luma, *size) - area_mean(luma, *size)
    assert np.abs(difference).mean() < 3 and abs(difference.mean()) < 0.3


def test_shrink_skips_no_sample():
    checkers = (np.indices((512, 768)).sum(axis=0) % 2 * 200).astype(np.uint8)
    for size in ((256, 384), (160, 250), (64, 96), (70, 100)):
        small = shrink(checkers, *size).astype(int)
        assert abs(small.mean() - 100) < 3, size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_shrink_keeps_type_and_constant_planes(dtype):
    for shape in ((37, 53), (400, 600), (8, 8), (1, 1), (3, 2000)):
        small = shrink(np.full(shape, 201, dtype), 16, 24)
        assert small.dtype == dtype and small.shape == (16, 24) and (small == 201).all()


def test_shrink_to_the_same_size_changes_nothing():
    plane = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
    assert (shrink(plane, 20, 30) == plane).all()


def test_shrink_enlarges_small_planes_without_overshoot():
    edge = np.zeros((10, 10), np.uint8)
    edge[:, 5:] = 200
    large = shrink(edge, 40, 40)
    assert large.min() == 0 and large.max() == 200 and (np.diff(large.astype(int), axis=1) >= 0).all()
