"""Everything beside the picture: sound, subtitles, chapters, attachments, covers, metadata, and what is refused."""

from fractions import Fraction

import av
import pytest
from av.stream import Disposition
from media import FRAMES, audio_track, decode, demux, jpeg, make_video, recolor

from edgecolor.errors import UnsupportedMediaError
from edgecolor.video import EncodeOptions, VideoReader, VideoWriter
from edgecolor.video.pyav import METADATA

CHAPTERS = [
    {"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
    {"id": 2, "start": 300, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "Zwei – 二"}},
]
SUBTITLES = [(0, 300, "first"), (320, 570, "second"), (600, 790, "third")]
MKV = {"pts": [40 * i for i in range(FRAMES)], "time_base": Fraction(1, 1000)}


@pytest.fixture
def rich_mkv(tmp_path):
    """A file with one of everything that Matroska holds."""
    return make_video(
        tmp_path / "rich.mkv",
        **MKV,
        audio="aac",
        subtitles=SUBTITLES,
        chapters=CHAPTERS,
        attachments=[("font.ttf", "font/ttf", b"\0\1not a font"), ("cover.jpg", "image/jpeg", jpeg())],
        metadata={"title": "An old film", "ARTIST": "Nobody", "odd key": "odd välue"},
        stream_metadata={"language": "ger", "title": "main picture"},
        audio_metadata={"language": "fre", "title": "commentary"},
        disposition=int(Disposition.default | Disposition.original),
        audio_disposition=int(Disposition.comment),
        aspect=Fraction(16, 15),
        rotation=90,
        matrix=1, primaries=1, transfer=1, range=1,
    )  # fmt: skip


def test_mkv_keeps_every_stream_packet_for_packet(tmp_path, rich_mkv):
    recolor(rich_mkv, tmp_path / "b.mkv")
    before, after = demux(rich_mkv), demux(tmp_path / "b.mkv")
    assert [(t.kind, t.codec) for t in after] == [(t.kind, t.codec) for t in before]
    assert sorted(t.kind for t in after) == ["attachment", "audio", "subtitle", "video", "video"]
    for old, new in zip(before[1:], after[1:], strict=True):
        assert new.payloads == old.payloads
        assert new.pts == old.pts
        assert new.durations == old.durations


def test_mkv_keeps_attachments_and_cover_art_byte_for_byte(tmp_path, rich_mkv):
    recolor(rich_mkv, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        font = next(s for s in container.streams if s.type == "attachment")
        assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", b"\0\1not a font")
        cover = container.streams.video[1]
        assert cover.disposition & Disposition.attached_pic
        assert (cover.metadata["filename"], cover.metadata["mimetype"]) == ("cover.jpg", "image/jpeg")
        assert bytes(next(container.demux(cover))) == jpeg()


def test_mkv_keeps_chapters_metadata_and_dispositions(tmp_path, rich_mkv):
    recolor(rich_mkv, tmp_path / "b.mkv")
    with av.open(str(rich_mkv)) as old, av.open(str(tmp_path / "b.mkv")) as new:
        assert new.chapters() == old.chapters()
        assert len(new.chapters()) == 2
        assert {**new.metadata, "ENCODER": ""} == {**old.metadata, "ENCODER": ""}
        assert "odd välue" in new.metadata.values()
        for a, b in zip(old.streams, new.streams, strict=True):
            assert b.disposition == a.disposition
            assert {**b.metadata, "DURATION": "", "ENCODER": ""} == {**a.metadata, "DURATION": "", "ENCODER": ""}


def test_mkv_keeps_aspect_rotation_and_color_tags(tmp_path, rich_mkv):
    recolor(rich_mkv, tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        codec = stream.codec_context
        assert stream.sample_aspect_ratio == Fraction(16, 15)
        assert frame.rotation == 90
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)


def test_start_moves_chapters_and_subtitles_with_the_picture(tmp_path, rich_mkv):
    recolor(rich_mkv, tmp_path / "b.mkv", start=0.4, duration=0.3)
    subtitles = next(t for t in demux(tmp_path / "b.mkv") if t.kind == "subtitle")
    assert list(zip(subtitles.pts, subtitles.durations, subtitles.payloads, strict=True)) == [
        (0, 170, b"second"),  # began at 320 ms, lasted to 570
        (200, 190, b"third"),
    ]
    with av.open(str(tmp_path / "b.mkv")) as container:
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in container.chapters()]
    assert chapters == [(0, Fraction(3, 10))]


def test_mp4_keeps_what_mp4_holds(tmp_path):
    source = make_video(
        tmp_path / "a.mp4",
        audio="aac",
        cover=jpeg(),
        chapters=CHAPTERS,
        metadata={"title": "An old film", "comment": "seen twice", "artist": "Nobody"},
        stream_metadata={"language": "ger", "title": "main picture"},
        audio_metadata={"language": "fre"},
        aspect=Fraction(16, 15),
        rotation=180,
        matrix=6, primaries=6, transfer=6, range=1,
    )  # fmt: skip
    recolor(source, tmp_path / "b.mp4")
    before, after = demux(source), demux(tmp_path / "b.mp4")
    assert [(t.kind, t.codec) for t in after] == [(t.kind, t.codec) for t in before]
    assert audio_track(tmp_path / "b.mp4").payloads == audio_track(source).payloads
    with av.open(str(source)) as old, av.open(str(tmp_path / "b.mp4")) as new:
        assert {**new.metadata} == {**old.metadata}
        assert [c["metadata"] for c in new.chapters()] == [{"title": "One"}, {"title": "Zwei – 二"}]
        for a, b in zip(old.chapters(), new.chapters(), strict=True):
            assert all(a[edge] * a["time_base"] == b[edge] * b["time_base"] for edge in ("start", "end"))
        for a, b in zip(old.streams, new.streams, strict=True):
            assert b.disposition == a.disposition
            assert {**b.metadata, "encoder": ""} == {**a.metadata, "encoder": ""}
        covers = [s for s in new.streams.video if s.disposition & Disposition.attached_pic]
        assert bytes(next(new.demux(covers[0]))) == jpeg()
        stream = new.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 15)
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (6, 1)
    assert abs(decode(tmp_path / "b.mp4")[0].rotation) == 180


def test_mp4_keeps_metadata_that_its_usual_list_has_no_place_for(tmp_path):
    odd = {"title": "An old film", "com.example.reel": "7b", "reel": "seven"}
    source = make_video(tmp_path / "a.mp4", metadata=odd, container_options={"movflags": "use_metadata_tags"})
    recolor(source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert odd.items() <= container.metadata.items()


def test_a_mirrored_picture_keeps_its_display_matrix(tmp_path):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(270, hflip=True)
        output.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        output.mux(stream.encode(None))
    recolor(source, tmp_path / "b.mp4")
    matrices = [bytes(decode(path)[0].side_data["DISPLAYMATRIX"]) for path in (source, tmp_path / "b.mp4")]
    assert matrices[0] == matrices[1]


@pytest.mark.parametrize(("counterclockwise", "clockwise"), [(0, 0), (90, 270), (180, 180), (-90, 90)])
def test_rotation_is_read_as_degrees_clockwise(tmp_path, counterclockwise, clockwise):
    with VideoReader(make_video(tmp_path / "a.mp4", rotation=counterclockwise)) as reader:
        assert reader.luma_format.rotation == clockwise


def test_rotation_in_old_metadata_becomes_a_display_matrix(tmp_path):
    source = make_video(tmp_path / "a.mkv", **MKV, stream_metadata={"rotate": "90"})
    with VideoReader(source) as reader:
        assert reader.luma_format.rotation == 90
    recolor(source, tmp_path / "b.mp4")
    assert decode(tmp_path / "b.mp4")[0].rotation == -90


def test_further_video_streams_are_copied_and_the_default_one_is_colorized(tmp_path):
    source = make_video(tmp_path / "a.mkv", **MKV, copies_of_video=1, disposition=0)
    recolor(source, tmp_path / "b.mkv", cb=20)
    before, after = demux(source), demux(tmp_path / "b.mkv")
    assert after[1].payloads == before[1].payloads
    assert after[0].payloads != before[0].payloads
    assert after[1].pts == before[1].pts


def test_metadata_in_another_encoding_survives(tmp_path):
    latin = "Mädchen".encode("latin-1").decode("utf-8", "surrogateescape")
    source = make_video(tmp_path / "a.avi", metadata={"title": latin}, options={"bf": "0"})
    recolor(source, tmp_path / "b.avi")
    with av.open(str(tmp_path / "b.avi"), **METADATA) as container:
        assert container.metadata["title"] == latin


def test_timecode_track_of_mov_is_written_anew(tmp_path):
    source = make_video(tmp_path / "a.mov", stream_metadata={"timecode": "01:02:03:04"})
    assert [t.kind for t in demux(source)] == ["video", "data"]
    recolor(source, tmp_path / "b.mov")
    after = demux(tmp_path / "b.mov")
    assert [t.kind for t in after] == ["video", "data"]
    assert after[1].metadata["timecode"] == "01:02:03:04"


def refused(source, target, options=None):
    with VideoReader(source) as reader, pytest.raises(UnsupportedMediaError) as caught:
        VideoWriter(target, reader, options)
    assert "\n" not in str(caught.value)
    assert [p.name for p in target.parent.iterdir() if "partial" in p.name or p == target] == []
    return str(caught.value)


def test_subtitles_that_mp4_cannot_carry_are_refused_before_work_begins(tmp_path):
    source = make_video(tmp_path / "a.mkv", **MKV, subtitles=SUBTITLES)
    message = refused(source, tmp_path / "b.mp4")
    assert message == "mp4 cannot carry the subtitle stream 1 (subrip): write to .mkv instead"


def test_attachments_chapters_and_rotation_are_refused_where_they_have_no_place(tmp_path):
    attached = make_video(tmp_path / "a.mkv", **MKV, attachments=[("font.ttf", "font/ttf", b"x")])
    assert "mp4 cannot carry the attachment 1 (font.ttf): write to .mkv" in refused(attached, tmp_path / "b.mp4")
    chaptered = make_video(tmp_path / "c.mkv", **MKV, chapters=CHAPTERS)
    assert "avi cannot carry the 2 chapters: write to .mkv or .mp4" in refused(chaptered, tmp_path / "b.avi")
    turned = make_video(tmp_path / "r.mp4", rotation=90)
    assert "ts cannot carry the rotation by 270 degrees: write to .mkv" in refused(turned, tmp_path / "b.ts")


def test_sound_that_webm_cannot_carry_is_refused_naming_a_container_that_can(tmp_path):
    message = refused(make_video(tmp_path / "a.mp4", audio="aac"), tmp_path / "b.webm")
    assert message == "webm cannot carry the audio stream 1 (aac): write to .mkv instead"


def test_cover_art_is_refused_in_transport_streams(tmp_path):
    assert "cover art" in refused(make_video(tmp_path / "a.mp4", cover=jpeg()), tmp_path / "b.ts")


def test_streams_that_cannot_be_carried_are_left_out_on_request_and_noted(tmp_path):
    source = make_video(tmp_path / "a.mkv", **MKV, audio="aac", subtitles=SUBTITLES)
    _, writer = recolor(source, tmp_path / "b.mp4", EncodeOptions(drop_unsupported=True))
    assert [t.kind for t in demux(tmp_path / "b.mp4")] == ["video", "audio"]
    assert writer.notes[0] == "left out: subtitle 2 (subrip)"


def test_aspect_ratio_is_refused_where_neither_container_nor_codec_says_it(tmp_path):
    source = make_video(tmp_path / "a.mp4", aspect=Fraction(16, 15))
    assert "sample aspect ratio 16:15: write to .mkv or .mp4" in refused(
        source, tmp_path / "b.avi", EncodeOptions(codec="ffv1")
    )


@pytest.mark.parametrize(
    ("name", "lost"),
    [("b.mkv", []), ("b.mp4", ["mp4 has no place for the metadata REEL"]),
     ("b.ts", ["ts has no place for the metadata ARTIST, REEL, title",
               "ts does not store what streams are meant for (commentary, forced and the like)"])],
)  # fmt: skip
def test_metadata_without_a_place_in_the_container_is_noted(tmp_path, name, lost):
    source = make_video(tmp_path / "a.mkv", **MKV, audio="ac3", metadata={"title": "Old", "ARTIST": "Nobody"},
                        audio_metadata={"language": "fre", "REEL": "7"},
                        audio_disposition=int(Disposition.comment))  # fmt: skip
    _, writer = recolor(source, tmp_path / name)
    assert [note for note in writer.notes if "metadata" in note or "meant for" in note] == lost
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.audio[0].language == "fre"
        kept = {**container.metadata, **container.streams.audio[0].metadata}
    assert ("REEL" in kept) == (name == "b.mkv")
    assert ("Nobody" in kept.values()) == (name != "b.ts")


def test_cover_art_moves_between_mp4_and_mkv(tmp_path):
    source = make_video(tmp_path / "a.mp4", cover=jpeg())
    recolor(source, tmp_path / "b.mkv")
    recolor(tmp_path / "b.mkv", tmp_path / "c.mp4")
    for name in ("b.mkv", "c.mp4"):
        with av.open(str(tmp_path / name)) as container:
            cover = next(s for s in container.streams.video if s.disposition & Disposition.attached_pic)
            assert bytes(next(container.demux(cover))) == jpeg()
