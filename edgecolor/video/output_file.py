"""The output's name: checked before work begins, and given to the file only once it is complete."""

import errno
import os
from pathlib import Path

import av

from edgecolor.errors import MediaError, MediaNotFoundError


class OutputFile:
    """A file that is written under a temporary name in the output's folder, then renamed or removed.

    raises  MediaNotFoundError if the folder is missing; MediaError if the output is the input, is a folder, exists
            and may not be overwritten, or if nothing can be written there
    """

    def __init__(self, path: Path, source: Path, overwrite: bool):
        self.path, self._overwrite = path, overwrite
        folder = path.parent
        if not folder.exists():
            raise MediaNotFoundError(f"the folder {folder} does not exist: create it, or write elsewhere")
        if not folder.is_dir():
            raise MediaError(f"{folder} is not a folder: write elsewhere")
        if path.is_dir():
            raise MediaError(f"{path} is a folder: name a file")
        if path.exists() and os.path.samefile(path, source):
            raise MediaError(f"{path} is the input itself: choose another name for the output")
        if path.exists() and not overwrite:
            raise MediaError(f"{path} exists: choose another name, or overwrite it (--overwrite)")
        # The extension stays last, because FFmpeg and players go by it.
        self.partial = folder / f".{path.stem}.partial-{os.getpid()}{path.suffix}"
        try:
            self.partial.open("wb").close()
        except OSError as error:
            raise MediaError(f"cannot write in {folder.resolve()}: {error.strerror}; write elsewhere") from error

    def publish(self) -> None:
        """Give the complete file its name."""
        if self.path.exists() and not self._overwrite:
            self.discard()
            raise MediaError(f"{self.path} has appeared meanwhile: choose another name, or overwrite it (--overwrite)")
        try:
            os.replace(self.partial, self.path)
        except OSError as error:
            self.discard()
            raise MediaError(f"cannot give {self.path} its name: {error.strerror}") from error

    def discard(self) -> None:
        self.partial.unlink(missing_ok=True)

    def describe(self, error: OSError | av.error.FFmpegError) -> MediaError:
        """The error to raise when writing fails."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return MediaError(f"no space left in {self.path.parent.resolve()} for {self.path.name}: free some")
        return MediaError(f"{self.path} cannot be written: {(error.strerror or str(error)).splitlines()[0]}")
