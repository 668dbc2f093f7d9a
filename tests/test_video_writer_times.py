"""Time stamps, durations and copied packets of the output, as a second demux finds them, against the source's."""

from fractions import Fraction

import av
import pytest
from media import FRAMES, audio_track, decode, demux, luma_of, make_video, recolor, video_track

from edgecolor.video import VideoReader

VARIABLE = [0, 40, 80, 137, 160, 201, 390, 400, 433, 500, 760, 800, 840, 877, 1000, 1040, 1500, 1540, 1579, 1621]


def same_ticks(source, target):
    before, after = video_track(source), video_track(target)
    assert after.time_base == before.time_base
    assert after.pts == before.pts
    return before, after


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_constant_rate_keeps_every_tick_in_the_same_container(tmp_path, name):
    base = Fraction(1, 1000) if name == "a.mkv" else Fraction(1, 12800)
    pts = [round(i * Fraction(1, 25) / base) for i in range(FRAMES)]
    source = make_video(tmp_path / name, pts=pts, time_base=base, audio="aac")
    recolor(source, tmp_path / f"new-{name}")
    before, after = same_ticks(source, tmp_path / f"new-{name}")
    assert after.durations == before.durations
    assert [f.pts for f in decode(tmp_path / f"new-{name}")] == pts
    sound, copied = audio_track(source), audio_track(tmp_path / f"new-{name}")
    assert copied.payloads == sound.payloads
    assert copied.seconds == sound.seconds


@pytest.mark.parametrize(("name", "scale"), [("a.mp4", 16), ("a.mkv", 1), ("a.mov", 16)])
def test_variable_frame_rate_keeps_every_tick_in_the_same_container(tmp_path, name, scale):
    source = make_video(tmp_path / name, pts=[scale * pts for pts in VARIABLE], time_base=Fraction(1, 1000 * scale))
    recolor(source, tmp_path / f"new-{name}")
    same_ticks(source, tmp_path / f"new-{name}")


@pytest.mark.parametrize("first", [512 * 3, 512 * 3 + 7, 12800 * 5 + 1])
def test_first_frame_after_zero_in_mp4_stays_where_it_is_to_the_tick(tmp_path, first):
    source = make_video(tmp_path / "a.mp4", pts=[first + 512 * i for i in range(FRAMES)], audio="aac",
                        container_options={"movie_timescale": "12800"})  # fmt: skip
    assert video_track(source).pts[0] == first
    recolor(source, tmp_path / "b.mp4")
    same_ticks(source, tmp_path / "b.mp4")
    assert audio_track(tmp_path / "b.mp4").seconds == audio_track(source).seconds


def test_first_frame_after_zero_in_mkv_stays_where_it_is(tmp_path):
    source = make_video(tmp_path / "a.mkv", pts=[1234 + 40 * i for i in range(FRAMES)], time_base=Fraction(1, 1000))
    recolor(source, tmp_path / "b.mkv")
    same_ticks(source, tmp_path / "b.mkv")


def test_mp4_with_a_coarse_clock_keeps_that_clock(tmp_path):
    source = make_video(tmp_path / "a.mp4", pts=[24 * i for i in range(FRAMES)], time_base=Fraction(1, 600),
                        container_options={"video_track_timescale": "600"})  # fmt: skip
    recolor(source, tmp_path / "b.mp4")
    assert same_ticks(source, tmp_path / "b.mp4")[1].time_base == Fraction(1, 600)


def test_ntsc_rate_keeps_its_ticks_and_its_average(tmp_path):
    source = make_video(tmp_path / "a.mp4", pts=[1001 * i for i in range(FRAMES)], time_base=Fraction(1, 30000),
                        rate=Fraction(30000, 1001))  # fmt: skip
    recolor(source, tmp_path / "b.mp4")
    same_ticks(source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


def test_b_frames_in_the_source_come_out_in_presentation_order(tmp_path):
    source = make_video(tmp_path / "a.mp4", options={"bf": "3", "preset": "medium", "crf": "10"})
    assert "B" in "".join(av.video.frame.PictureType(f.pict_type).name for f in decode(source))
    recolor(source, tmp_path / "b.mp4")
    same_ticks(source, tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("a.mp4", "b.mkv"), ("a.mp4", "b.ts"), ("a.mp4", "b.avi"), ("a.mkv", "b.mp4"), ("a.mkv", "b.ts"),
     ("a.ts", "b.mp4"), ("a.ts", "b.mkv"), ("a.avi", "b.mkv"), ("a.avi", "b.mp4"), ("a.avi", "b.avi"),
     ("a.mov", "b.mp4"), ("a.ts", "b.ts")],
)  # fmt: skip
def test_another_container_keeps_times_to_half_a_tick_and_the_payload_of_sound(tmp_path, source_name, target_name):
    rate = Fraction(30000, 1001)
    avi = source_name.endswith(".avi")
    options = {"bf": "0" if avi else "2", "preset": "ultrafast", "crf": "10"}
    source = make_video(tmp_path / source_name, pts=[1001 * i for i in range(FRAMES)], time_base=Fraction(1, 30000),
                        rate=rate, audio="mp2" if avi else "aac", options=options)  # fmt: skip
    recolor(source, tmp_path / target_name)
    before, after = _decoded_seconds(source), _decoded_seconds(tmp_path / target_name)
    tick = video_track(tmp_path / target_name).time_base
    assert len(after) == FRAMES
    assert all(abs(b - a) <= tick / 2 for a, b in zip(before, after, strict=True))
    assert all(b > a for a, b in zip(after, after[1:], strict=False))
    sound, copied = audio_track(source), audio_track(tmp_path / target_name)
    assert [_payload(p) for p in copied.payloads] == [_payload(p) for p in sound.payloads]
    off = [abs(float(b - a)) for a, b in zip(sound.seconds, copied.seconds, strict=True)]
    if target_name == "b.avi":  # stores no times: sound begins at zero, with its priming
        assert max(off) - min(off) < 1e-6 and max(off) <= 0.022
    else:  # priming before zero has no place in these containers; every other packet is where it was
        assert all(d <= 0.0006 for d, s in zip(off, sound.seconds, strict=True) if s >= 0), off
    if target_name != "b.ts":  # stores none
        assert all(duration for duration in video_track(tmp_path / target_name).durations)


def test_avi_with_b_frames_is_read_from_zero_in_presentation_order(tmp_path):
    options = {"bf": "2", "preset": "medium", "crf": "4"}
    source = make_video(tmp_path / "a.avi", pts=list(range(FRAMES)), time_base=Fraction(1, 25), options=options)
    with VideoReader(source) as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == list(range(FRAMES))
    assert all((a.luma == luma_of(b)).all() for a, b in zip(frames, decode(source), strict=True))
    assert reader.warnings == []


def _decoded_seconds(path) -> list[Fraction]:
    if path.suffix == ".avi":  # no presentation times in it: those of decoding, in order, as there are no B-frames
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return [packet.dts * stream.time_base for packet in container.demux(stream) if packet.size]
    return [frame.pts * frame.time_base for frame in decode(path)]


def _payload(packet: bytes) -> bytes:
    """Without an ADTS header, which MPEG-TS puts before every AAC packet."""
    if packet[:1] == b"\xff" and packet[1] & 0xF6 == 0xF0:
        return packet[7 if packet[1] & 1 else 9 :]
    return packet


def test_audio_that_starts_later_than_the_video_keeps_its_distance(tmp_path):
    source = make_video(tmp_path / "a.mp4", audio="aac", audio_start=12000,
                        container_options={"movie_timescale": "48000"})  # fmt: skip
    for name in ("b.mp4", "b.mkv", "b.ts"):
        recolor(source, tmp_path / name)
        sound, copied = audio_track(source), audio_track(tmp_path / name)
        assert abs(copied.seconds[3] - sound.seconds[3]) <= Fraction(1, 2000)


def test_priming_sound_before_zero_does_not_move_the_video_in_mkv(tmp_path):
    source = make_video(tmp_path / "a.mp4", audio="aac")
    assert audio_track(source).pts[0] < 0
    _, writer = recolor(source, tmp_path / "b.mkv")
    assert video_track(tmp_path / "b.mkv").pts[0] == 0
    assert audio_track(tmp_path / "b.mkv").payloads == audio_track(source).payloads
    assert any("priming" in note for note in writer.notes)


@pytest.mark.parametrize(("source_name", "target_name"), [("a.mkv", "b.mkv"), ("a.webm", "b.webm"), ("a.mp4", "b.mkv")])
def test_opus_priming_stays_before_zero(tmp_path, source_name, target_name):
    webm = source_name == "a.webm"
    fast = {"cpu-used": "8", "deadline": "realtime"} if webm else {"preset": "ultrafast"}
    codec = "libvpx-vp9" if webm else "libx264"
    source = make_video(tmp_path / source_name, audio="libopus", pts=[40 * i for i in range(FRAMES)],
                        time_base=Fraction(1, 1000), codec=codec, options=fast)  # fmt: skip
    recolor(source, tmp_path / target_name)
    sound, copied = audio_track(source), audio_track(tmp_path / target_name)
    assert sound.pts[0] < 0
    assert copied.payloads == sound.payloads
    assert all(abs(b - a) <= Fraction(1, 1000) for a, b in zip(sound.seconds, copied.seconds, strict=True))
    assert video_track(tmp_path / target_name).pts[0] == 0


def test_two_frames_within_one_millisecond_stay_in_order_in_mkv_and_are_counted(tmp_path):
    pts = [0, 512, 514, 516, *(512 * i for i in range(2, 12))]
    source = make_video(tmp_path / "a.mp4", pts=pts)
    _, writer = recolor(source, tmp_path / "b.mkv")
    after = video_track(tmp_path / "b.mkv").pts
    assert after[:5] == [0, 40, 41, 42, 80]
    assert any("2 frames were moved" in note for note in writer.notes)


def test_last_frame_of_mp4_keeps_its_duration(tmp_path):
    source = make_video(tmp_path / "a.mp4", last_duration=12800)
    assert video_track(source).durations[-1] == 12800
    recolor(source, tmp_path / "b.mp4")
    assert video_track(tmp_path / "b.mp4").durations == video_track(source).durations
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.mp4")) as after:
        assert after.streams.video[0].duration == before.streams.video[0].duration
        assert after.duration == before.duration


def test_start_and_duration_take_exactly_the_frames_of_that_span(tmp_path):
    source = make_video(tmp_path / "a.mp4", audio="aac", keyframes=[8], pts=[512 * i for i in range(60)])
    reader, _ = recolor(source, tmp_path / "b.mp4", start=0.5, duration=1.0)
    after = decode(tmp_path / "b.mp4")
    before = [frame for frame in decode(source) if 0.5 <= frame.pts / 12800 < 1.5]
    assert [f.pts for f in after] == [f.pts - 6400 for f in before]
    assert reader.duration_seconds == 1.0 and abs(reader.frames_estimate - 25) <= 1
    sound, copied = audio_track(source), audio_track(tmp_path / "b.mp4")
    first = next(i for i, s in enumerate(sound.seconds) if s >= Fraction(1, 2))
    assert copied.payloads == sound.payloads[first : first + len(copied.payloads)]
    assert abs(copied.seconds[0] - (sound.seconds[first] - Fraction(1, 2))) <= Fraction(1, 48000)
    assert Fraction(97, 100) < copied.seconds[-1] - copied.seconds[0] < 1


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.avi"])
def test_start_reaches_the_same_frame_in_every_container(tmp_path, name):
    avi = {"bf": "0"} if name == "a.avi" else {}
    source = make_video(tmp_path / name, pts=list(range(50)), time_base=Fraction(1, 25), keyframes=[10, 30],
                        options={"preset": "ultrafast", "crf": "4", **avi})  # fmt: skip
    with VideoReader(source, start=0.83, duration=0.2) as reader:
        frames = list(reader)
    wanted = decode(source)[21:26]
    assert [round(f.pts_seconds * 25) for f in frames] == [0, 1, 2, 3, 4]
    assert all((frame.luma == luma_of(other)).all() for frame, other in zip(frames, wanted, strict=True))


def test_tracks_are_read_by_the_helper_in_order(tmp_path):
    tracks = demux(make_video(tmp_path / "a.mp4", audio="aac"))
    assert [track.kind for track in tracks] == ["video", "audio"]
