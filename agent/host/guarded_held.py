"""Which resources a step works on right now: one at a time for each, and no look judges what changes under its eyes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakValueDictionary

from attachers.problems import Code, Problem
from attachers.steps import Step


class Held:
    """The locks of the guard's resources, by their keys."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._held: set[str] = set()
        self._looking: dict[object, set[str]] = {}

    @asynccontextmanager
    async def hold(self, key: str, step: Step, timeout_s: float) -> AsyncIterator[None]:
        """Take the lock of a resource, and tell every look that is under way that its answer may be old."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout_s):
                await lock.acquire()
        except TimeoutError:
            raise Problem(Code.BUSY, f"another step on {key} is still under way", step=step.describe()) from None
        self._held.add(key)
        try:
            yield
        finally:
            for touched in self._looking.values():
                touched.add(key)
            self._held.discard(key)
            lock.release()

    @contextmanager
    def looking(self, *, mine: str) -> Iterator[set[str]]:
        """While a look is under way: the keys that others worked on meanwhile, complete when it has ended."""
        look = object()
        touched = self._looking[look] = self._held - {mine}
        try:
            yield touched
        finally:
            del self._looking[look]
            touched |= self._held - {mine}
