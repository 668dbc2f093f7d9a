"""edgecolor: colorize black-and-white video files, at close to transcode speed, without flicker, losing nothing.

    >>> import edgecolor
    >>> rgb = edgecolor.colorize_image(gray)                        # (H, W) uint8 -> (H, W, 3) uint8 RGB
    >>> report = edgecolor.colorize_video("old.mp4", "new.mp4")

Nothing heavy is imported before a name is used.
"""

import importlib
from typing import TYPE_CHECKING

from edgecolor.config import ColorConfig
from edgecolor.errors import EdgeColorError

if TYPE_CHECKING:
    from edgecolor.colorize import VideoReport, colorize_image, colorize_video, open_colorizer
    from edgecolor.hints import Hint
    from edgecolor.pipeline import Colorizer
    from edgecolor.video import EncodeOptions

__version__ = "0.1.0"

_WHERE = {
    "colorize_image": "edgecolor.colorize",
    "colorize_video": "edgecolor.colorize",
    "open_colorizer": "edgecolor.colorize",
    "VideoReport": "edgecolor.colorize",
    "Colorizer": "edgecolor.pipeline",
    "Hint": "edgecolor.hints",
    "EncodeOptions": "edgecolor.video",
}
__all__ = [
    "ColorConfig",
    "Colorizer",
    "EdgeColorError",
    "EncodeOptions",
    "Hint",
    "VideoReport",
    "colorize_image",
    "colorize_video",
    "open_colorizer",
]


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'edgecolor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
