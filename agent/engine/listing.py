"""The list of all attachments as text: made anew only where something changed."""

import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from agent.engine.ledger import Row
from agent.engine.view import view_of


@dataclass(frozen=True, slots=True)
class _Told:
    row: Row
    last_step: dict[str, Any] | None
    text: str


def only(prefix: str, rows: Iterable[tuple[Row, list[dict[str, Any]]]]) -> bytes:
    """The JSON object that has those whose names begin so."""
    views = [view_of(row, steps) for row, steps in rows if row.name.startswith(prefix)]
    return json.dumps({"attachments": views}).encode()


class Listing:
    """Remembers the text of each attachment, and of all."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._version: Hashable = None
        self._all = b""

    def of(self, version: Hashable, rows: Iterable[tuple[Row, list[dict[str, Any]]]]) -> bytes:
        """The JSON object that has them all, in order. `version` changes with anything that the rows or steps say."""
        if version != self._version:
            self._told = {row.name: self._of_one(row, steps) for row, steps in rows}
            texts = ", ".join(told.text for told in self._told.values())
            self._all, self._version = f'{{"attachments": [{texts}]}}'.encode(), version
        return self._all

    def _of_one(self, row: Row, steps: list[dict[str, Any]]) -> _Told:
        last = steps[-1] if steps else None
        before = self._told.get(row.name)
        if before and before.row is row and before.last_step is last:
            return before
        return _Told(row, last, json.dumps(view_of(row, steps)))
