"""What differs between the releases of PyAV that the package runs with, 14.2 to 19."""

import av

_SINCE_19 = int(av.__version__.split(".")[0]) >= 19

# Old tags are often not UTF-8: they pass through as they are. PyAV 19 does that by itself and has no such argument.
METADATA = {} if _SINCE_19 else {"metadata_errors": "surrogateescape"}


def side_data_of(frame: av.VideoFrame) -> list[av.sidedata.sidedata.SideData]:
    """The side data of a frame. Since PyAV 19 iterating gives the kinds, each once, and a slice gives the data."""
    return frame.side_data[:] if _SINCE_19 else list(frame.side_data)
