"""What is done without being asked: try again what could not be finished, and look at disks that nobody looked at."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from agent import timeouts
from agent.engine.ledger import Row
from agent.engine.mending import has_several
from agent.model import Phase
from attachers.base import Goal, Host


class Tending:
    """Goes through all attachments now and then, and through what stands as soon as the host gives an alarm.

    `free`: those that nobody works on; `resume` goes on with one; `each_tick` is what else is looked at all the time.
    """

    def __init__(
        self,
        host: Host,
        free: Callable[[], Iterable[Row]],
        resume: Callable[[Row], None],
        each_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._free = free
        self._resume = resume
        self._each_tick = each_tick
        self._looked: dict[str, float] = {}
        self._alarms = host.alarms
        self._alarmed: set[str] = set()

    async def run(self) -> None:
        """A round every `TEND_S` seconds, and a look at what an alarm may be about within `TICK_S`, until cancelled."""
        never, clock = asyncio.Event(), asyncio.get_running_loop().time
        next_round = clock() + timeouts.TEND_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeouts.TICK_S):
                    await never.wait()
            self.alarm()
            self._each_tick()
            if clock() >= next_round:
                self.round()
                next_round = clock() + timeouts.TEND_S

    def alarm(self) -> None:
        """After an alarm look at each disk that was handed out: at once, but none more often than every `CALM_TICK_S`.

        Which of them it is about only a look can tell: a session that others log out has no name when it has gone.
        """
        free = {row.name: row for row in self._free() if _stands_alone(row)}
        if self._host.alarms != self._alarms:
            self._alarms = self._host.alarms
            self._alarmed |= {*free}
        for name in [name for name in self._alarmed if name not in free or self._rested(name, timeouts.CALM_TICK_S)]:
            self._alarmed.discard(name)
            if name in free:
                self._look(free[name])

    def round(self) -> None:
        """Go on with what is not finished, or has not been looked at for `LOOK_S` seconds."""
        free = list(self._free())
        self._looked = {row.name: self._looked.get(row.name, self._host.now()) for row in free}
        for row in free:
            if self._is_due(row):
                self._look(row)

    def _look(self, row: Row) -> None:
        self._looked[row.name] = self._host.now()
        self._resume(row)

    def _is_due(self, row: Row) -> bool:
        """A disk whose LUN is gone from the array says nothing until somebody asks it (attach.md 75), nor does one that
        error handling has set offline.

        What has several paths is looked at by `Mending`.
        """
        unfinished = row.phase is not Phase.ATTACHED or row.goal is Goal.GONE or bool(row.former)
        return unfinished or (not has_several(row) and self._rested(row.name, timeouts.LOOK_S))

    def _rested(self, name: str, seconds: float) -> bool:
        return self._host.now() - self._looked.get(name, float("-inf")) >= seconds


def _stands_alone(row: Row) -> bool:
    """Whether it was handed out, and nobody but us finds out when it is gone."""
    return row.handed_out and row.goal is Goal.ATTACHED and not has_several(row)
