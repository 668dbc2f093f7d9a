"""Plain YAML data into frozen dataclasses, every key and type checked; complaints name the key."""

import dataclasses
import difflib
import math
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from edgecolor.errors import ConfigError


def nearest(word: str, known) -> str:
    """The end of an error message: the one that was probably meant, or all there are."""
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def build(kind: Any, value: Any, where: str = "") -> Any:
    """Turn plain data into `kind`.

    kind    a dataclass, tuple[...], dict[str, ...], X | None, int, float, str or bool
    value   what YAML gave
    where   dotted name of the place, for messages; empty at the top
    raises  ConfigError
    """
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is tuple:
        return _build_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a mapping, got {value!r}")
        return {str(key): build(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin in (Union, UnionType):
        if value is None and type(None) in args:
            return None
        return build(next(a for a in args if a is not type(None)), value, where)
    return _build_scalar(kind, value, where)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where or 'the config'} must be a mapping of keys to values, got {value!r}")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in hints:
            raise ConfigError(f"unknown key {prefix}{key}: {nearest(str(key), hints)}")
    fields = {key: build(hints[key], item, f"{prefix}{key}") for key, item in value.items()}
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in fields
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where or 'the config'} lacks {missing[0]}: it has no default, so give it")
    try:
        return kind(**fields)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error


def _build_tuple(args: tuple, value: Any, where: str) -> tuple:
    many = args[-1] is Ellipsis
    if not isinstance(value, (list, tuple)) or (not many and len(value) != len(args)):
        raise ConfigError(f"{where} must be a list{'' if many else f' of {len(args)}'}, got {value!r}")
    kinds = [args[0]] * len(value) if many else args
    return tuple(build(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, value, strict=True)))


def _build_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) in (int, float, str):
        try:
            number = float(value)  # YAML reads 1e-3, which has no point, as text
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"{where} must be a finite number, got {value!r}")
        return number
    if type(value) is not kind:
        raise ConfigError(f"{where} must be of type {kind.__name__}, got {value!r}")
    return value
