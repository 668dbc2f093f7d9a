"""What several test files need: the shared data, where it is, and the shipped model."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A busy machine must not fail a property, so no time limit for an example.
settings.register_profile("edgecolor", deadline=None, max_examples=50)
settings.load_profile("edgecolor")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with photographs, clips and ImageNet weights; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("EDGECOLOR_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("needs the shared data: set EDGECOLOR_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def colorizer():
    """The default model, opened once."""
    from edgecolor import open_colorizer

    return open_colorizer()


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """A color photograph, (256, 384, 3) uint8 RGB, from scikit-image."""
    import cv2
    from skimage import data

    rgb = data.coffee()[:384, :576]
    return cv2.resize(rgb, (384, 256), interpolation=cv2.INTER_AREA)
