"""Video files in and out: the only part that imports PyAV."""

from edgecolor.video.damage import Damage
from edgecolor.video.encoders import EncodeOptions
from edgecolor.video.reader import CopiedPacket, VideoReader
from edgecolor.video.writer import VideoWriter

__all__ = ["CopiedPacket", "Damage", "EncodeOptions", "VideoReader", "VideoWriter"]
