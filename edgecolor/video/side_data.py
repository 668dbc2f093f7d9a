"""What a frame carries beside its samples: rotation, HDR mastering data, closed captions."""

import struct
from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import Type

from edgecolor.video.pyav import side_data_of

_TRAVELS_WITH_FRAME = (Type.A53_CC, Type.AFD, Type.DYNAMIC_HDR_PLUS, Type.S12M_TIMECODE)
_ONE = 1 << 16  # 1.0 in a display matrix


@dataclass(frozen=True)
class HdrMetadata:
    """SMPTE ST 2086 mastering display and CTA-861.3 content light, where the file states them."""

    primaries: tuple[tuple[float, float], ...] | None = None  # CIE xy of red, green, blue, white
    luminance: tuple[float, float] | None = None  # lowest and highest of the mastering display, cd/m2
    content_light: tuple[int, int] | None = None  # brightest sample and brightest frame average, cd/m2


def display_matrix(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, ...] | None:
    """The nine numbers by which a player places the picture, None if it is upright.

    Old files say it in a metadata entry `rotate`, in degrees clockwise.
    """
    for data in side_data_of(frame):
        if data.type == Type.DISPLAYMATRIX:
            matrix = struct.unpack("<9i", bytes(data))
            return None if matrix == _turned(0) else matrix
    degrees = next((value for key, value in stream.metadata.items() if key.lower() == "rotate"), "0")
    turns = round(float(degrees) / 90) % 4 if degrees.lstrip("-").replace(".", "", 1).isdecimal() else 0
    return _turned(turns) if turns else None


def clockwise_rotation(matrix: tuple[int, ...] | None) -> int:
    """Degrees clockwise, in quarter turns, by which the matrix turns the picture upright; mirroring is left out."""
    if matrix is None:
        return 0
    angle = np.degrees(np.arctan2(matrix[1], matrix[0]))
    return round(angle / 90) % 4 * 90


def hdr_metadata(frame: av.VideoFrame) -> HdrMetadata | None:
    """The HDR data that the decoder attached to a frame, None if there is none."""
    primaries = luminance = light = None
    for data in side_data_of(frame):
        if data.type == Type.MASTERING_DISPLAY_METADATA:
            # AVMasteringDisplayMetadata: rationals of the primaries (x, y), white point, lowest and highest luminance;
            # then whether either half is set.
            *numbers, has_primaries, has_luminance = struct.unpack_from("<22i", bytes(data))
            values = [n / d if d else 0.0 for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
            primaries = tuple(zip(values[0:8:2], values[1:8:2], strict=True)) if has_primaries else None
            luminance = (values[8], values[9]) if has_luminance else None
        elif data.type == Type.CONTENT_LIGHT_LEVEL:
            light = struct.unpack_from("<2I", bytes(data))
    return HdrMetadata(primaries, luminance, light) if primaries or luminance or light else None


def carries_captions(frame: av.VideoFrame) -> bool:
    """True if the frame holds closed captions or the like, which belong to this frame alone."""
    return any(data.type in _TRAVELS_WITH_FRAME for data in side_data_of(frame))


def _turned(quarters: int) -> tuple[int, ...]:
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    return (cos * _ONE, sin * _ONE, 0, -sin * _ONE, cos * _ONE, 0, 0, 0, 1 << 30)
