"""Blending what two looks leave behind. pytest tests/test_look_state.py"""

import numpy as np
import pytest

from edgecolor.look_state import blend
from edgecolor.stages.logits_to_ab import bilinear

H, W = 12, 20


@pytest.mark.parametrize("channels", [1, 2, 64, 65, 313])  # OpenCV brings 64 at a time along
@pytest.mark.parametrize("by", [(0.0, 0.0), (3.0, -2.0), (0.5, 0.25), (-1.25, 0.75)])
def test_the_other_look_is_sampled_where_the_motion_leads(channels, by):
    rng = np.random.default_rng(4)
    own, other = rng.random((2, H, W, channels), dtype=np.float32)
    cells = np.broadcast_to(np.float32(by), (H, W, 2))
    share = rng.random((H, W), dtype=np.float32)
    columns, rows = np.meshgrid(np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32))
    there = bilinear(other, columns + by[0], rows + by[1])
    expected = (1 - share[..., None]) * own + share[..., None] * there
    before = own.copy(), other.copy()
    np.testing.assert_allclose(blend(own, other, cells, share), expected, atol=1e-5)
    assert np.array_equal(own, before[0]) and np.array_equal(other, before[1])


def test_what_hardly_moves_is_taken_from_its_own_place():
    other = np.random.default_rng(5).random((H, W, 3), dtype=np.float32)
    cells = np.full((H, W, 2), 0.04, np.float32)
    np.testing.assert_array_equal(blend(np.zeros_like(other), other, cells, np.ones((H, W), np.float32)), other)
