"""Children that must not be killed: wait for their end before our own takes them along."""

import asyncio
import logging
import os
from pathlib import Path

from agent.host import sysfs

log = logging.getLogger(__name__)


async def wait_for_children(name: str, *, limit_s: float, proc: Path = Path("/proc/self")) -> None:
    """Wait, at most `limit_s`, until no child of this process is called `name`. It neither kills nor reaps them."""
    try:
        async with asyncio.timeout(limit_s):
            for pid in _children(name, proc):
                log.info("waiting for %s (pid %d)", name, pid)
                await _end_of(pid)
    except TimeoutError:
        log.error("%s has not ended in %g s, and is left behind", name, limit_s)


def _children(name: str, proc: Path) -> list[int]:
    pids = [int(pid) for file in sysfs.found(proc, "task/*/children") for pid in (sysfs.text(file) or "").split()]
    return [pid for pid in pids if _name_of(pid) == name]


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


async def _end_of(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
