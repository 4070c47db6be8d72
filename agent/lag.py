"""How late the event loop is: what it was to do a second ago, and when it came to it."""

import asyncio

PERIOD_S = 1.0


class LoopLag:
    """Looks once a second. `take` tells the worst since it was last asked, in seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worst = 0.0
        self._due = 0.0
        self._timer = self._arm()

    def take(self) -> float:
        """The worst lag since the last call, and forget it."""
        worst, self._worst = max(self._worst, self._loop.time() - self._due), 0.0
        return worst

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _arm(self) -> asyncio.TimerHandle:
        self._due = self._loop.time() + PERIOD_S
        return self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._worst = max(self._worst, self._loop.time() - self._due)
        self._timer = self._arm()
