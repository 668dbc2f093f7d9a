"""One family of errors. Each is also the built-in it resembles, so callers may catch either.

The text of every one of them is a single line: what was found, and what to do about it.
"""


class EdgeColorError(Exception):
    """The user can fix it: the CLI prints one line and exits with status 2."""


class ShapeError(EdgeColorError, ValueError):
    """An array does not have the shape or type that a docstring promises."""


class ConfigError(EdgeColorError, ValueError):
    """An option has an impossible value, or two options contradict each other."""


class MediaError(EdgeColorError, OSError):
    """A video or image file cannot be read or written as asked."""


class MediaNotFoundError(MediaError, FileNotFoundError):
    """A path that should hold a video or an image does not exist."""


class UnsupportedMediaError(MediaError):
    """A codec or container cannot carry what the source holds."""


class ModelError(EdgeColorError, ValueError):
    """A model file is damaged, is not ours, or does not fit what it is used for."""


class MissingDependencyError(EdgeColorError, ImportError):
    """An optional package is needed for what was asked."""
