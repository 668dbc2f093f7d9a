"""Sources beside the ordinary: Exif in every frame, old and odd codecs. pytest tests/test_video_sources.py"""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from media import decode, demux, luma_of, make_video, recolor
from PIL import Image

from edgecolor.video import EncodeOptions, VideoReader

LOSSLESS = EncodeOptions(codec="ffv1")


def jpeg_with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = orientation, "Maker"
    file = io.BytesIO()
    Image.fromarray((np.arange(96 * 64).reshape(64, 96) % 200 + 20).astype(np.uint8)).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.mov", "a.avi"])
@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_motion_jpeg_with_exif_is_read_and_stands_as_players_show_it(tmp_path, name, orientation):
    with av.open(str(tmp_path / name), "w") as output:
        stream = output.add_mux_stream("mjpeg", width=96, height=64, rate=25)
        stream.time_base = Fraction(1, 25)
        for index in range(5):
            packet = av.Packet(jpeg_with_exif(orientation))
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = index
            output.mux(packet)
    with av.open(str(tmp_path / name)) as container:  # PyAV asks FFmpeg for the rotation, and not for a list
        clockwise = -next(container.decode(video=0)).rotation % 360
    with VideoReader(tmp_path / name) as reader:
        assert reader.luma_format.rotation == clockwise
    recolor(tmp_path / name, tmp_path / "b.mkv", LOSSLESS)
    frames = decode(tmp_path / "b.mkv")
    assert len(frames) == 5 and -frames[0].rotation % 360 == clockwise


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size"),
    [
        ("a.dv", "dvvideo", "yuv420p", (720, 576)),
        ("a.avi", "dvvideo", "yuv411p", (720, 480)),
        ("a.mpg", "mpeg1video", "yuv420p", (352, 288)),
        ("a.vob", "mpeg2video", "yuv420p", (720, 576)),
        ("a.mxf", "mpeg2video", "yuv422p", (720, 576)),
        ("a.mxf", "jpeg2000", "gray", (352, 288)),
        ("a.wmv", "wmv2", "yuv420p", (352, 288)),
        ("a.flv", "flv", "yuv420p", (352, 288)),
        ("a.3gp", "h263", "yuv420p", (352, 288)),
        ("a.avi", "huffyuv", "yuv422p", (352, 288)),
        ("a.avi", "utvideo", "yuv420p", (352, 288)),
        ("a.avi", "rawvideo", "gray", (352, 288)),
        ("a.mov", "tiff", "gray", (96, 64)),
        ("a.mov", "v210", "yuv422p10le", (720, 480)),
    ],
)
def test_codecs_of_old_material_are_read_frame_by_frame(tmp_path, name, codec, pix_fmt, size):
    rate = Fraction(30000, 1001) if size[1] == 480 else Fraction(25)
    clip = {"codec": codec, "pix_fmt": pix_fmt, "width": size[0], "height": size[1], "rate": rate}
    source = make_video(tmp_path / name, **clip, time_base=1 / rate, pts=range(8), options={})
    recolor(source, tmp_path / "b.mkv", LOSSLESS)
    before, after = decode(source), decode(tmp_path / "b.mkv")
    assert len(after) == len(before) >= 7
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(luma_of(new), luma_of(old))
    first = demux(tmp_path / "b.mkv")[0].seconds
    assert all(abs(b - a - 1 / rate) < Fraction(1, 500) for a, b in zip(first, first[1:], strict=False))
