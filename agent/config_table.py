"""Read one table of the configuration key by key; what is wrong is noted with its place, and reading goes on."""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from agent.config_files import Document
from agent.config_lines import Path
from attachers.problems import Problem


class Table:
    """A table being read. Each getter takes one key; a wrong value is noted and the default stands in for it."""

    def __init__(self, document: Document, values: Mapping[str, Any], path: Path) -> None:
        self.path = path
        self._document = document
        self._values = values
        self._known: set[str] = set()

    def text(self, key: str, default: str = "", *, check: Callable[[str], str] | None = None) -> str:
        """A string; `check` gives its canonical form or raises `ValueError` or `Problem`."""
        value = self._take(key, default, str, "a string")
        if not value or check is None or key not in self._values:
            return str(value)
        try:
            return check(value)
        except Problem as problem:
            self.complain(key, problem.detail.partition(": ")[2], problem.hint)
        except ValueError as error:
            self.complain(key, f"{ascii(value)[:120]} is not right", f"give {error}")
        return default

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One of a few strings."""
        value: str = self._take(key, default, str, "a string")
        if value not in choices:
            self.complain(key, f"{ascii(value)[:120]} is not known", f"give one of {', '.join(choices)}")
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        return bool(self._take(key, default, bool, "true or false"))

    def number(self, key: str, default: int, *, low: int, high: int) -> int:
        """A whole number."""
        value = self._take(key, default, int, f"a whole number from {low} to {high}")
        if isinstance(value, bool) or not low <= value <= high:
            self.complain(key, f"{value} is out of range", f"give a whole number from {low} to {high}")
            return default
        return int(value)

    def seconds(self, key: str, default: float, *, low: float, high: float) -> float:
        """A number of seconds."""
        value = self._take(key, default, (int, float), f"a number of seconds from {low:g} to {high:g}")
        if isinstance(value, bool) or not low <= value <= high:
            self.complain(key, f"{value} is out of range", f"give a number of seconds from {low:g} to {high:g}")
            return default
        return float(value)

    def texts(self, key: str, default: tuple[str, ...] = (), *, check: Callable[[str], str]) -> tuple[str, ...]:
        """A list of strings, each in its canonical form."""
        found = []
        for index, item in enumerate(self._take(key, list(default), list, "a list of strings")):
            try:
                if not isinstance(item, str):
                    raise ValueError("a string")
                found.append(check(item))
            except ValueError as error:
                self._document.complain((*self.path, key, index), f"{ascii(item)[:120]} is not right", f"give {error}")
        return tuple(found)

    def inner(self, key: str) -> "Table | None":
        """A table inside this one, None when it is not there."""
        if key not in self._values:
            self._known.add(key)
            return None
        values = self._take(key, {}, dict, "a table")
        return Table(self._document, values, (*self.path, key))

    def tables(self, key: str) -> list["Table"]:
        """An array of tables."""
        items = self._take(key, [], list, f"an array of tables ([[{key}]])")
        if not all(isinstance(item, dict) for item in items):
            self.complain(key, "is not an array of tables", f"write [[{key}]]")
            return []
        return [Table(self._document, item, (*self.path, key, index)) for index, item in enumerate(items)]

    def has(self, key: str) -> bool:
        """Whether the key is written in the file."""
        return key in self._values

    def require(self, key: str, remedy: str) -> None:
        """Note an error when the key is not there."""
        if key not in self._values:
            self.complain(key, "is missing", remedy)

    @property
    def errors(self) -> int:
        """How many errors there are so far, in the whole configuration."""
        return len(self._document.errors)

    def complain(self, key: str, what: str, remedy: str) -> None:
        """Note an error about one key."""
        self._document.complain((*self.path, key), what, remedy)

    def finish(self) -> None:
        """Note an error for each key that no getter asked for."""
        for key in self._values:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                known = ", ".join(sorted(self._known))
                self.complain(key, "unknown key", f"did you mean {near[0]}?" if near else f"known here are {known}")

    def _take(self, key: str, default: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
        self._known.add(key)
        value = self._values.get(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.complain(key, f"{_kind(value)} is not {wanted}", f"give {wanted}")
            return default
        return value


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")
