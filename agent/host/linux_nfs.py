"""What the real host shows of an NFS share: its mounts, a file in it, and the disk that LIO has made of that file."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from agent.host import dm, file_users, lio, mountinfo, nfs_calls, served, sysfs
from agent.host.modules import loadable
from agent.host.nfs_reach import Reach
from agent.host.roots import Roots
from agent.host.tools import Tools
from agent.workers.pool import Abandoned
from attachers.nfs_share import KIND, serial_in
from attachers.problems import Problem
from attachers.sights import (
    LOGGED_IN,
    Ability,
    FileDisk,
    NfsFile,
    NfsMount,
    NfsQuery,
    NfsSight,
    ScsiSight,
    Session,
)

DISK_S = 5.0
USERS_S = 10.0

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "file_users": file_users.file_users,
    "lio_dismantle": lio.dismantle,
    "lio_grow": lio.grow,
    "lio_look": lio.look,
    "lio_prepare": lio.prepare,
    "lio_release": lio.release,
    "lio_show": lio.show,
    "nfs_look": nfs_calls.look,
    "nfs_mount": nfs_calls.mount,
    "nfs_prove": nfs_calls.prove,
    "nfs_unmount": nfs_calls.unmount,
    "nfs_write_out": nfs_calls.write_out,
}
"""What the workers do of it."""


class ScsiLook(Protocol):
    """What the host shows of SCSI disks, each with the nexus that leads to it, and of the links of an attachment."""

    async def __call__(
        self, found: Sequence[tuple[Session, sysfs.Disk]], *, name: str, wwid: str | None, holders: bool
    ) -> ScsiSight: ...


async def observe(reach: Reach, query: NfsQuery, scsi_look: ScsiLook) -> NfsSight:
    """See `Host.observe`; what is under way is for the caller to add."""
    file, (disk, hctl) = await asyncio.gather(_file(reach, query), find_disk(reach.tools, query.wwid))
    shown = sysfs.disk(reach.tools.roots, hctl) if hctl else None
    nexus = Session(0, int((hctl or "0").partition(":")[0]), "loopback", query.share.source, LOGGED_IN)
    found = [(nexus, shown)] if shown else []
    scsi = await scsi_look(found, name=query.name, wwid=query.wwid, holders=query.holders)
    if query.unit and (reach.tools.roots.unwritten / query.unit).exists():
        scsi = replace(scsi, dirty=True)
    mounts = tuple(NfsMount(one.id, one.source, one.kind, one.options) for one in reach.mounted(query.share))
    return NfsSight(mounts, file, disk, scsi)


async def _file(reach: Reach, query: NfsQuery) -> NfsFile | None:
    """The file that is asked for, where there is one mount of the share to look into."""
    mounted = reach.mounted(query.share)
    if not query.path or [(one.source, one.kind) for one in mounted] != [(query.share.source, KIND)]:
        return None
    file = await reach.find(query.share, query.path, open_for=query.open_for)
    if not query.holders:
        return file
    every = [one for one in mountinfo.of(reach.tools.roots.proc, query.share.source) if one.kind == KIND]
    places = [str(reach.place(query.share, query.path)), *(f"{one.point}/{query.path}" for one in every)]
    own = f"{served.OURS}{serial_in(query.wwid)}" if query.wwid else ""
    shown = {"devices": [one.device for one in (*mounted, *every)], "places": places, "own": own}
    users: dict[str, None] = {}
    writers: dict[str, None] = {}
    for inode in {file.inode, query.number or file.inode}:  # who has the file that was there has it still
        sought = shown | {"inode": inode} | reach.tools.where()
        try:
            using, writing = await reach.tools.pool.call("file_users", sought, timeout_s=USERS_S)
        except (Abandoned, Problem) as unknown:
            using = writing = [f"unknown: {unknown}"]
        users |= dict.fromkeys(using)
        writers |= dict.fromkeys(writing)
    return replace(file, holders=tuple(users), writers=tuple(writers))


async def find_disk(tools: Tools, wwid: str | None) -> tuple[FileDisk | None, str | None]:
    """What LIO has of a disk, and its SCSI address. Raises `Problem` (`unavailable`) where that cannot be told."""
    found = await tools.look("lio_look", {"sys": str(tools.roots.sys), "wwid": wwid}, DISK_S) if wwid else None
    if found is None:
        return None, None
    hctl = found.pop("hctl")
    return FileDisk(**found), hctl


def bearer(roots: Roots, wwid: str) -> str | None:
    """The kernel's name of a disk or a map on this host that has that logical unit name; None where there is none."""
    above = dm.find(roots, [wwid])
    nodes = (node for node in sysfs.entries(f"{roots.sys}/block") if sysfs.wwid_of(roots, node) == wwid)
    return above.node if above else next(nodes, None)


def ability(roots: Roots) -> Ability:
    """Whether NFS shares can be mounted here, and if so, why their files may not become disks."""
    known = (sysfs.text(roots.proc / "filesystems") or "").split()
    if KIND not in known and not loadable(roots, "nfsv4"):
        return Ability(available=False, reason="the kernel has no module nfsv4")
    reason = lio.missing(str(roots.sys))
    return Ability(available=True, reason=f"present=file only: {reason}" if reason else "")
