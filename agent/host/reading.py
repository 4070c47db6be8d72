"""Reading a published disk, for those who may not open it themselves; runs in workers, since it may take its time."""

import os
from pathlib import Path

from agent.host import blocks
from agent.host.tools import Tools
from agent.shown_memory import shown
from agent.workers.pool import Abandoned
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, BlocksSight

READ_S = 40.0
"""Below the daemon's own limit (agent/timeouts.py), and above the kernel's for one command."""


async def look(tools: Tools, query: BlocksQuery) -> BlocksSight:
    """Read. Raises `Problem`: not-found where nothing of that name is published, wrong-device, target-timeout, ..."""
    node = str(tools.roots.devices / query.wwid)
    memory = {"pid": query.pid, "fd": query.fd, "inode": query.inode}
    args = {"node": node, "wwid": query.wwid, "first": query.first, "count": query.count, "memory": memory}
    what = f"read {query.count} bytes of {query.wwid}"
    try:
        return BlocksSight(await tools.pool.call("read_blocks", args, timeout_s=READ_S, what=what, kill=True))
    except Abandoned:  # it writes where nobody looks any more
        raise Problem(Code.TARGET_TIMEOUT, f"{what}: no answer in {READ_S:g} s", hint="see the disk's paths") from None


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
