"""What every step of the real host works with."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.host import sysfs
from agent.host.iscsiadm import Iscsiadm
from agent.host.multipathd import Multipathd
from agent.host.roots import Roots
from agent.host.uevents import Changes
from agent.workers.pool import Abandoned, Pool
from attachers.problems import Code, Problem


@dataclass(frozen=True, slots=True)
class Tools:
    """The host's directories, the workers, the events, iscsiadm and multipathd."""

    roots: Roots
    pool: Pool
    changes: Changes
    iscsiadm: Iscsiadm
    multipathd: Multipathd

    async def look(self, function: str, args: dict[str, Any], timeout_s: float) -> Any:
        """Have a worker look at something. Raises `Problem` (`unavailable`) when it does not come back in time."""
        try:
            return await self.pool.call(function, args, timeout_s=timeout_s)
        except Abandoned:
            raise Problem(Code.UNAVAILABLE, f"{function}: no answer within {timeout_s:g} s") from None

    def where(self) -> dict[str, Any]:
        """Where `holders` looks, and which processes are ours."""
        ours = {"helper": os.getpid(), "zygote": self.pool.zygote_pid}
        return {"proc": str(self.roots.proc), "sys": str(self.roots.sys), **ours}


def sought(disk: sysfs.Disk, *, names: Sequence[str] = (), claim: bool = False) -> dict[str, Any]:
    """A disk as `holders` wants it, and (with `claim`) `blocks.users`. `names` are links of ours that led to it."""
    return {
        "node": disk.node or "",
        "block": sysfs.numbers(disk),
        "character": sysfs.character_numbers(disk),
        "names": list(names),
        "claim": disk.number if claim and disk.node else "",
    }


def left(deadline: float) -> float:
    """The seconds until a deadline (monotonic), never less than none."""
    return max(0.0, deadline - time.monotonic())


def deadline_in(seconds: float) -> float:
    """The deadline that is so far away (monotonic)."""
    return time.monotonic() + seconds
