"""Motion vectors that the video's own encoder found, of frames for which the file says what they refer to."""

import av
import numpy as np
from av.codec.context import Flags2
from av.video.frame import PictureType

FIELDS = ("dst_x", "dst_y", "w", "h")


class MotionVectors:
    """Reads the vectors of one stream's frames, in the order in which they are shown.

    Decoders do not tell which frame a vector leads to. Those of a P frame lead to the I or P frame before it; so only P
    frames that are shown right after such a one have vectors here, and few where there are B frames. H.264 may refer
    further back: whoever uses the vectors must look whether they hold.
    """

    def __init__(self, codec: av.VideoCodecContext):
        codec.flags2 |= Flags2.export_mvs
        self._before: PictureType | None = None  # the frame that was shown before

    def forget(self) -> None:
        """The next frame is not the one after the last."""
        self._before = None

    def of(self, frame: av.VideoFrame) -> np.ndarray | None:
        """The next frame's: see LumaFrame.vectors."""
        before, self._before = self._before, PictureType(frame.pict_type)
        follows = self._before == PictureType.P and before in (PictureType.I, PictureType.P)
        found = frame.side_data.get("MOTION_VECTORS") if follows else None
        if found is None:
            return None
        found = found.to_ndarray()
        found = found[found["source"] < 0]
        scale = np.maximum(found["motion_scale"], 1)
        columns = [*(found[name] for name in FIELDS), found["motion_x"] / scale, found["motion_y"] / scale]
        return np.stack(columns, axis=1).astype(np.float32)
