"""Reaching an NFS server by way of the workers: bounded, broken off at the limit, and a few at a time for each server.

A silent server then leaves nothing behind that could take effect later, nothing that keeps its mount in use, and the
workers to the others.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from agent.host import mountinfo, sysfs
from agent.host.roots import Roots
from agent.host.tools import Tools, deadline_in, left
from agent.workers.pool import Abandoned
from attachers.nfs_share import Share
from attachers.problems import Code, Problem
from attachers.sights import NfsFile, Opening, Trouble

AT_ONCE = 4
LOOK_S = 2.0
_SILENT = (Code.TARGET_TIMEOUT, Code.UNAVAILABLE, Code.BUSY)


def drop_unused_points(roots: Roots) -> None:
    """Take away the directories that nothing is mounted on: a crash leaves them between mkdir(2) and mount(2).

    No server is asked: the mount table says what is mounted, and the kernel refuses it as well (fs/namei.c, vfs_rmdir).
    A mount that is still under way there finds no directory any more, and fails.
    """
    for name in sysfs.entries(roots.mounts):
        place = roots.mounts / name
        if not mountinfo.at(roots.proc, str(place)):
            with suppress(OSError):
                place.rmdir()


class Reach:
    """The shares of a host, and their servers."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._asking: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._unanswered: dict[str, asyncio.Future[Any]] = {}

    def mounted(self, share: Share) -> tuple[mountinfo.Entry, ...]:
        """What is mounted at the share's place, the uppermost last. Asks no server."""
        return mountinfo.at(self.tools.roots.proc, str(self.place(share)))

    def place(self, share: Share, path: str = "") -> Path:
        """Where the share, or a file in it, is on this host."""
        return Path(self.tools.roots.run, share.file(path).removeprefix("/run/"))

    async def ask(self, share: Share, function: str, arguments: dict[str, Any], *, limit_s: float, what: str) -> Any:
        """Call a worker that may have to wait for the server. Raises as `Pool.call` does with `kill`."""
        semaphore, deadline = self._asking.setdefault(share.server, asyncio.Semaphore(AT_ONCE)), deadline_in(limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await semaphore.acquire()
        except TimeoutError:
            raise Problem(Code.TARGET_TIMEOUT, f"{what}: {share.server} has not answered others either") from None
        try:
            return await self.tools.pool.call(function, arguments, timeout_s=left(deadline), what=what, kill=True)
        finally:
            semaphore.release()

    async def find(self, share: Share, path: str, *, open_for: str = "") -> NfsFile:
        """A file in a mounted share; that a server does not answer is a trouble with it. At most one look is stuck.

        `open_for` as in `NfsQuery`.
        """
        late = self._unanswered.get(share.point)
        if late and not late.done():
            return NfsFile(trouble=Trouble.SILENT, words="an earlier look is still unanswered")
        proc = str(self.tools.roots.proc)
        arguments = {"point": str(self.place(share)), "path": path, "proc": proc, "open_for": open_for}
        try:
            found = await self.ask(share, "nfs_look", arguments, limit_s=LOOK_S, what=f"a look at {path}")
        except Abandoned as abandoned:
            self._unanswered[share.point] = abandoned.ended
            return NfsFile(trouble=Trouble.SILENT, words="the look at it is stuck in the kernel")
        except Problem as problem:
            if problem.code not in _SILENT:
                raise
            return NfsFile(trouble=Trouble.SILENT, words=f"no answer from the server within {LOOK_S:g} s")
        said = Trouble(found["trouble"]), found["words"]
        told = {"fsid": found.get("fsid", ""), "opening": Opening(found.get("opening", ""))}
        return NfsFile(found["size"], found["inode"], *said, **told)
