"""The project's real clips through reader and writer: what the issue asks of them, packet by packet."""

from fractions import Fraction

import av
import numpy as np
import pytest
from media import audio_track, decode, luma_of, recolor, video_track

from edgecolor.video import EncodeOptions, VideoReader

# With the seconds that are read: the whole of the small one, the beginning of those in 1280 x 720.
CLIPS = [("archival_bw_abomb_blast_effects.mp4", None), ("cockatoo.mp4", 2), ("openpose_street.avi", 1),
         ("sam2_juggle.mp4", 1)]  # fmt: skip
FAST = EncodeOptions(crf=45, preset="ultrafast")


def clip(shared, name):
    path = shared / "data" / "video" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(("name", "seconds"), CLIPS)
def test_a_clip_keeps_every_frame_time_and_sound_packet_in_its_own_container(shared, tmp_path, name, seconds):
    source, target = clip(shared, name), tmp_path / "new.mp4"  # the .avi is an MP4 by content
    reader, _ = recolor(source, target, FAST, duration=seconds)
    before, after = video_track(source), video_track(target)
    count = len([s for s in before.seconds if seconds is None or s < seconds])
    assert after.time_base == before.time_base
    assert after.pts == before.pts[:count]
    assert after.durations == before.durations[:count]
    assert not reader.damage and not reader.warnings
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert [s.type for s in new.streams] == [s.type for s in old.streams]
        assert new.streams.video[0].average_rate == old.streams.video[0].average_rate
        if old.streams.audio:
            sound, copied = audio_track(source), audio_track(target)
            assert copied.payloads == sound.payloads[: len(copied.payloads)]
            assert copied.pts == sound.pts[: len(copied.pts)]
            assert seconds is None or copied.seconds[-1] > seconds - Fraction(1, 10)


@pytest.mark.parametrize(("name", "target_name"), [("cockatoo.mp4", "new.mkv"), ("openpose_street.avi", "new.avi"),
                                                   ("openpose_street.avi", "new.ts")])  # fmt: skip
def test_a_clip_keeps_times_to_half_a_tick_in_another_container(shared, tmp_path, name, target_name):
    source, target = clip(shared, name), tmp_path / target_name
    recolor(source, target, FAST, duration=0.7)
    before = [s for s in video_track(source).seconds if s < Fraction(7, 10)]
    after = video_track(target)
    with VideoReader(target) as reader:
        seconds = [item.pts * item.time_base for item in reader if hasattr(item, "luma")]
    assert len(seconds) == len(before)
    assert all(abs(a - b) <= after.time_base / 2 for a, b in zip(before, seconds, strict=True))
    assert all(b > a for a, b in zip(seconds, seconds[1:], strict=False))
    sound, copied = audio_track(source).payloads, audio_track(target).payloads
    trimmed = [packet[7:] if target_name == "new.ts" else packet for packet in copied]
    assert trimmed == sound[: len(trimmed)] and len(trimmed) > 15


def test_a_clip_reaches_the_encoder_with_its_luma_bit_for_bit(shared, tmp_path):
    source = clip(shared, "archival_bw_abomb_blast_effects.mp4")
    recolor(source, tmp_path / "new.mkv", EncodeOptions(codec="ffv1"), duration=1.0)
    after = decode(tmp_path / "new.mkv")
    assert len(after) == 29
    with av.open(str(source)) as container:
        for frame, new in zip(container.decode(video=0), after, strict=False):
            assert np.array_equal(luma_of(frame), luma_of(new))
