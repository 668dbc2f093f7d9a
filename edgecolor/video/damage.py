"""What of a damaged file is lost, and time stamps that jump back where recordings were joined."""

from dataclasses import dataclass, field
from fractions import Fraction

import av

_JUMP = 5  # seconds back that can only be a new recording, not frames out of order
_HOLE = 1024  # bytes between two packets of Matroska that no header accounts for


@dataclass
class Damage:
    """What of a file could not be read or decoded."""

    broken_packets: int = 0  # packets that are marked as corrupt, or that demuxer or decoder gave up on
    concealed_frames: int = 0  # frames decoded with errors, the missing parts made up by the decoder
    lost_frames: int = 0  # frames that the file holds or promises and that did not come out
    skipped_bytes: int = 0  # of Matroska files, passed over by the demuxer
    ended_early: bool = False  # the file ends before its own stated end

    def __bool__(self) -> bool:
        return self != Damage()

    def __str__(self) -> str:
        parts = [
            (self.broken_packets, f"{self.broken_packets} packets are broken"),
            (self.skipped_bytes, f"{self.skipped_bytes} bytes are unreadable"),
            (self.concealed_frames, f"{self.concealed_frames} frames were decoded with errors"),
            (self.lost_frames, f"{self.lost_frames} frames are lost"),
            (self.ended_early, "the file ends early"),
        ]
        return ", ".join(text for found, text in parts if found) or "no damage"


@dataclass
class HoleFinder:
    """Counts bytes between the packets of a Matroska file that belong to none: its demuxer skips damage silently."""

    skipped: int = 0
    _end: int | None = None

    def note(self, packet: av.Packet) -> None:
        if packet.pos is None:
            return
        if self._end is not None and packet.pos - self._end > _HOLE:
            self.skipped += packet.pos - self._end
        additions = packet.get_sidedata("matroska_block_additional")
        self._end = max(self._end or 0, packet.pos + packet.size + (additions.data_size if additions else 0))


@dataclass
class Joins:
    """Makes one time line of recordings that were joined end to end, as transport streams allow.

    All streams of a recording move by the same amount, so that sound and picture stay together.
    """

    _offsets: list[Fraction] = field(default_factory=lambda: [Fraction(0)])  # seconds, one for each recording
    _recording: dict[int, int] = field(default_factory=dict)  # of each stream
    _last: dict[int, Fraction] = field(default_factory=dict)
    _end: Fraction = Fraction(0)

    def straighten(self, packet: av.Packet) -> None:
        """Move a packet's times if its recording is not the first."""
        if packet.dts is None:
            return
        index, base = packet.stream.index, packet.time_base
        current = self._recording.get(index, 0)
        time = packet.dts * base + self._offsets[current]
        if time < self._last.get(index, time) - _JUMP:
            current += 1
            self._recording[index] = current
            if current == len(self._offsets):
                self._offsets.append(self._end - packet.dts * base)
            time = packet.dts * base + self._offsets[current]
        self._last[index] = time
        self._end = max(self._end, time + (packet.duration or 0) * base)
        if current:
            move = round(self._offsets[current] / base)
            packet.dts += move
            if packet.pts is not None:
                packet.pts += move

    @property
    def count(self) -> int:
        return len(self._offsets) - 1
