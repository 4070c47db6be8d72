"""JSON from anybody: one object, UTF-8, not deep, not of too many values, no name twice, no NaN, no huge numbers."""

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

MAX_DEPTH = 32
MAX_VALUES = 1 << 16
"""So many values, and the event loop stands still for less than 0.1 s while they are read."""


def loads(raw: bytes, *, depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The object; `raw` has to be of bounded length. Raises `ValueError` that says in a few words what is wrong."""
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} values")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"it is {kind(value)}, not a JSON object")
    if _depth(value) > depth:
        raise ValueError("it is nested too deeply")
    return value


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"


def _depth(value: object) -> int:
    """How many objects and arrays are inside each other, at most."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {ascii(name)[:120]} comes twice in one object")
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
