"""What differs between the releases of PyAV that the package runs with, 17.1 to 19."""

import av
from av.sidedata.sidedata import SideData, Type

_SINCE_19 = int(av.__version__.split(".")[0]) >= 19

# Old tags are often not UTF-8: they pass through as they are. PyAV 19 does that by itself and has no such argument.
METADATA = {} if _SINCE_19 else {"metadata_errors": "surrogateescape"}


def side_data_of(frame: av.VideoFrame) -> list[SideData]:
    """The side data of a frame. Since PyAV 19 iterating gives the kinds, each once, and a slice gives the data."""
    return frame.side_data[:] if _SINCE_19 else list(frame.side_data)


def _nameless_kind(kinds: type[Type], number: object) -> Type | None:
    if not isinstance(number, int):
        return None
    kind = object.__new__(kinds)
    kind._name_, kind._value_ = f"KIND_{number}", number
    return kinds._value2member_map_.setdefault(number, kind)


# FFmpeg knows more kinds of side data than PyAV's list, such as Exif since 8.0. By itself PyAV raises ValueError then
# and reads none of the frame's side data, its rotation neither.
Type._missing_ = classmethod(_nameless_kind)
