"""What of the picture container and encoder together can hold: refused before work begins, or noted."""

from dataclasses import replace

from edgecolor.errors import UnsupportedMediaError
from edgecolor.frames import ChromaFormat, Siting
from edgecolor.video import tags
from edgecolor.video.containers import Container, containers_with
from edgecolor.video.encoders import Encoder, says_hdr
from edgecolor.video.planes import chroma_shifts
from edgecolor.video.reader import VideoReader


def check_carried(reader: VideoReader, container: Container, encoder: Encoder) -> None:
    """Raise UnsupportedMediaError, naming what can, if range, aspect ratio, rotation or chapters have no place."""
    name, full = container.extension[1:], reader.luma_format.full_range
    if full not in encoder.ranges:
        found = "full" if full else "limited"
        raise UnsupportedMediaError(f"{encoder.name} cannot hold luma in {found} range: use codec libx264")
    if full and not (encoder.says_range or container.says_range):
        raise UnsupportedMediaError(f"{name} with {encoder.name} cannot say that the luma is full range: use libx264")
    aspect = reader.sample_aspect_ratio
    if aspect not in (None, 0, 1) and not (encoder.says_aspect or container.says_aspect):
        shape = f"{aspect.numerator}:{aspect.denominator}"
        raise UnsupportedMediaError(
            f"{name} with {encoder.name} cannot keep the sample aspect ratio {shape}: "
            f"write to {containers_with('says_aspect', encoder.name) or '.mp4 with libx264'} instead"
        )
    if reader.display_matrix is not None and not container.says_rotation:
        raise UnsupportedMediaError(
            f"{name} cannot carry the rotation by {reader.luma_format.rotation} degrees: "
            f"write to {containers_with('says_rotation')} instead"
        )
    chapters = reader.span.chapters(reader.container.chapters())
    if chapters and not container.chapters:
        raise UnsupportedMediaError(
            f"{name} cannot carry the {len(chapters)} chapters: write to {containers_with('chapters')} instead"
        )


def tags_and_siting(reader: VideoReader, encoder: Encoder) -> tuple[tags.ColorTags, Siting]:
    """The color tags to write, and where the chroma that goes with them sits."""
    written = reader.tags
    if encoder.name == "mjpeg":
        return written, Siting.CENTER
    if encoder.says_siting:
        if written.chroma_location is None and reader.siting is not Siting.LEFT:
            # The source's codec implied it; the output's implies left.
            written = replace(written, chroma_location=reader.siting.value)
        return written, reader.siting
    return written, Siting.LEFT


def changes(
    reader: VideoReader, container: Container, encoder: Encoder, pix_fmt: str, chroma: ChromaFormat
) -> list[str]:
    """One line for each property of the picture that the output cannot keep as it was."""
    notes = []
    source_chroma = chroma_shifts(reader.pix_fmt)
    if source_chroma is not None and source_chroma != (chroma.log2_x, chroma.log2_y):
        notes.append(f"chroma is stored as {pix_fmt}; the source had {reader.pix_fmt} (--pix-fmt chooses)")
    if reader.rgb:
        notes.append("RGB became limited-range Y'CbCr by BT.709")
    if reader.hdr and not says_hdr(encoder):
        notes.append(f"{encoder.name} does not store the mastering display and content light data")
    if reader.tags.matrix != tags.UNTAGGED and not (container.says_colors or encoder.says_colors):
        notes.append(f"{container.extension[1:]} with {encoder.name} stores no color tags; players will guess them")
    if reader.interlaced and not encoder.interlaces:
        notes.append(f"{encoder.name} does not mark the picture as interlaced")
    return notes
