"""The daemon's start: what was wanted before it is brought back, and tried again soon where it cannot be had yet.

After a boot everything comes up side by side: the network, the storage, its CDMI server. Units that are ordered after
the daemon (libvirtd, which starts its autostart domains once and never again) count on the disks that were there
before, so the daemon says that it is ready when these are back, or when a bound has passed.
"""

import asyncio
import time
from collections.abc import Callable, Collection

from agent import timeouts
from agent.engine.ledger import Ledger, Row
from agent.engine.tasks import Tasks
from attachers.base import Goal, Host
from attachers.problems import Code

SETTLED = frozenset(
    {Code.WRONG_DEVICE, Code.CONFLICT, Code.IN_USE, Code.DIRTY, Code.STALE, Code.FORBIDDEN, Code.NOT_FOUND}
    | {Code.INVALID_REQUEST, Code.UNSUPPORTED_ON_HOST, Code.INTERNAL}
)
"""What waiting does not mend: somebody has to look at it first."""
BOOTING_S = 600.0
"""A host that has been up for less is one that boots."""


def bound_s() -> float:
    """How long units that are ordered after the daemon are kept waiting, in seconds: long after a boot only."""
    return timeouts.BOOT_S if time.clock_gettime(time.CLOCK_BOOTTIME) < BOOTING_S else timeouts.START_S


class Starting:
    """Follows the attachments that the ledger had at the start. `free`: those that nobody works on."""

    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        tasks: Tasks,
        free: Callable[[], Collection[Row]],
        resume: Callable[[Row], None],
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._tasks = tasks
        self._free = free
        self._resume = resume
        self._names: frozenset[str] = frozenset()

    def begin(self, row: Row) -> None:
        """Take up one attachment of the ledger where the daemon before left it."""
        self._names |= {row.name}
        self._resume(row)

    async def settled(self, *, limit_s: float) -> list[str]:
        """Wait until each is back, gone, or known not to come back by itself; what fails is tried again soon.

        Returns the names of those that were not there after `limit_s` seconds of the host's clock.
        """
        deadline, pause_s = self._host.now() + limit_s, timeouts.AGAIN_S
        while (left := self._missing()) and self._host.now() < deadline:
            if working := [name for name in left if name in self._tasks]:
                await self._first_of(working, deadline)
                continue
            await self._pause(min(pause_s, deadline - self._host.now()))
            pause_s = min(2 * pause_s, timeouts.TICK_S * 8)
            for row in [row for row in self._free() if row.name in left]:
                self._resume(row)
        return self._missing()

    def _missing(self) -> list[str]:
        rows = [row for name in self._names if (row := self._ledger.rows.get(name))]
        return sorted(row.name for row in rows if row.name in self._tasks or _is_awaited(row))

    async def _first_of(self, names: list[str], deadline: float) -> None:
        """Wait for the end of one of these attachments' tasks, or for the deadline."""
        ended = asyncio.ensure_future(self._tasks.wait(names))
        due = asyncio.ensure_future(self._pause(deadline - self._host.now()))
        try:
            await asyncio.wait({ended, due}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            due.cancel()
            await asyncio.gather(ended, due, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        until = self._host.now() + seconds
        while (left := until - self._host.now()) > 0:
            await self._host.changed(self._host.changes, timeout_s=left)


def _is_awaited(row: Row) -> bool:
    """Whether an attachment that nobody works on is not there, and may yet come."""
    code = (row.problem or {}).get("code")
    return row.goal is Goal.ATTACHED and not row.seen and code not in SETTLED
