"""The time of a simulated host: the real one, or a virtual one that passes only when nobody has anything to do."""

import asyncio
import time
from typing import Protocol

TURNS = 50
"""Turns of the event loop without any news, after which virtual time goes on."""


class Clock(Protocol):
    """What a simulated host needs of time."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def wait(self, until: float, news: asyncio.Event) -> None:
        """Return when `news` is set or the time is `until`."""
        ...


class RealClock:
    """Time as it passes: for `cdmi-attachd --simulate`."""

    def now(self) -> float:
        return time.monotonic()

    async def wait(self, until: float, news: asyncio.Event) -> None:
        delay = None if until == float("inf") else max(until - self.now(), 0)
        try:
            async with asyncio.timeout(delay):
                await news.wait()
        except TimeoutError:
            return


class VirtualClock:
    """Time that jumps to the earliest waiter's deadline once all tasks of the loop only wait.

    It cannot see work in other threads or processes: use it with inline stores and without sockets.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._deadlines: list[float] = []

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += seconds

    async def wait(self, until: float, news: asyncio.Event) -> None:
        self._deadlines.append(until)
        try:
            while self._now < until and not news.is_set():
                if await self._quiet(news) and until == min(self._deadlines) != float("inf"):
                    self._now = max(self._now, until)
        finally:
            self._deadlines.remove(until)

    async def _quiet(self, news: asyncio.Event) -> bool:
        """Let the other tasks run for some turns; whether nothing came of it for this waiter, nor did time pass."""
        before = self._now
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if news.is_set() or self._now != before:
                return False
        return True
