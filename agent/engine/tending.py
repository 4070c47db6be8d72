"""What is done without being asked: try again what could not be finished, and look at disks that nobody looked at."""

import asyncio
from collections.abc import Callable, Iterable

from agent import timeouts
from agent.engine.ledger import Row
from agent.engine.mending import has_several
from agent.model import Phase
from attachers.base import Goal


class Tending:
    """Goes through all attachments now and then. `free`: those that nobody works on; `resume` goes on with one."""

    def __init__(
        self, free: Callable[[], Iterable[Row]], resume: Callable[[Row], None], now: Callable[[], float]
    ) -> None:
        self._free = free
        self._resume = resume
        self._now = now
        self._looked: dict[str, float] = {}

    async def run(self) -> None:
        """Every `TEND_S` seconds, until cancelled."""
        never = asyncio.Event()
        while True:
            try:
                async with asyncio.timeout(timeouts.TEND_S):
                    await never.wait()
            except TimeoutError:
                self.round()

    def round(self) -> None:
        """Go on with what is not finished, or has not been looked at for `LOOK_S` seconds."""
        free = list(self._free())
        self._looked = {row.name: self._looked.get(row.name, self._now()) for row in free}
        for row in free:
            if self._is_due(row):
                self._looked[row.name] = self._now()
                self._resume(row)

    def _is_due(self, row: Row) -> bool:
        """A disk whose LUN is gone from the array says nothing until somebody asks it (attach.md 75).

        What has several paths is looked at by `Mending`.
        """
        unfinished = row.phase is not Phase.ATTACHED or row.goal is Goal.GONE
        return unfinished or (not has_several(row) and self._now() - self._looked[row.name] >= timeouts.LOOK_S)
