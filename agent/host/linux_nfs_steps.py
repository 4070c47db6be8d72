"""The steps from an NFS share to a disk and back, on the real host: no process at all, but workers.

What writes out is left to come to its end, however long that takes: a removal, a write-out of a file, an unmount.
Broken off, nobody would know what became of the bytes. All else is broken off at its limit (see `nfs_reach`).
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from agent.host import links, linux_disks, sysfs
from agent.host.linux_nfs import bearer, find_disk
from agent.host.nfs_reach import LOOK_S, Reach
from agent.host.tools import deadline_in, left
from agent.workers.pool import Abandoned
from attachers import nfs_options
from attachers.nfs_share import Share
from attachers.problems import Code, Problem
from attachers.steps import GrowDisk, MakeDisk, Mount, PublishFile, RemoveDisk, Unmount, WriteOutFile

UNMOUNT_S = 5.0
CLOSE_S = 5.0

log = logging.getLogger(__name__)


class NfsSteps:
    """Takes them."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._tools = reach.tools
        self._leaving: dict[str, asyncio.Future[Any]] = {}

    async def take(
        self, step: Mount | Unmount | MakeDisk | GrowDisk | RemoveDisk | WriteOutFile | PublishFile, deadline: float
    ) -> None:
        """Take one; see `Host.act`. `deadline` is monotonic."""
        match step:
            case Mount():
                await self._mount(step, deadline)
            case Unmount():
                await self._unmount(step, deadline)
            case MakeDisk():
                await self._make(step, deadline)
            case GrowDisk():
                await self._grow(step, deadline)
            case RemoveDisk():
                await self._remove(step, deadline)
            case WriteOutFile():
                await self._write_out(step, deadline)
            case PublishFile():
                await self._publish(step, deadline)

    async def _mount(self, step: Mount, deadline: float) -> None:
        """Mount the share; nothing to do where anything is mounted at its place: who looks judges it."""
        share, options = step.share, nfs_options.parse(step.options)
        if self._reach.mounted(share):
            return
        await self._let_go(share, deadline)
        arguments = {
            "source": share.source,
            "point": str(self._reach.place(share)),
            "server": share.server,
            "minors": list(share.minors(downgrade=step.downgrade)),
            "flags": options.flags,
            "words": list(options.words),
        }
        try:
            version = await self._reach.ask(share, "nfs_mount", arguments, limit_s=left(deadline), what=step.describe())
        finally:
            self._tidy(share)
        log.info("mounted %s with NFS %s", share.source, version)

    async def _let_go(self, share: Share, deadline: float) -> None:
        """Until the kernel has let go of an earlier mount of it: a new one would wait for that, and not killably."""
        late = self._leaving.get(share.point)
        if late and not late.done():
            await asyncio.wait({late}, timeout=left(deadline))
            if not late.done():
                text = f"the kernel still waits for {share.server} to let go of an earlier mount of {share.source}"
                raise Problem(Code.TARGET_TIMEOUT, text, hint="see whether the NFS server is well, and reached")
        self._leaving.pop(share.point, None)

    async def _unmount(self, step: Unmount, deadline: float) -> None:
        """Unmount the share. It is gone for this host when the table does not have it any more.

        What the kernel still has to do for a silent server then goes on without anybody waiting for it.
        """
        share = step.share
        mounted = self._reach.mounted(share)
        if mounted:
            point, proc = str(self._reach.place(share)), str(self._tools.roots.proc)
            try:
                await self._tools.pool.call(
                    "nfs_unmount",
                    {"point": point, "mount_id": mounted[-1].id, "proc": proc},
                    timeout_s=min(UNMOUNT_S, left(deadline)),
                    what=step.describe(),
                )
            except Abandoned as late:
                if self._reach.mounted(share):
                    raise
                log.warning("%s is unmounted, but the kernel still waits for its server", share.source)
                self._leaving[share.point] = late.ended
        self._tidy(share)

    def _tidy(self, share: Share) -> None:
        """Take the mount point's directory away where nothing is mounted on it. It is a local one, and empty."""
        if not self._reach.mounted(share):
            try:
                self._reach.place(share).rmdir()
            except OSError as error:
                log.debug("%s stays: %s", share.point, error.strerror)

    async def _make(self, step: MakeDisk, deadline: float) -> None:
        """Make the disk: backstore and target first, so that its address is known and claimed before it appears."""
        await self._insist_on_new_name(step)
        disk = self._disk(step.wwid)
        file = {"point": str(self._reach.place(step.share)), "path": step.path, "size": step.size}
        file |= {"discard": step.discard} | self._pin(step)
        limit_s, what = left(deadline), step.describe()
        hctl = await self._reach.ask(step.share, "lio_prepare", disk | file, limit_s=limit_s, what=what)
        links.claim(self._tools.roots, hctl, unit=step.wwid)
        await self._call("lio_show", disk | {"hctl": hctl}, deadline, what)
        if not sysfs.has_device(self._tools.roots, hctl):
            links.drop_claim(self._tools.roots, hctl)

    async def _insist_on_new_name(self, step: MakeDisk) -> None:
        """Raises `Problem` where another disk has that name: multipathd would take the two for paths to one unit."""
        made, _ = await find_disk(self._tools, step.wwid)
        node = None if made else bearer(self._tools.roots, step.wwid)
        if node:
            text = f"/dev/{node} is {step.wwid} already, and was not made of this file"
            raise Problem(Code.CONFLICT, text, hint="see targetcli ls, and multipath -ll", step=step.describe())

    async def _grow(self, step: GrowDisk, deadline: float) -> None:
        """Give LIO's disk its file's size."""
        file = {"point": str(self._reach.place(step.share)), "path": step.path, "size": step.size}
        args = self._disk(step.wwid) | file
        await self._reach.ask(step.share, "lio_grow", args, limit_s=left(deadline), what=step.describe())

    async def _remove(self, step: RemoveDisk, deadline: float) -> None:
        """Flush the disk and take it down, once udev has finished with it; then have its file closed.

        A flush that takes longer goes on, and says in the end what came of it; one whose loss is known does not.
        """
        disk, what = self._disk(step.wwid), step.describe()
        _, hctl = await find_disk(self._tools, step.wwid)
        shown = sysfs.disk(self._tools.roots, hctl) if hctl else None
        if shown:
            await linux_disks.probed(self._tools, shown, deadline)
        where = {"lost": step.lost, "where": linux_disks.where(self._tools)}
        await self._call("lio_release", disk | where, deadline - 2 * CLOSE_S, what, kill=step.lost)
        try:
            await self._call("lio_dismantle", disk, min(deadline, deadline_in(CLOSE_S)), what, kill=True)
        except Problem as problem:
            if problem.code is not Code.TARGET_TIMEOUT:
                raise
            await self._call("lio_dismantle", disk, deadline, what)  # the file is closed by now, whoever answered
        if hctl:
            links.drop_path(self._tools.roots, hctl)

    async def _write_out(self, step: WriteOutFile, deadline: float) -> None:
        """Have a file written out; what takes longer goes on, unless its loss is known."""
        file = {"point": str(self._reach.place(step.share)), "path": step.path} | self._pin(step)
        fate = {"fate": str(self._tools.roots.unwritten / step.wwid), "lost": step.lost}
        if not await self._call("nfs_write_out", file | fate, deadline, step.describe(), kill=step.lost):
            log.warning("%s: root of this host may not open it: an error of its write-out is not seen", step.path)

    async def break_off(self, step: RemoveDisk | WriteOutFile) -> None:
        """End a flush that still waits for its server: somebody says that the loss is known."""
        await self._tools.pool.break_off(replace(step, lost=False).describe())

    async def _publish(self, step: PublishFile, deadline: float) -> None:
        """Link to the file, once it is sure that it is the plain one in the share that is meant."""
        file = {"point": str(self._reach.place(step.share)), "path": step.path}
        limit_s, what = min(LOOK_S, left(deadline)), step.describe()
        await self._reach.ask(step.share, "nfs_prove", file | self._pin(step), limit_s=limit_s, what=what)
        links.put(self._tools.roots.links / step.name, step.share.file(step.path))

    def _pin(self, step: MakeDisk | WriteOutFile | PublishFile) -> dict[str, Any]:
        pin = [step.pin.fsid, step.pin.number] if step.pin else None
        return {"pin": pin, "proc": str(self._tools.roots.proc)}

    def _disk(self, wwid: str) -> dict[str, Any]:
        return {"sys": str(self._tools.roots.sys), "wwid": wwid}

    async def _call(
        self, function: str, arguments: dict[str, Any], deadline: float, what: str, *, kill: bool = False
    ) -> Any:
        return await self._tools.pool.call(function, arguments, timeout_s=left(deadline), what=what, kill=kill)
