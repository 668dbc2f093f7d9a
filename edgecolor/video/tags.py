"""Color tags: what the file says about matrix, primaries, transfer, range and chroma siting, and what we take it for.

The numbers are those of ITU-T H.273, which every container and codec here shares.
"""

from dataclasses import dataclass, replace

from edgecolor.frames import LumaFormat, Matrix, Siting

RGB, BT709, UNTAGGED, FCC, BT470BG, SMPTE170M, SMPTE240M, BT2020_NCL, BT2020_CL = 0, 1, 2, 4, 5, 6, 7, 9, 10
LIMITED, FULL = 1, 2  # FFmpeg's numbers for the range; 0 is untagged

_MATRICES = {
    BT709: Matrix.BT709,
    FCC: Matrix.BT601,
    BT470BG: Matrix.BT601,
    SMPTE170M: Matrix.BT601,
    SMPTE240M: Matrix.BT709,  # weights differ from BT.709's by less than 0.015
    BT2020_NCL: Matrix.BT2020,
}
_TAG_OF_MATRIX = {Matrix.BT601: SMPTE170M, Matrix.BT709: BT709, Matrix.BT2020: BT2020_NCL}
SITINGS = {"left": Siting.LEFT, "center": Siting.CENTER, "topleft": Siting.TOPLEFT}
_FULL_RANGE_FORMATS = ("yuvj", "mono", "grayf", "yaf")  # JPEG's, bitmaps, and floats from 0 to 1
_CENTERED_CODECS = {"mjpeg", "mjpegb", "jpeg2000", "jpegls", "ljpeg", "mpeg1video", "webp"}


@dataclass(frozen=True)
class ColorTags:
    """The tags as the file has them; untagged is 2 for the first three, 0 for the range, None for the siting."""

    matrix: int = UNTAGGED
    primaries: int = UNTAGGED
    transfer: int = UNTAGGED
    range: int = 0
    chroma_location: str | None = None  # FFmpeg's name: left, center, topleft, top, bottomleft, bottom


def understand(tags: ColorTags, width: int, height: int, pix_fmt: str, rgb: bool) -> tuple[Matrix, bool]:
    """(matrix, full range) of a picture: the tags where they say it, else what players assume.

    Untagged YUV is BT.709 from 1280 columns or 720 rows on and BT.601 below; limited range unless the pixel format is
    full by its nature (yuvj420p and its kin). RGB is turned into limited BT.709 by us, whatever its tags.
    """
    if rgb:
        return Matrix.BT709, False
    if tags.matrix in _MATRICES:
        matrix = _MATRICES[tags.matrix]
    elif tags.primaries == BT2020_NCL or tags.matrix == BT2020_CL:
        matrix = Matrix.BT2020
    else:
        matrix = Matrix.BT709 if width >= 1280 or height >= 720 else Matrix.BT601
    full = tags.range == FULL if tags.range else pix_fmt.startswith(_FULL_RANGE_FORMATS)
    return matrix, full


def tags_to_write(tags: ColorTags, luma: LumaFormat, rgb: bool) -> ColorTags:
    """The tags for the output: those of the source, except where keeping them would change what is seen."""
    if rgb:
        # The Y'CbCr that we make from RGB is limited BT.709; a small untagged picture would be taken for BT.601.
        return replace(tags, matrix=BT709, range=LIMITED, chroma_location=None)
    if tags.matrix != UNTAGGED and tags.matrix not in _MATRICES:
        # YCgCo, ICtCp and constant luminance: the chroma that we write is not of that kind.
        tags = replace(tags, matrix=_TAG_OF_MATRIX[luma.matrix])
    if luma.full_range and not tags.range:
        tags = replace(tags, range=FULL)  # said by the pixel format alone, which the output may not share
    return tags


def siting_of(tags: ColorTags, codec: str) -> Siting:
    """Where the chroma samples sit: the tag, else center for JPEG and MPEG-1, left for the rest."""
    if tags.chroma_location in SITINGS:
        return SITINGS[tags.chroma_location]
    return Siting.CENTER if codec in _CENTERED_CODECS else Siting.LEFT
