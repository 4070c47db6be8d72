"""Read a JSON object field by field, so that every error names the path of the field that is wrong."""

import difflib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from agent import strictjson
from attachers import checks
from attachers.problems import Code, Problem

MAX_DEPTH = 16


def load_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request's body. Raises `Problem` (`bad-request`): no JSON, a name twice, NaN, too deep."""
    hint = "send one JSON object, as GET /v1/openapi.json describes it"
    try:
        return strictjson.loads(body, depth=MAX_DEPTH)
    except ValueError as error:
        raise Problem(Code.BAD_REQUEST, f"the body is not JSON: {_reason(error)}", hint=hint) from None


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


class Fields:
    """One JSON object being read: each getter takes one field, `finish` refuses those that nobody took."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.known: set[str] = set()
        self._values = values
        self._path = path

    def path(self, key: str) -> str:
        """The field's path from the top: `domain.target`."""
        return f"{self._path}.{key}" if self._path else key

    def has(self, key: str) -> bool:
        """Whether the field is there at all, null or not."""
        return key in self._values

    def text(self, key: str, default: str | None = None, *, limit: int = 4096) -> str:
        """A string of 1 to `limit` characters; without a default it has to be there."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        if not 1 <= len(value) <= limit:
            raise checks.refuse(self.path(key), value, f"a string of 1 to {limit} characters")
        return value

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One of a few strings."""
        value = self._take(key, default)
        if not isinstance(value, str) or value not in choices:
            raise checks.refuse(self.path(key), value, f"one of {', '.join(choices)}")
        return value

    def choices(self, key: str, choices: Collection[str], default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of some of a few strings, each at most once, at least one."""
        value = self._take(key, list(default))
        if not isinstance(value, list) or not value:
            raise self._wrong(key, value, f"a list of {', '.join(choices)}")
        for index, item in enumerate(value):
            if not isinstance(item, str) or item not in choices or item in value[:index]:
                raise checks.refuse(f"{self.path(key)}[{index}]", item, f"one of {', '.join(choices)}, once")
        return tuple(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def whole(self, key: str, *, low: int, high: int, default: int | None) -> int | None:
        """A whole number from `low` to `high`; null and absent are the default."""
        value = self._take(key, default, null=True)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
            raise checks.refuse(self.path(key), value, f"a whole number from {low} to {high}")
        return value

    def seconds(self, key: str, *, low: float, high: float, default: float | None) -> float | None:
        """Seconds from `low` to `high`; null and absent are the default."""
        value = self._take(key, default, null=True)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise checks.refuse(self.path(key), value, f"a number of seconds from {low:g} to {high:g}")
        return float(value)

    def inner(self, key: str) -> "Fields | None":
        """An object inside this one, None when it is not there or null."""
        value = self._take(key, None, null=True)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return Fields(value, self.path(key))

    def finish(self) -> None:
        """Refuse the first field that no getter asked for."""
        for key in self._values:
            if key not in self.known:
                near = difflib.get_close_matches(key, self.known, 1)
                hint = f"did you mean {self.path(near[0])}?" if near else f"known are {', '.join(sorted(self.known))}"
                raise Problem(Code.INVALID_REQUEST, f"{ascii(self.path(key))[1:-1][:200]}: unknown field", hint=hint)

    def _take(self, key: str, default: object, *, null: bool = False) -> Any:
        self.known.add(key)
        if key not in self._values or (null and self._values[key] is None):
            if default is None and not null:
                raise Problem(Code.INVALID_REQUEST, f"{self.path(key)}: missing", hint=f"give {self.path(key)}")
            return default
        return self._values[key]

    def _wrong(self, key: str, value: object, wanted: str) -> Problem:
        return Problem(
            Code.INVALID_REQUEST, f"{self.path(key)}: {strictjson.kind(value)} is not {wanted}", hint=f"give {wanted}"
        )


def number(text: str, *, field: str, high: float) -> float:
    """A non-negative number of seconds of a query string."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= high:
        raise checks.refuse(field, text, f"a number of seconds from 0 to {high:g}")
    return value
