"""Hints as a user writes them: X,Y,#RRGGBB or X,Y,#RRGGBB@TIME, on the command line or one per line of a file."""

import re
from pathlib import Path

from edgecolor.errors import ConfigError, MediaError, MediaNotFoundError
from edgecolor.hints import Hint
from edgecolor.times import seconds_of

HINT = re.compile(r"\s*(\d+)\s*,\s*(\d+)\s*,#([0-9a-fA-F]{6})\s*(?:@\s*(\S+)\s*)?", re.ASCII)
COMMENT = re.compile(r"(^|\s)#.*$")  # the # of a color follows a comma
LONGEST = 1_000_000  # bytes: no list of hints is longer, but other files given by mistake are


def read_hint(text: str) -> Hint:
    """One hint: 120,80,#a03020 or 120,80,#a03020@1:30.

    raises  ConfigError for a text that is none, with what is wrong with it
    """
    match = HINT.fullmatch(text)
    if not match:
        raise ConfigError(f"{text.strip()!r} is no hint: write X,Y,#RRGGBB or X,Y,#RRGGBB@TIME, such as 120,80,#a03020")
    x, y, color, time = match.groups()
    seconds = 0.0 if time is None else seconds_of(time)
    if seconds is None:
        raise ConfigError(f"{text.strip()}: {time!r} after the @ is no time: give seconds or h:mm:ss")
    return Hint(int(x), int(y), tuple(bytes.fromhex(color)), seconds)


def read_hints(path: str | Path) -> list[Hint]:
    """The hints of a text file, UTF-8, one per line; empty lines do not count, nor does a # that stands at the
    beginning of a line or after a blank, and what follows it.

    raises  MediaNotFoundError, MediaError (no text, cannot be read), ConfigError (no hints; a line that is none)
    """
    path, wanted = Path(path), "give a text file with one X,Y,#RRGGBB per line"
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise MediaNotFoundError(f"{path}: no such file: {wanted}") from error
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}): {wanted}") from error
    except UnicodeDecodeError as error:
        raise MediaError(f"{path} is no text in UTF-8: {wanted}") from error
    if len(content) > LONGEST:
        raise MediaError(f"{path} is too long for a list of hints: {wanted}")
    hints = []
    for number, line in enumerate(lines, 1):
        if text := COMMENT.sub("", line).strip():
            try:
                hints.append(read_hint(text))
            except ConfigError as error:
                raise ConfigError(f"{path}, line {number}: {error}") from error
    if not hints:
        raise ConfigError(f"{path} holds no hints: write one X,Y,#RRGGBB per line")
    return hints
