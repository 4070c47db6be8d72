"""Frozen dataclasses <-> plain JSON values, strictly: what is decoded is exactly what its type says, or refused.

Whatever is decoded is built by its constructor, so the checks that a class makes of itself run again.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from attachers.problems import Code, Problem

T = TypeVar("T")


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON object: tuples and sets become lists, `None` null; a mapping has to be plain JSON."""
    return _fields(value)


def from_json(kind: type[T], value: object, *, path: str = "value") -> T:
    """The dataclass `kind` from a JSON object.

    Raises `Problem`: bad-request when the object is none, naming the place; invalid-request when a field is not what
    the class allows.
    """
    made: T = build(kind, object_of(value, path), path)
    return made


def _fields(value: Any) -> dict[str, Any]:
    return {one.name: _encode(getattr(value, one.name)) for one in fields(value)}


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, frozenset)):
        return [_encode(one) for one in (sorted(value) if isinstance(value, frozenset) else value)]
    if value is None or isinstance(value, (str, int, float)):
        return str(value) if isinstance(value, StrEnum) else value
    raise TypeError(f"{type(value).__name__} has no place on the wire")


def build(kind: type, members: Mapping[str, Any], path: str) -> Any:
    hints = _hints(kind)
    same_names(members, frozenset(hints), path)
    return kind(**{name: decode(hints[name], members[name], f"{path}.{name}") for name in hints})


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Every field with its type. All are always sent: a default is for whoever makes the value, not for the wire."""
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def decode(kind: Any, value: object, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind, value, path)
    if origin is tuple:
        (item, _) = get_args(kind)
        return tuple(decode(item, one, f"{path}[{index}]") for index, one in enumerate(_list(value, path)))
    if origin is frozenset:
        (item,) = get_args(kind)
        return frozenset(decode(item, one, f"{path}[{index}]") for index, one in enumerate(_list(value, path)))
    if origin is Mapping:
        return object_of(value, path)
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return build(kind, object_of(value, path), path)
    return _scalar(kind, value, path)


def _optional(kind: Any, value: object, path: str) -> Any:
    """X | None."""
    (inner,) = (one for one in get_args(kind) if one is not type(None))
    return None if value is None else decode(inner, value, path)


def _scalar(kind: type, value: object, path: str) -> Any:
    if issubclass(kind, StrEnum):
        if isinstance(value, str) and value in [str(one) for one in kind]:
            return kind(value)
        raise bad(path, f"{ascii(value)[:80]} is none of {', '.join(kind)}")
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise bad(path, f"{type(value).__name__} instead of {kind.__name__}")
    return value


def object_of(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad(path, f"{type(value).__name__} instead of an object")
    return value


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad(path, f"{type(value).__name__} instead of a list")
    return value


def same_names(members: Mapping[str, Any], names: frozenset[str], path: str) -> None:
    for name in sorted(names - members.keys()):
        raise bad(f"{path}.{name}", "is missing")
    for name in sorted(members.keys() - names):
        raise bad(f"{path}.{ascii(name)[1:-1][:80]}", "is not known")


def bad(path: str, text: str) -> Problem:
    return Problem(Code.BAD_REQUEST, f"{path}: {text}", hint="daemon and helper have to be of one version")
