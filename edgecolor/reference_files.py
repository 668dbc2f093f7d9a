"""References as a user names them: FILE, FILE@TIME, and a folder of corrected frames."""

import re
from pathlib import Path

from edgecolor.errors import ConfigError, MediaNotFoundError
from edgecolor.images import is_image, read_image
from edgecolor.references import Reference
from edgecolor.times import seconds_of


def read_reference(text: str) -> Reference:
    """A picture, or one with the time from which on it holds: portrait.png, portrait.png@1:30.

    raises  as read_image does; ConfigError for a time that is none
    """
    name, at, time = text.rpartition("@")
    if not (name and at) or Path(text).exists():  # an @ may be part of the name
        return Reference(read_image(text).rgb)
    since = seconds_of(time)
    if since is None:
        raise ConfigError(f"{text}: {time!r} after the @ is no time: give seconds or h:mm:ss")
    return Reference(read_image(name).rgb, since=since)


def read_kept_frames(folder: str | Path) -> list[Reference]:
    """The pictures of a folder, each named after the number of its frame: 312.png, frame-000312.png. Frames are counted
    from 0 where coloring starts.

    raises  MediaNotFoundError, ConfigError (no pictures, a name without a number, a number twice), as read_image does
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MediaNotFoundError(f"{folder} is no folder: give one with corrected frames, named by their numbers")
    found: dict[int, Path] = {}
    for path in sorted(path for path in folder.iterdir() if is_image(path)):
        number = re.search(r"(\d+)$", path.stem)
        if number is None:
            raise ConfigError(f"{path}: its name must end in the number of its frame, such as frame-000312.png")
        first = found.setdefault(int(number[1]), path)
        if first != path:
            raise ConfigError(f"{first} and {path} are both of frame {int(number[1])}: keep one")
    if not found:
        raise ConfigError(f"{folder} holds no pictures: put corrected frames there, such as frame-000312.png")
    return [Reference(read_image(path).rgb, frame=number) for number, path in sorted(found.items())]
