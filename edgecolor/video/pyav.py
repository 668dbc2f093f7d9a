"""What differs between the releases of PyAV that the package runs with, 14.2 to 19."""

import av

# Old tags are often not UTF-8: they pass through as they are. PyAV 19 does that by itself and has no such argument.
METADATA = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}


def side_data_of(frame: av.VideoFrame) -> list[av.sidedata.sidedata.SideData]:
    """The side data of a frame; iterating over them gives values in older releases and keys in newer ones."""
    return [frame.side_data[i] for i in range(len(frame.side_data))]
