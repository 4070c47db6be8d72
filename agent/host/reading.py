"""Reading a published disk, for those who may not open it themselves; runs in workers, since it may take its time."""

import asyncio
import os
from pathlib import Path
from typing import Any

from agent.host import blocks
from agent.host.tools import Tools
from agent.shown_memory import shown
from agent.workers.pool import Abandoned
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, BlocksSight

READ_S = 40.0
"""Below the daemon's own limit (agent/timeouts.py), and above the kernel's for one command."""
READ_AT_ONCE = 4
HINT = "see `cdmi-attach status` for the disk's paths; the kernel ends it when they answer or fail"


class Reader:
    """Has disks read: a few at a time, so that slow ones leave workers to the others; and one that has swallowed a
    worker is given no second one.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._turns = asyncio.Semaphore(READ_AT_ONCE)
        self._stuck: dict[str, asyncio.Future[Any]] = {}

    async def look(self, query: BlocksQuery) -> BlocksSight:
        """Read. Raises `Problem`: not-found where nothing of that name is published, wrong-device, target-timeout,
        busy while an earlier read of it, which could not be broken off, has not ended.
        """
        async with self._turns:
            self._insist_on_end(query.wwid)
            return await self._look(query)

    async def _look(self, query: BlocksQuery) -> BlocksSight:
        node = str(self._tools.roots.devices / query.wwid)
        memory = {"pid": query.pid, "fd": query.fd, "inode": query.inode}
        args = {"node": node, "wwid": query.wwid, "first": query.first, "count": query.count, "memory": memory}
        what = f"read {query.count} bytes of {query.wwid}"
        try:
            return BlocksSight(await self._tools.pool.call("read_blocks", args, timeout_s=READ_S, what=what, kill=True))
        except Abandoned as late:  # it writes where nobody looks any more
            self._stuck[query.wwid] = late.ended
            raise Problem(Code.TARGET_TIMEOUT, f"{what}: no answer in {READ_S:g} s", hint=HINT) from None

    def _insist_on_end(self, wwid: str) -> None:
        self._stuck = {name: late for name, late in self._stuck.items() if not late.done()}
        if wwid in self._stuck:
            raise Problem(Code.BUSY, f"an earlier read of {wwid} has not ended, and cannot be broken off", hint=HINT)


def read_blocks(node: str, wwid: str, first: int, count: int, memory: dict[str, int]) -> int:
    """Prove a disk, and read of it through that very descriptor; how many bytes, fewer only where it ends.

    Raises `Problem` not-found, wrong-device, unavailable.
    """
    if not Path(node).exists():
        raise Problem(Code.NOT_FOUND, f"{wwid} is not published on this host", hint="attach it first")
    with (
        blocks.identified(node, wwid, os.O_DIRECT) as disk,
        shown(count=count, **memory) as mapped,
        memoryview(mapped) as room,
    ):
        done = 0
        while done < count:
            got = os.preadv(disk, [room[done:]], first + done)
            if not got:
                break
            done += got
        return done
