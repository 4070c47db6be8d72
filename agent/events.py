"""What happens, as it happens: a bounded ring of events that a reader can take up again where it left off."""

import asyncio
import itertools
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

KEPT = 4096
"""How many events are kept for readers who come back: some hundred attachments' worth."""

Event = dict[str, Any]


class Events:
    """Numbered events. Numbers grow, over restarts of the daemon as well, since they start at the time in ms."""

    def __init__(self, *, kept: int = KEPT, first: int | None = None) -> None:
        self._ring: deque[Event] = deque(maxlen=kept)
        self._next = itertools.count(time.time_ns() // 1_000_000 if first is None else first)
        self._news = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """Let every reader go: nothing more will come."""
        self.closed = True
        self._news.set()

    def tell(self, attachment: str, kind: str, **fields: Any) -> None:
        """Something happened to an attachment: `kind` is step-began, step-ended, phase or forced."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._ring.append({"seq": next(self._next), "at": at, "attachment": attachment, "kind": kind, **fields})
        self._news.set()
        self._news = asyncio.Event()

    def since(self, seq: int, *, attachment: str | None = None) -> list[Event]:
        """What is kept of all that came after event number `seq`, of one attachment or of all.

        Where some of it is not kept any more, the first one says so (kind `gap`): the reader has to look for itself.
        """
        kept = [event for event in self._ring if event["seq"] > seq]
        told = [event for event in kept if attachment in (None, event["attachment"])]
        lost = seq > 0 and bool(self._ring) and self._ring[0]["seq"] > seq + 1
        return [self._gap(self._ring[0]["seq"] - 1), *told] if lost else told

    @property
    def last(self) -> int:
        """The number of the newest event, 0 when there is none yet."""
        return self._ring[-1]["seq"] if self._ring else 0

    async def later_than(self, seq: int, *, timeout_s: float) -> bool:
        """Wait until there is an event after number `seq`; False when none came within `timeout_s`, or none will."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.last <= seq and not self.closed:
                    await self._news.wait()
        except TimeoutError:
            return False
        return self.last > seq

    def _gap(self, seq: int) -> Event:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"seq": seq, "at": at, "attachment": "", "kind": "gap", "what": "events before this one are not kept"}
