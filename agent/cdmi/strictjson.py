"""JSON from a server that is not trusted: one object, UTF-8, not deep, no duplicate keys, no NaN, no huge numbers."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

MAX_DEPTH = 32
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ROUND = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def loads(raw: bytes) -> dict[str, Any]:
    """The object. Raises `ValueError` that says in a few words what is wrong with it."""
    if _is_deep(raw):
        raise ValueError(f"it is not JSON nested at most {MAX_DEPTH} deep")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _is_deep(raw: bytes) -> bool:
    """Whether brackets are left after the innermost pairs were taken out as often as allowed; linear in time."""
    brackets = _STRING.sub(b"", raw).translate(_ROUND, _OTHERS)
    for _ in range(MAX_DEPTH):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == before:
            break
    return bool(brackets)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
