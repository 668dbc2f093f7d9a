"""Files that are cut off or damaged: read as far as they go, and what is lost is counted."""

import random
from fractions import Fraction

import numpy as np
import pytest
from media import audio_track, decode, luma_of, make_video, recolor

from edgecolor.errors import MediaError
from edgecolor.video import VideoReader

LONG = 100
GOP = {"preset": "ultrafast", "crf": "4", "g": "20", "bf": "2"}


def clip(path, **changes):
    if path.suffix == ".avi":
        plain = {"pts": list(range(LONG)), "time_base": Fraction(1, 25), "options": {**GOP, "bf": "0"}, "audio": "mp2"}
        return make_video(path, **plain, **changes)
    return make_video(path, pts=[512 * i for i in range(LONG)], options=GOP, audio="aac", **changes)


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def scramble(path, begin, end):
    """Overwrite a stretch, given as shares of the file, with random bytes."""
    content = bytearray(path.read_bytes())
    first, last = int(len(content) * begin), int(len(content) * end)
    content[first:last] = random.Random(3).randbytes(last - first)
    path.write_bytes(bytes(content))
    return path


def read(path):
    with VideoReader(path) as reader:
        items = list(reader)
    return reader, [item for item in items if hasattr(item, "luma")]


FAST_START = {"container_options": {"movflags": "+faststart"}}


@pytest.mark.parametrize(("name", "more"), [("a.mp4", FAST_START), ("a.mkv", {}), ("a.avi", {}), ("a.ts", {})])
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path, name, more):
    whole = decode(clip(tmp_path / name, **more))
    reader, frames = read(cut(tmp_path / name, 0.6))
    assert 0.4 * LONG < len(frames) < 0.75 * LONG
    equal = sum(np.array_equal(frame.luma, luma_of(other)) for frame, other in zip(frames, whole, strict=False))
    assert equal >= len(frames) - 3
    if name in ("a.mp4", "a.avi"):  # state the number of frames
        assert reader.damage.lost_frames == LONG - len(frames)
    if name in ("a.mp4", "a.mkv"):  # state the duration
        assert reader.damage.ended_early
        assert any("the file ends early" in line for line in reader.warnings)


def test_an_undamaged_file_reports_no_damage(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov"):
        reader, frames = read(clip(tmp_path / name))
        assert len(frames) == LONG, name
        assert not reader.damage, (name, str(reader.damage))
        assert reader.warnings == [], name


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_a_file_that_begins_late_is_whole(tmp_path, name):
    path = make_video(tmp_path / name, pts=[512 * (125 + i) for i in range(LONG)], options=GOP)
    reader, frames = read(path)
    assert frames[0].pts_seconds >= 5 and len(frames) == LONG and reader.warnings == []
    reader, _ = read(cut(path, 0.6)) if name == "a.mkv" else (reader, None)
    assert reader.damage.ended_early == (name == "a.mkv")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_a_file_damaged_in_the_middle_is_read_to_its_end_and_the_damage_counted(tmp_path, name):
    whole = decode(clip(tmp_path / name))
    reader, frames = read(scramble(tmp_path / name, 0.40, 0.43))
    assert 0.7 * LONG < len(frames) <= LONG
    assert np.array_equal(frames[-1].luma, luma_of(whole[-1]))
    assert np.array_equal(frames[0].luma, luma_of(whole[0]))
    damage = reader.damage
    assert damage.broken_packets or damage.concealed_frames or damage.skipped_bytes or damage.lost_frames
    if name in ("a.mp4", "a.avi"):
        assert damage.lost_frames == LONG - len(frames)
    assert not damage.ended_early
    assert reader.warnings[-1].startswith(f"{name} is damaged: ")
    times = [frame.pts for frame in frames]
    assert all(b > a for a, b in zip(times, times[1:], strict=False))


def test_a_damaged_file_is_written_whole_with_the_times_of_what_is_left(tmp_path):
    source = scramble(clip(tmp_path / "a.mp4"), 0.40, 0.43)
    reader, _ = recolor(source, tmp_path / "b.mp4")
    _, frames = read(source)
    assert [frame.pts for frame in decode(tmp_path / "b.mp4")] == [frame.pts for frame in frames]
    assert reader.damage


def test_an_mp4_that_was_cut_off_before_its_index_is_refused_with_that_reason(tmp_path):
    source = cut(clip(tmp_path / "a.mp4"), 0.6)
    with pytest.raises(MediaError, match=r"was cut off before its index \(the moov box\) was written"):
        VideoReader(source)


def test_a_file_without_any_decodable_frame_is_refused(tmp_path):
    source = make_video(tmp_path / "a.mp4")
    content = source.read_bytes()
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    source.write_bytes(content[:begin] + bytes(end - begin) + content[end:])
    with pytest.raises(MediaError) as caught:
        VideoReader(source)
    assert "holds no frame that can be decoded" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recordings_joined_end_to_end_get_one_time_line(tmp_path):
    part = make_video(tmp_path / "part.ts", pts=[512 * i for i in range(260)], options=GOP, audio="aac")
    (tmp_path / "both.ts").write_bytes(part.read_bytes() * 2)
    reader, frames = read(tmp_path / "both.ts")
    seconds = [frame.pts_seconds for frame in frames]
    assert len(frames) == 520
    assert max(b - a for a, b in zip(seconds, seconds[1:], strict=False)) < 0.2
    assert min(b - a for a, b in zip(seconds, seconds[1:], strict=False)) > 0
    assert any("jump back 1 times" in line for line in reader.warnings)
    recolor(tmp_path / "both.ts", tmp_path / "new.mp4")
    sound = audio_track(tmp_path / "new.mp4").seconds
    assert max(b - a for a, b in zip(sound, sound[1:], strict=False)) < 0.2
    assert abs(float(sound[-1]) - seconds[-1]) < 0.1
