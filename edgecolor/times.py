"""Times as a user writes them."""

import re

from edgecolor.errors import ConfigError

CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)s?", re.ASCII)


def seconds_of(text: str) -> float | None:
    """Seconds of `12.5`, `1:02.5` or `1:00:02`; None for anything else, such as `1:75`."""
    match = CLOCK.fullmatch(text)
    if not match:
        return None
    hours, minutes, seconds = match.groups()
    if (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
        return None
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def parse_time(text: str, option: str) -> float:
    """Seconds from "12.5", "0:12" or "1:02:03", given as `option`; ConfigError if it is none of these."""
    seconds = seconds_of(text.strip())
    if seconds is None:
        raise ConfigError(f"{option}: {text!r} is no time: write seconds (12.5), minutes (0:12) or hours (1:02:03)")
    return seconds
