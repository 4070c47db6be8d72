"""Values on the wire between daemon and helper: dataclass <-> JSON, strictly, and frames on a stream socket.

A step, query or sight is {"type": its class, then its fields}; a nested value has no type, since its place tells it.
Whatever is decoded is built by its constructor, so the checks of every step and query run again on each side.
"""

import asyncio
import json
import math
import struct
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from attachers.problems import Code, Problem
from attachers.sights import QUERIES, SIGHTS, Query, Sight
from attachers.steps import STEPS, Step

MAX_FRAME = 1 << 20
_LENGTH = struct.Struct(">I")
_KINDS: Mapping[str, type] = {cls.__name__: cls for cls in (*STEPS, *QUERIES, *SIGHTS)}
_PROBLEM = frozenset({"type", "code", "detail", "hint", "step", "status"})


def encode(value: Step | Query | Sight | Problem) -> dict[str, Any]:
    """The value as a JSON object."""
    if isinstance(value, Problem):
        parts = {"code": str(value.code), "detail": value.detail, "hint": value.hint}
        return {"type": "Problem", **parts, "step": value.step, "status": value.status}
    return {"type": type(value).__name__, **_fields(value)}


def decode_step(value: object, *, path: str = "value") -> Step:
    """The step that a JSON object stands for.

    Raises `Problem`: bad-request when it is none, naming the place; invalid-request when a field is not what it may be.
    """
    step: Step = _tagged(value, STEPS, path)
    return step


def decode_query(value: object, *, path: str = "value") -> Query:
    """The query that a JSON object stands for; raises like `decode_step`."""
    query: Query = _tagged(value, QUERIES, path)
    return query


def decode_sight(value: object, *, path: str = "value") -> Sight:
    """The sight that a JSON object stands for; raises like `decode_step`."""
    sight: Sight = _tagged(value, SIGHTS, path)
    return sight


def decode_problem(value: object, *, path: str = "problem") -> Problem:
    """The problem that a JSON object stands for, to be raised; raises bad-request when it is none."""
    members = _object(value, path)
    _same_names(members, _PROBLEM, path)
    texts = {name: _decode(str, members[name], f"{path}.{name}") for name in ("detail", "hint", "step")}
    code: Code = _decode(Code, members["code"], f"{path}.code")
    status: int = _decode(int, members["status"], f"{path}.status")
    return Problem(code, texts["detail"], hint=texts["hint"], step=texts["step"], status=status)


def pack(message: Mapping[str, Any]) -> bytes:
    """A message as a frame: four bytes of length (big endian), then JSON. Raises `Problem` (`too-large`)."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_FRAME:
        raise Problem(Code.TOO_LARGE, f"a message of {len(body)} bytes is longer than {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message, None at the end of the stream.

    Raises `Problem` (`bad-request`, `too-large`) after which the stream is of no use, `OSError` when it broke.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            raise Problem(Code.TOO_LARGE, f"a message of {length} bytes is longer than {MAX_FRAME}")
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
    return parse(body)


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in a frame. Raises `Problem` (`bad-request`): twice the same name and NaN are refused as well."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(Code.BAD_REQUEST, f"not a JSON message: {ascii(str(error))[:200]}") from None
    return _object(value, "message")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is given twice")
    return members


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


# From a value to JSON.


def _fields(value: Any) -> dict[str, Any]:
    return {one.name: _encode(getattr(value, one.name)) for one in fields(value)}


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, (tuple, frozenset)):
        return [_encode(one) for one in (sorted(value) if isinstance(value, frozenset) else value)]
    if value is None or isinstance(value, (str, int, float)):
        return str(value) if isinstance(value, StrEnum) else value
    raise TypeError(f"{type(value).__name__} has no place on the wire")


# From JSON to a value, by the type that its place asks for.


def _tagged(value: object, kinds: tuple[type, ...], path: str) -> Any:
    members = _object(value, path)
    name = members.get("type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None or kind not in kinds:
        raise _bad(f"{path}.type", f"{ascii(name)[:80]} is none of {', '.join(one.__name__ for one in kinds)}")
    return _build(kind, {key: one for key, one in members.items() if key != "type"}, path)


def _build(kind: type, members: Mapping[str, Any], path: str) -> Any:
    hints = _hints(kind)
    _same_names(members, frozenset(hints), path)
    return kind(**{name: _decode(hints[name], members[name], f"{path}.{name}") for name in hints})


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Every field with its type. All are always sent: a default is for whoever makes the value, not for the wire."""
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _decode(kind: Any, value: object, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind, value, path)
    if origin is tuple:
        (item, _) = get_args(kind)
        return tuple(_decode(item, one, f"{path}[{index}]") for index, one in enumerate(_list(value, path)))
    if origin is frozenset:
        (item,) = get_args(kind)
        return frozenset(_decode(item, one, f"{path}[{index}]") for index, one in enumerate(_list(value, path)))
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return _build(kind, _object(value, path), path)
    return _scalar(kind, value, path)


def _optional(kind: Any, value: object, path: str) -> Any:
    """X | None."""
    (inner,) = (one for one in get_args(kind) if one is not type(None))
    return None if value is None else _decode(inner, value, path)


def _scalar(kind: type, value: object, path: str) -> Any:
    if issubclass(kind, StrEnum):
        if isinstance(value, str) and value in [str(one) for one in kind]:
            return kind(value)
        raise _bad(path, f"{ascii(value)[:80]} is none of {', '.join(kind)}")
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise _bad(path, f"{type(value).__name__} instead of {kind.__name__}")
    return value


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(path, f"{type(value).__name__} instead of an object")
    return value


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(path, f"{type(value).__name__} instead of a list")
    return value


def _same_names(members: Mapping[str, Any], names: frozenset[str], path: str) -> None:
    for name in sorted(names - members.keys()):
        raise _bad(f"{path}.{name}", "is missing")
    for name in sorted(members.keys() - names):
        raise _bad(f"{path}.{ascii(name)[1:-1][:80]}", "is not known")


def _bad(path: str, text: str) -> Problem:
    return Problem(Code.BAD_REQUEST, f"{path}: {text}", hint="daemon and helper have to be of one version")
