"""The part of a file that is read: which frames and packets belong to it, and by how much their times move."""

from dataclasses import dataclass, field
from fractions import Fraction

import av

from edgecolor.errors import ConfigError

_PATIENCE = 10  # seconds past the end for which sound that is stored late is waited for


@dataclass
class Span:
    """A stretch of time in a file, in seconds on the file's own clock.

    begin  first moment that is kept; None keeps everything from the file's beginning, where it is
    end    first moment that is not kept any more, None for the end of the file
    shift  what is taken off every time stamp; a whole number of video ticks, so that frame times stay exact
    """

    origin: Fraction
    begin: Fraction | None
    end: Fraction | None
    shift: Fraction
    _past: set[int] = field(default_factory=set)

    @classmethod
    def of(
        cls, container: av.container.InputContainer, stream: av.VideoStream, start: float, duration: float | None
    ) -> "Span":
        """The span of `duration` seconds from `start` after the file's beginning; ConfigError if there is nothing."""
        origin = max(Fraction(0), Fraction(container.start_time or 0, av.time_base))  # priming sound lies before it
        exact_start = Fraction(start).limit_denominator(av.time_base)
        total = Fraction(container.duration, av.time_base) if container.duration else None
        if total is not None and exact_start >= total:
            raise ConfigError(f"start is {start:g} s, but the video is {float(total):.3f} s long: start earlier")
        begin = origin + exact_start if start else None
        end = None if duration is None else origin + exact_start + Fraction(duration).limit_denominator(av.time_base)
        # Up to the next tick, so that the first kept frame never lands below zero.
        tick = Fraction(stream.time_base)
        shift = -(-begin // tick) * tick if begin is not None else Fraction(0)
        return cls(origin, begin, end, shift)

    def length(self, total: float | None) -> float | None:
        """Seconds in the span, given those in the file; None if neither says."""
        rest = None if total is None else max(0.0, total - float((self.begin or self.origin) - self.origin))
        if self.end is None:
            return rest
        wanted = float(self.end - (self.begin or self.origin))
        return wanted if rest is None else min(wanted, rest)

    def holds(self, pts: int, time_base: Fraction) -> bool:
        time = pts * time_base
        return (self.begin is None or time >= self.begin) and (self.end is None or time < self.end)

    def move(self, pts: int, time_base: Fraction) -> int:
        return pts - round(self.shift / time_base)

    def take_packet(self, packet: av.Packet) -> bool:
        """Move a copied packet into the span; False if it lies outside. A subtitle may begin earlier: it is cut."""
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None or (self.begin is None and self.end is None):
            return True
        base = Fraction(packet.time_base)
        if self.begin is not None and pts * base < self.begin:
            late = -(-self.begin // base) - pts
            if packet.stream.type != "subtitle" or not packet.duration or packet.duration <= late:
                return False
            packet.pts, packet.dts, packet.duration = pts + late, pts + late, packet.duration - late
        if not self.holds(packet.pts if packet.pts is not None else packet.dts, base):
            return False
        for name in ("pts", "dts"):
            if (value := getattr(packet, name)) is not None:
                setattr(packet, name, self.move(value, base))
        return True

    def is_past(self, packet: av.Packet) -> bool:
        """True once a stream's packets lie behind the end; dts never exceeds pts, so none that belongs follows."""
        if self.end is None or packet.dts is None or packet.dts * packet.time_base < self.end:
            return False
        self._past.add(packet.stream.index)
        return True

    def finished(self, packet: av.Packet, video: int, streams: list[av.stream.Stream]) -> bool:
        """True if, with this packet that is past the end, nothing more can belong to the span."""
        if packet.dts * packet.time_base > self.end + _PATIENCE:
            return True
        sound = {stream.index for stream in streams if stream.type == "audio"}
        return video in self._past and sound <= self._past

    def chapters(self, chapters: list[dict]) -> list[dict]:
        """The chapters inside the span, cut to it and moved with it."""
        kept = []
        for chapter in chapters:
            base = chapter["time_base"]
            start, end = chapter["start"] * base, chapter["end"] * base
            start = start if self.begin is None else max(start, self.begin)
            end = end if self.end is None else min(end, self.end)
            if start < end:
                times = {"start": round((start - self.shift) / base), "end": round((end - self.shift) / base)}
                kept.append({**chapter, **times})
        return kept
