"""Luma, bit depth, range, size and tags through the whole path, and what is refused for them."""

from fractions import Fraction

import av
import numpy as np
import pytest
from media import FRAMES, bits_of, decode, fill, luma_of, make_video, moving_luma, recolor

from edgecolor.errors import ConfigError, ShapeError, UnsupportedMediaError
from edgecolor.frames import ColorFrame, LumaFrame, Matrix, Siting
from edgecolor.video import EncodeOptions, VideoReader, VideoWriter
from edgecolor.video.pyav import side_data_of

FFV1 = EncodeOptions(codec="ffv1")
FEW = {"pts": [40 * i for i in range(4)], "time_base": Fraction(1, 1000)}


def noise_frames(pix_fmt: str, count: int = 4, width: int = 96, height: int = 64) -> list[av.VideoFrame]:
    """Random samples over the whole value range of a planar format."""
    rng, frames = np.random.default_rng(7), []
    dtype = np.uint8 if bits_of(pix_fmt) == 8 else np.uint16
    for _ in range(count):
        frame = av.VideoFrame(width, height, pix_fmt)
        planes = [
            rng.integers(0, 1 << bits_of(pix_fmt), (plane.height, plane.width)).astype(dtype) for plane in frame.planes
        ]
        frames.append(fill(frame, planes))
    return frames


@pytest.mark.parametrize("range_", [0, 1, 2])
@pytest.mark.parametrize(
    ("pix_fmt", "out"),
    [("gray", "yuv420p"), ("gray10le", "yuv420p10le"), ("gray12le", "yuv420p12le"), ("yuv420p", "yuv420p"),
     ("yuv422p", "yuv422p"), ("yuv444p", "yuv444p"), ("yuv420p10le", "yuv420p10le"), ("yuv422p10le", "yuv422p10le"),
     ("yuv444p12le", "yuv444p12le"), ("yuv411p", "yuv420p"), ("yuv440p", "yuv420p")],
)  # fmt: skip
def test_luma_through_the_whole_path_is_bit_exact_in_its_depth_range_and_subsampling(tmp_path, pix_fmt, out, range_):
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", pix_fmt=pix_fmt, frames=noise_frames(pix_fmt),
                        range=range_)  # fmt: skip
    reader, writer = recolor(source, tmp_path / "b.mkv", FFV1)
    before, after = decode(source), decode(tmp_path / "b.mkv")
    assert reader.luma_format.full_range == (range_ == 2)
    assert writer.pix_fmt == out
    assert [f.format.name for f in after] == [out] * 4
    assert all(np.array_equal(luma_of(a), luma_of(b)) for a, b in zip(before, after, strict=True))
    assert {f.color_range for f in after} == {range_}


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name", "asked"),
    [("libx264", "yuv420p", "b.mp4", None), ("libx264", "yuv422p10le", "b.mkv", "yuv422p10le"),
     ("libx264", "yuv444p", "b.ts", "yuv444p"), ("libx265", "yuv420p12le", "b.mp4", None),
     ("libx265", "yuv444p10le", "b.mkv", "yuv444p10le"), ("libvpx-vp9", "yuv420p", "b.webm", None),
     ("libsvtav1", "yuv420p10le", "b.mkv", None), ("prores_ks", "yuv422p10le", "b.mov", None),
     ("mpeg4", "yuv420p", "b.avi", None)],
)  # fmt: skip
def test_lossy_codecs_keep_depth_format_and_a_picture_close_to_the_source(tmp_path, codec, pix_fmt, name, asked):
    bits = bits_of(pix_fmt)
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", pix_fmt=pix_fmt, range=1)
    _, writer = recolor(source, tmp_path / name, EncodeOptions(codec=codec, pix_fmt=asked), cb=100 << (bits - 8))
    after = decode(tmp_path / name)
    assert len(after) == 4
    assert after[0].format.name == pix_fmt == writer.pix_fmt
    off = np.abs(luma_of(after[1]).astype(float) - moving_luma(1, bit_depth=bits)) / 2 ** (bits - 8)
    assert off.mean() < 1.5
    chroma = np.frombuffer(after[1].planes[1], np.uint8 if bits == 8 else np.uint16)
    assert abs(np.median(chroma) / 2 ** (bits - 8) - 100) < 1.5


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "out"),
    [("b.mp4", None, "yuv444p", "yuv420p"), ("b.mov", None, "yuv422p10le", "yuv420p10le"),
     ("b.webm", None, "yuv444p", "yuv420p"), ("b.mov", "prores_ks", "yuv422p10le", "yuv422p10le"),
     ("b.mkv", "ffv1", "yuv444p", "yuv444p")],
)  # fmt: skip
def test_copies_to_watch_are_4_2_0_which_plays_everywhere_and_masters_keep_the_chroma_layout(
    tmp_path, name, codec, pix_fmt, out
):
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", pix_fmt=pix_fmt, range=1)
    _, writer = recolor(source, tmp_path / name, EncodeOptions(codec=codec))
    assert decode(tmp_path / name)[0].format.name == out
    said = [f"chroma is stored as {out}; the source had {pix_fmt} (--pix-fmt chooses)"]
    assert [note for note in writer.notes if "chroma" in note] == (said if out != pix_fmt else [])


@pytest.mark.parametrize(
    ("name", "pix_fmt", "codec"),
    [("b.mp4", "yuv420p", "libx264"), ("b.mov", "yuv420p", "libx264"), ("b.m4v", "yuv420p", "libx264"),
     ("b.mkv", "yuv420p10le", "libx264"), ("b.ts", "yuv420p10le", "libx264"), ("b.avi", "yuv420p", "libx264"),
     ("b.webm", "yuv420p", "libvpx-vp9"), ("b.webm", "yuv420p10le", "libsvtav1"), ("b.mp4", "yuv420p12le", "libx265"),
     ("b.mkv", "gray12le", "libx265")],
)  # fmt: skip
def test_default_codec_fits_container_and_bit_depth(tmp_path, name, pix_fmt, codec):
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", pix_fmt=pix_fmt)
    with VideoReader(source) as reader:
        writer = VideoWriter(tmp_path / name, reader)
        writer.abort()
    assert writer.encoder.name == codec


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.ts", "b.avi"])
def test_full_range_stays_full_range_and_limited_limited(tmp_path, name):
    for range_ in (1, 2):
        source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", range=range_, matrix=1, primaries=1, transfer=1)
        recolor(source, tmp_path / name, EncodeOptions(crf=1))
        after = decode(tmp_path / name)[0]
        assert after.color_range == range_
        assert (after.colorspace, after.color_primaries, after.color_trc) == (1, 1, 1)
        assert np.abs(luma_of(after).astype(int) - moving_luma(0)).max() <= 3
        (tmp_path / name).unlink()


@pytest.mark.parametrize("size", [(97, 65), (96, 65), (97, 64), (1, 1)])
@pytest.mark.parametrize(("codec", "name"), [(None, "b.mp4"), ("ffv1", "b.mkv")])
def test_odd_sizes_are_kept_in_4_4_4_where_the_encoder_refuses_odd_4_2_0(tmp_path, size, codec, name):
    width, height = size
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", width=width, height=height)
    _, writer = recolor(source, tmp_path / name, EncodeOptions(codec=codec))
    after = decode(tmp_path / name)[0]
    assert (after.width, after.height) == size
    assert after.format.name == ("yuv420p" if codec else "yuv444p")
    expected = (width, height) if codec is None else ((width + 1) // 2, (height + 1) // 2)
    assert (writer.chroma_format.width, writer.chroma_format.height) == expected
    if codec:
        assert np.array_equal(luma_of(after), luma_of(decode(source)[0]))


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [("ffv1", "bgr0"), ("ffv1", "gbrp10le"), ("png", "rgb24"), ("png", "gray"), ("qtrle", "rgb24")],
)
def test_rgb_becomes_limited_bt709_and_is_tagged_so(tmp_path, codec, pix_fmt):
    frames = []
    for k in range(4):
        frame = av.VideoFrame(96, 64, "gbrp" if "10" not in pix_fmt else pix_fmt)
        fill(frame, [[40, 700][frame.format.name != "gbrp"] + k, 90, 200])
        frames.append(frame.reformat(format=pix_fmt, threads=1))
    name = "a.mkv" if codec == "ffv1" else "a.mov"
    source = make_video(tmp_path / name, **FEW, codec=codec, pix_fmt=pix_fmt, frames=frames, options={})
    reader, _ = recolor(source, tmp_path / "b.mkv", FFV1)
    after = decode(tmp_path / "b.mkv")[0]
    if pix_fmt == "gray":
        assert reader.luma_format.full_range and after.color_range == 2  # PNG says so itself
        return
    assert reader.luma_format.matrix is Matrix.BT709 and not reader.luma_format.full_range
    assert (after.colorspace, after.color_range) == (1, 1)
    top = 2 ** bits_of(pix_fmt) - 1
    green, blue, red = (40, 90, 200) if top == 255 else (700, 90, 200)
    level = (16 + 219 * (0.2126 * red + 0.7152 * green + 0.0722 * blue) / top) * (top + 1) / 256
    assert set(np.unique(luma_of(after))) == {round(level)}


def test_a_16_bit_source_is_rounded_to_12_and_says_so(tmp_path):
    frames = noise_frames("gray16le")
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", pix_fmt="gray16le", frames=frames)
    reader, _ = recolor(source, tmp_path / "b.mkv", FFV1)
    wanted = np.minimum((luma_of(decode(source)[0]).astype(int) + 8) // 16, 4095)
    assert np.array_equal(luma_of(decode(tmp_path / "b.mkv")[0]), wanted)
    assert reader.warnings == ["gray16le has 16 bits; the luma is rounded to 12"]


@pytest.mark.parametrize(("codec", "pix_fmt", "full"), [("mjpeg", "yuvj420p", True), ("jpeg2000", "yuv420p", False)])
def test_jpeg_codecs_have_centered_chroma_and_that_is_passed_on(tmp_path, codec, pix_fmt, full):
    source = make_video(tmp_path / "a.mov", codec=codec, pix_fmt=pix_fmt, range=2 if full else 0, pts=list(range(4)),
                        time_base=Fraction(1, 25), options={})  # fmt: skip
    with VideoReader(source) as reader:
        assert reader.luma_format.full_range == full
        assert reader.siting is Siting.CENTER
    _, writer = recolor(source, tmp_path / "b.mp4")
    assert writer.chroma_format.siting is Siting.CENTER
    with VideoReader(tmp_path / "b.mp4") as again:
        assert again.luma_format.full_range == full
        assert again.siting is Siting.CENTER


def test_chroma_siting_is_left_for_h264_and_a_tag_is_carried_over(tmp_path):
    plain = make_video(tmp_path / "a.mp4")
    tagged = make_video(tmp_path / "t.mp4", options={"preset": "ultrafast", "chroma_sample_location": "topleft"})
    for source, siting in ((plain, Siting.LEFT), (tagged, Siting.TOPLEFT)):
        _, writer = recolor(source, tmp_path / f"new-{source.name}")
        assert writer.chroma_format.siting is siting
        with VideoReader(tmp_path / f"new-{source.name}") as again:
            assert again.siting is siting


@pytest.mark.parametrize(
    ("size", "tags", "matrix"),
    [((96, 64), {}, Matrix.BT601), ((1280, 64), {}, Matrix.BT709), ((96, 720), {}, Matrix.BT709),
     ((96, 64), {"matrix": 1}, Matrix.BT709), ((96, 720), {"matrix": 6}, Matrix.BT601),
     ((96, 64), {"matrix": 9}, Matrix.BT2020), ((96, 64), {"primaries": 9}, Matrix.BT2020)],
)  # fmt: skip
def test_matrix_follows_the_tags_and_else_the_size_and_untagged_stays_untagged(tmp_path, size, tags, matrix):
    source = make_video(tmp_path / "a.mkv", pts=[0], time_base=Fraction(1, 1000), width=size[0], height=size[1], **tags)
    reader, _ = recolor(source, tmp_path / "b.mkv")
    assert reader.luma_format.matrix is matrix
    after = decode(tmp_path / "b.mkv")[0]
    assert after.colorspace == tags.get("matrix", 2)
    assert after.color_primaries == tags.get("primaries", 2)


def test_a_matrix_that_is_not_ycbcr_is_not_carried_over(tmp_path):
    source = make_video(tmp_path / "a.mkv", **FEW, matrix=8)  # YCgCo
    recolor(source, tmp_path / "b.mkv")
    assert decode(tmp_path / "b.mkv")[0].colorspace == 6


def test_hdr_metadata_reaches_the_output(tmp_path):
    hdr = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
    source = make_video(tmp_path / "a.mkv", **FEW, codec="libx265", pix_fmt="yuv420p10le", matrix=9, primaries=9,
                        transfer=16, range=1, options={"x265-params": f"log-level=none:{hdr}"})  # fmt: skip
    wanted = {data.type.name: bytes(data) for data in side_data_of(decode(source)[0])}
    assert {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"} <= wanted.keys()
    for options in (None, EncodeOptions(codec="libx265")):
        recolor(source, tmp_path / "b.mkv", options)
        found = {data.type.name: bytes(data) for data in side_data_of(decode(tmp_path / "b.mkv")[0])}
        assert found["CONTENT_LIGHT_LEVEL"] == wanted["CONTENT_LIGHT_LEVEL"]
        old, new = (
            np.frombuffer(data["MASTERING_DISPLAY_METADATA"], np.int32)[:20].reshape(10, 2) for data in (wanted, found)
        )
        assert np.allclose(new[:, 0] / new[:, 1], old[:, 0] / old[:, 1])
        (tmp_path / "b.mkv").unlink()


def test_closed_captions_stay_with_their_frames(tmp_path):
    source = tmp_path / "a.ts"
    _write_captioned(source)
    before = [_captions(frame) for frame in decode(source)]
    assert any(before)
    recolor(source, tmp_path / "b.mkv")
    after = decode(tmp_path / "b.mkv")
    assert [_captions(frame) for frame in after] == before
    # The source is all keyframes; that is not for the output to repeat.
    assert [frame.key_frame for frame in after] == [True] + [False] * 5
    assert np.abs(luma_of(decode(tmp_path / "b.mkv")[3]).astype(int) - luma_of(decode(source)[3])).mean() < 2


def _captions(frame: av.VideoFrame) -> bytes | None:
    return next((bytes(data) for data in side_data_of(frame) if data.type.name == "A53_CC"), None)


def _write_captioned(path) -> None:
    """H.264 with a caption SEI put before each picture by hand (ATSC A/53 part 4)."""
    triplet = bytes([0xFC, 0x94, 0x2C])
    payload = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 1, 0xFF]) + triplet + b"\xff"
    sei = b"\0\0\0\1\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
    make_video(path.with_suffix(".h264"), pts=list(range(6)), time_base=Fraction(1, 25),
               options={"bf": "0", "g": "1"})  # fmt: skip
    with av.open(str(path.with_suffix(".h264"))) as raw, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(raw.streams.video[0], opaque=True)
        for index, packet in enumerate(p for p in raw.demux() if p.size):
            captioned = av.Packet(_before_picture(bytes(packet), sei))
            captioned.stream, captioned.time_base = stream, Fraction(1, 25)
            captioned.pts = captioned.dts = index
            captioned.is_keyframe = packet.is_keyframe
            output.mux(captioned)


def _before_picture(packet: bytes, sei: bytes) -> bytes:
    """Insert an SEI before the first slice of an Annex B packet."""
    position = 0
    while (found := packet.find(b"\0\0\1", position)) >= 0:
        if packet[found + 3] & 31 in (1, 5):
            start = found - 1 if found and packet[found - 1] == 0 else found
            return packet[:start] + sei + packet[start:]
        position = found + 3
    return packet


@pytest.mark.parametrize(
    ("first", "order", "pix_fmt"), [("tff", "tt", "yuv420p"), ("bff", "bb", "yuv420p"), ("tff", "tt", "yuv422p")]
)
def test_interlaced_material_is_encoded_as_interlaced_in_its_field_order(tmp_path, first, order, pix_fmt):
    options = {"preset": "ultrafast", "flags": "+ildct+ilme", "x264-params": f"{first}=1", "field_order": order}
    source = make_video(tmp_path / "a.mp4", pts=[512 * i for i in range(6)], options=options, pix_fmt=pix_fmt)
    assert decode(source)[0].interlaced_frame
    recolor(source, tmp_path / "b.mp4")
    assert all(frame.interlaced_frame for frame in decode(tmp_path / "b.mp4"))
    assert decode(tmp_path / "b.mp4")[0].format.name == pix_fmt  # the height of the fields' chroma is not halved
    for path in (source, tmp_path / "b.mp4"):
        with VideoReader(path) as reader:
            assert reader.field_order == order


def test_writer_at_another_size_takes_planes_of_that_size(tmp_path):
    source = make_video(tmp_path / "a.mp4")
    with VideoReader(source) as reader, VideoWriter(tmp_path / "b.mp4", reader, size=(192, 64)) as writer:
        assert (writer.chroma_format.width, writer.chroma_format.height) == (96, 32)
        gray = np.full((32, 96), 128, np.uint8)
        for frame in reader:
            wide = LumaFrame(np.hstack([frame.luma, frame.luma]), frame.pts, frame.time_base, frame.duration)
            writer.write(ColorFrame(wide, gray, gray))
    after = decode(tmp_path / "b.mp4")
    assert (len(after), after[0].width, after[0].height) == (FRAMES, 192, 64)


def test_a_plane_of_the_wrong_shape_or_type_is_refused(tmp_path):
    with VideoReader(make_video(tmp_path / "a.mp4")) as reader:
        writer = VideoWriter(tmp_path / "b.mp4", reader)
        frame, chroma = next(iter(reader)), np.full((32, 48), 128, np.uint8)
        with pytest.raises(ShapeError, match=r"cb is \(32, 47\)"):
            writer.write(ColorFrame(frame, chroma[:, 1:], chroma))
        with pytest.raises(ShapeError, match="cr is .* uint16"):
            writer.write(ColorFrame(frame, chroma, chroma.astype(np.uint16)))
        writer.abort()


@pytest.mark.parametrize(
    ("pix_fmt", "range_", "name", "options", "message"),
    [
        ("yuv420p12le", 1, "b.mkv", {"codec": "libx264"}, "libx264 cannot hold 12 bits: use codec libx265"),
        ("yuv420p10le", 1, "b.avi", {"codec": "mpeg4"}, "mpeg4 cannot hold 10 bits: use codec libx264"),
        ("yuv420p12le", 1, "b.webm", {}, "webm has no codec for 12 bits: write to .mkv instead"),
        ("yuv420p", 2, "b.avi", {"codec": "ffv1"}, "avi with ffv1 cannot say that the luma is full range: use libx264"),
        ("yuv420p", 1, "b.mkv", {"codec": "mjpeg"}, "mjpeg cannot hold luma in limited range: use codec libx264"),
        ("yuv422p10le", 2, "b.mov", {"codec": "prores_ks"}, "prores_ks cannot hold luma in full range: use"),
        ("yuv420p", 1, "b.avi", {"codec": "libvpx-vp9"}, "avi cannot carry libvpx-vp9: write to .mkv or .mp4 or .m4v"),
        ("yuv420p10le", 1, "b.mp4", {"pix_fmt": "yuv420p"}, "pix_fmt yuv420p has 8 bits and the source 10"),
        ("yuv420p", 1, "b.mp4", {"codec": "libsvtav1", "pix_fmt": "yuv444p"}, "libsvtav1 cannot encode yuv444p: "),
        ("yuv420p", 1, "b.gif", {}, "b.gif has the extension .gif: name the output with one of .mkv .mp4"),
        ("yuv420p", 1, "b", {}, "b has no extension: name the output"),
    ],
)  # fmt: skip
def test_what_codec_and_container_cannot_hold_is_refused_before_work_begins(
    tmp_path, pix_fmt, range_, name, options, message
):
    source = make_video(tmp_path / "a.mkv", **FEW, codec="ffv1", pix_fmt=pix_fmt, range=range_)
    with VideoReader(source) as reader, pytest.raises(UnsupportedMediaError) as caught:
        VideoWriter(tmp_path / name, reader, EncodeOptions(**options))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "x264"}, "there is no codec x264: use one of libx264, libx265"),
        ({"codec": "libx264", "crf": 70}, r"crf of libx264 must be between 0 \(best\) and 51, got 70"),
        ({"crf": -1}, "crf must be between 0"),
        ({"crf": float("nan")}, "crf must be between 0"),
        ({"codec": "ffv1", "crf": 10}, "ffv1 has no crf"),
        ({"codec": "libx264", "preset": "speedy"}, "libx264 has no preset speedy: use one of ultrafast"),
        ({"preset": "speedy"}, "there is no preset speedy"),
        ({"codec": "mpeg4", "preset": "fast"}, "mpeg4 has no presets"),
        ({"pix_fmt": "yuv420"}, "there is no pix_fmt yuv420: did you mean yuv420p"),
        ({"pix_fmt": "rgb24"}, "pix_fmt rgb24 cannot be written here"),
        ({"pix_fmt": "nv12"}, "pix_fmt nv12 cannot be written here"),
        ({"threads": -1}, "threads cannot be negative"),
    ],
)
def test_impossible_options_are_refused_where_they_are_made(options, message):
    with pytest.raises(ConfigError, match=message):
        EncodeOptions(**options)


@pytest.mark.parametrize("options", [{"preset": "8"}, {"preset": "hq"}, {"crf": 60}])
def test_options_of_another_encoder_than_the_default_one_are_refused(tmp_path, options):
    source = make_video(tmp_path / "a.mp4")
    with VideoReader(source) as reader, pytest.raises(ConfigError, match="libx264"):
        VideoWriter(tmp_path / "b.mp4", reader, EncodeOptions(**options))


def test_crf_and_preset_reach_the_encoder(tmp_path):
    source = make_video(tmp_path / "a.mp4", width=320, height=256)
    sizes = []
    for crf in (5, 40):
        recolor(source, tmp_path / f"{crf}.mp4", EncodeOptions(crf=crf, preset="ultrafast", threads=2))
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    message = bytes(decode(tmp_path / "5.mp4")[0].side_data["SEI_UNREGISTERED"])
    assert b"crf=5.0" in message and b"subme=0" in message
    assert b" threads=2 " in message and b"sliced_threads=0" in message
