"""Between FFmpeg's frames and our planes: luma out of any pixel format, and three planes into a frame to encode.

YUV and gray formats give their Y' samples as they are stored. RGB becomes Y' by BT.709 in limited range, because that
is what the encoded file will hold. Formats outside the tables are first brought by FFmpeg into one inside them.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np
from av.video.format import VideoFormat

from edgecolor.errors import UnsupportedMediaError

BT709 = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class LumaLayout:
    """Where the Y' samples of a YUV or gray pixel format lie."""

    stored_bits: int  # significant bits of a sample
    dtype: str  # NumPy type of a stored sample
    step: int = 1  # samples from one Y' to the next
    offset: int = 0  # samples before the first Y'
    high_bits: bool = False  # the significant bits are the upper ones (P010 and its kin)


# pix_fmt without its byte order: (bits, samples per pixel, position of Y', significant bits on top)
_PACKED = {
    "yuyv422": (8, 2, 0, False), "yvyu422": (8, 2, 0, False), "uyvy422": (8, 2, 1, False),
    "vuya": (8, 4, 2, False), "vuyx": (8, 4, 2, False), "ayuv": (8, 4, 1, False), "uyva": (8, 4, 1, False),
    "vyu444": (8, 3, 1, False), "ya8": (8, 2, 0, False), "ya16": (16, 2, 0, False), "ayuv64": (16, 4, 1, False),
    "y210": (10, 2, 0, True), "y212": (12, 2, 0, True), "y216": (16, 2, 0, True),
    "xv36": (12, 4, 1, True), "xv48": (16, 4, 1, False), "nv20": (10, 1, 0, False),
}  # fmt: skip
_PLANAR = re.compile(r"(?:gray|yuva?j?4\d\dp)(\d*)(msb)?(le|be)?$")
_SEMIPLANAR_8 = {"nv12", "nv21", "nv16", "nv24", "nv42"}
_SEMIPLANAR_HIGH = re.compile(r"p[024](10|12|16)(le|be)$")
# pix_fmt without its byte order: the channel of each packed sample
_PACKED_RGB = {
    "rgb24": "rgb", "bgr24": "bgr", "rgba": "rgba", "bgra": "bgra", "argb": "argb", "abgr": "abgr",
    "rgb0": "rgb0", "bgr0": "bgr0", "0rgb": "0rgb", "0bgr": "0bgr",
    "rgb48": "rgb", "bgr48": "bgr", "rgba64": "rgba", "bgra64": "bgra",
}  # fmt: skip
_PLANAR_RGB = re.compile(r"gbra?p(\d*)(msb)?(le|be)?$")
# Formats whose samples straddle bytes: FFmpeg unpacks them, without loss, into these.
_UNPACKED = {
    "xv30le": "yuv444p10le", "xv30be": "yuv444p10le", "v30xle": "yuv444p10le", "v30xbe": "yuv444p10le",
    "uyyvyy411": "yuv411p", "monow": "gray", "monob": "gray",
    "x2rgb10le": "gbrp10le", "x2rgb10be": "gbrp10le", "x2bgr10le": "gbrp10le", "x2bgr10be": "gbrp10le",
}  # fmt: skip


def luma_layout(pix_fmt: str) -> LumaLayout | None:
    """The layout of a YUV or gray pixel format, None for one that has no Y' or whose Y' straddles bytes."""
    base, order = _split_byte_order(pix_fmt)
    if pix_fmt in _SEMIPLANAR_8:
        return LumaLayout(8, "u1")
    if base in _PACKED:
        bits, step, offset, high = _PACKED[base]
        return LumaLayout(bits, _dtype(bits, order), step, offset, high)
    if match := _PLANAR.match(pix_fmt):
        bits = int(match[1] or 8)
        return LumaLayout(bits, _dtype(bits, order), high_bits=bool(match[2])) if bits <= 16 else None
    if match := _SEMIPLANAR_HIGH.match(pix_fmt):
        return LumaLayout(int(match[1]), _dtype(16, order), high_bits=True)
    return None


def luma_bit_depth(pix_fmt: str) -> int:
    """Bits of the luma that `frame_to_luma` gives for a pixel format: 8, 10 or 12."""
    layout = luma_layout(_UNPACKED.get(pix_fmt, pix_fmt))
    bits = layout.stored_bits if layout else _component_bits(pix_fmt)
    return 8 if bits <= 8 else 10 if bits <= 10 else 12


def is_rgb(pix_fmt: str) -> bool:
    """True for formats whose luma has to be computed: RGB, palettes, Bayer mosaics, XYZ."""
    if pix_fmt in ("monow", "monob") or pix_fmt.startswith(("gray", "ya")):
        return False
    made = VideoFormat(pix_fmt, 2, 2)
    return made.is_rgb or made.has_palette or made.is_bayer or pix_fmt.startswith("xyz")


def chroma_shifts(pix_fmt: str) -> tuple[int, int] | None:
    """(log2_x, log2_y) of a YUV format's chroma planes; None for gray and RGB, which have none."""
    made = VideoFormat(pix_fmt, 16, 16)
    if is_rgb(pix_fmt) or sum(not part.is_alpha for part in made.components) < 3:
        return None
    return ((16 // made.chroma_width(16)).bit_length() - 1, (16 // made.chroma_height(16)).bit_length() - 1)


def has_alpha(pix_fmt: str) -> bool:
    """True if the format holds transparency, which no output keeps."""
    return any(part.is_alpha for part in VideoFormat(pix_fmt, 2, 2).components) and pix_fmt != "pal8"


def frame_to_luma(frame: av.VideoFrame, full_range: bool) -> np.ndarray:
    """Give a decoded frame's Y' plane, bit-exact up to 12 bits.

    full_range  how the values of a YUV or gray frame are meant; only matters above 12 bits
    returns     (height, width) uint8 or uint16, values in the low bits, own memory: 8 bits as stored; 9 bits times 2;
                10 and 12 bits as stored; deeper ones rounded to 12; RGB by BT.709 into limited range
    raises      UnsupportedMediaError if FFmpeg cannot unpack the pixel format
    """
    name = frame.format.name
    if is_rgb(name):
        return _rgb_to_luma(frame)
    layout = luma_layout(name)
    if layout is None:
        target = _UNPACKED.get(name, "gray16le")
        return frame_to_luma(_reformat(frame, target), full_range)
    luma = _samples(frame, 0, layout.dtype)[:, layout.offset :: layout.step][:, : frame.width]
    if layout.high_bits and layout.stored_bits < 16:
        luma = luma >> (16 - layout.stored_bits)
    return _to_supported_depth(luma, layout.stored_bits, full_range)


def planes_to_frame(planes: list[np.ndarray], pix_fmt: str, frame: av.VideoFrame | None = None) -> av.VideoFrame:
    """Put Y', Cb and Cr into a frame for the encoder, sample for sample.

    planes   three arrays in the sizes of pix_fmt's planes, uint8 or (10, 12 bits) uint16
    frame    a frame of this size and format to fill; None makes one
    """
    height, width = planes[0].shape
    frame = frame or av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows, columns = values.shape
        memory = np.frombuffer(plane, values.dtype).reshape(plane.height, plane.line_size // values.itemsize)
        memory[:rows, :columns] = values
    return frame


def _split_byte_order(pix_fmt: str) -> tuple[str, str]:
    return (pix_fmt[:-2], pix_fmt[-2:]) if pix_fmt.endswith(("le", "be")) else (pix_fmt, "le")


def _dtype(bits: int, order: str) -> str:
    return "u1" if bits <= 8 else ("<u2" if order == "le" else ">u2")


def _samples(frame: av.VideoFrame, plane: int, dtype: str) -> np.ndarray:
    """A plane's memory as (height, samples per line), padding included."""
    part = frame.planes[plane]
    if part.line_size < 0:  # stored bottom up; PyAV gives the buffer from its lowest address
        return np.frombuffer(part, dtype).reshape(part.height, -part.line_size // np.dtype(dtype).itemsize)[::-1]
    return np.frombuffer(part, dtype).reshape(part.height, part.line_size // np.dtype(dtype).itemsize)


def _to_supported_depth(luma: np.ndarray, bits: int, full_range: bool) -> np.ndarray:
    if bits <= 8:
        return np.ascontiguousarray(luma).copy() if luma.base is not None else luma
    luma = luma.astype(np.uint16)
    if bits in (10, 12):
        return luma
    if bits < 10:
        return luma << np.uint16(10 - bits)
    if full_range:
        return np.rint(luma * (4095.0 / (2**bits - 1))).astype(np.uint16)
    shift = bits - 12
    return np.minimum((luma.astype(np.uint32) + (1 << (shift - 1))) >> shift, 4095).astype(np.uint16)


def _rgb_to_luma(frame: av.VideoFrame) -> np.ndarray:
    name = frame.format.name
    base, order = _split_byte_order(name)
    planar = _PLANAR_RGB.match(name)
    if planar and int(planar[1] or 8) <= 16:
        bits = int(planar[1] or 8)
        green, blue, red = (_samples(frame, k, _dtype(bits, order))[:, : frame.width] for k in range(3))
        if planar[2]:
            red, green, blue = (part >> (16 - bits) for part in (red, green, blue))
    elif base in _PACKED_RGB:
        channels = _PACKED_RGB[base]
        bits = 16 if base[-2:] in ("48", "64") else 8
        memory = _samples(frame, 0, _dtype(bits, order))[:, : frame.width * len(channels)]
        red, green, blue = (memory[:, channels.index(c) :: len(channels)] for c in "rgb")
    else:
        deep = _component_bits(name) > 8
        return _rgb_to_luma(_reformat(frame, _UNPACKED.get(name, "rgb48le" if deep else "rgb24")))
    if bits == 8:
        # Weights as ten-thousandths: every sum is a whole number below 2^24, exact in float32 and an index.
        total = red * np.float32(2126)
        total += green * np.float32(7152)
        total += blue * np.float32(722)
        return _table_of_sums()[total.astype(np.int32)]
    depth = luma_bit_depth(name)
    total = red * BT709[0] + green * BT709[1] + blue * BT709[2]
    return np.rint((16 + total * (219 / (2**bits - 1))) * 2 ** (depth - 8)).astype(np.uint16)


@lru_cache(maxsize=1)
def _table_of_sums() -> np.ndarray:
    """Limited-range Y' of 8 bits for every sum 2126 R + 7152 G + 722 B: (2550001,) uint8."""
    sums = np.arange(255 * 10_000 + 1, dtype=np.float64)
    return np.rint(16 + sums * (219 / 2_550_000)).astype(np.uint8)


def _component_bits(pix_fmt: str) -> int:
    if pix_fmt.startswith("bayer"):
        return 16 if "16" in pix_fmt else 8  # FFmpeg spreads a mosaic's bits over three components
    return max(part.bits for part in VideoFormat(pix_fmt, 2, 2).components)


def _reformat(frame: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    try:
        if frame.format.name.startswith("yaf32"):
            raise ValueError("FFmpeg's scaler aborts the process on this one")
        # On several threads, FFmpeg's scaler now and then writes past one slice's end into the next one's first row.
        return frame.reformat(format=pix_fmt, threads=1)
    except (av.error.FFmpegError, ValueError) as error:
        raise UnsupportedMediaError(
            f"cannot read the pixel format {frame.format.name}: convert the video to yuv420p first"
        ) from error
