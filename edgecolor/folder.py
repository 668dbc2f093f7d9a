"""What of a folder is colored, and under which name each of it is written into another one."""

from collections import Counter
from pathlib import Path

from edgecolor.errors import MediaError
from edgecolor.images import is_image, written_name
from edgecolor.video.containers import CONTAINERS

WRITTEN = {container.extension for container in CONTAINERS}
VIDEOS = WRITTEN | {
    ".3gp", ".asf", ".divx", ".dv", ".f4v", ".flv", ".m1v", ".m2v", ".mjpeg", ".mpeg", ".mpg", ".mxf", ".nut", ".ogv",
    ".vob", ".wmv", ".y4m",
}  # fmt: skip


def plan_folder(src: Path, dst: Path) -> list[tuple[Path, Path]]:
    """The pictures and videos in a folder, by name, each with the file to write; folders in it are left out.

    What is read but not written becomes PNG or Matroska, which lose nothing.

    raises  MediaError where there are none, where two would have one name, or the two folders are one
    """
    if dst.exists() and not dst.is_dir():
        raise MediaError(f"{dst} is a file, and {src} is a folder: name a folder to write to")
    if dst.exists() and dst.samefile(src):
        raise MediaError(f"{dst} is the folder that is read: name another one to write to")
    found = [path for path in sorted(src.iterdir()) if path.is_file() and not path.name.startswith(".")]
    pairs = [(path, dst / name) for path in found if (name := _written_name(path))]
    if not pairs:
        raise MediaError(f"{src} holds no picture and no video: name another folder")
    twice = [target.name for target, count in Counter(target for _, target in pairs).items() if count > 1]
    if twice:
        raise MediaError(f"several files of {src} would be written as {twice[0]}: color them into folders of their own")
    return pairs


def _written_name(path: Path) -> str | None:
    """None: it is neither picture nor video."""
    suffix = path.suffix.lower()
    if is_image(path):
        return written_name(path)
    if suffix in VIDEOS:
        return path.name if suffix in WRITTEN else f"{path.stem}.mkv"
    return None
