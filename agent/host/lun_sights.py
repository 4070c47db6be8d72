"""What this host shows of one LUN: sysfs, an INQUIRY of every path, who has it open, its links, its multipath map."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from agent.host import fc_sysfs, links, linux_iscsi, nexus, proofs, sysfs, unit_users
from agent.host.map_sights import Answer, look_at_map, notes_of
from agent.host.tools import Tools
from agent.workers.pool import Abandoned
from attachers import checks, scsi
from attachers.problems import Problem
from attachers.sights import LOGGED_IN, FcQuery, IscsiQuery, ScsiPath, ScsiQuery, ScsiSight, Session

ASKED_AT_ONCE = 4  # INQUIRYs on one session: a target that died must not take all workers from the others
PROOF_S = 8.0  # above the kernel's limit of an INQUIRY (scsi_generic.COMMAND_TIMEOUT_MS); a read may take the rest


class LunSights:
    """Looks at LUNs. It remembers which disks have not answered yet, and as whom an owner was asked for."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._roots = tools.roots
        self._unanswered: dict[str, asyncio.Future[Any]] = {}
        self._asking: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._owners: dict[tuple[int, int], str] = {}

    def owned_as(self, numbers: tuple[int, int], owner: str) -> None:
        """These numbers were asked for by that name."""
        self._owners[numbers] = owner

    async def look(self, query: ScsiQuery, busy: Callable[[tuple[Session, ...]], tuple[str, ...]]) -> ScsiSight:
        """The sight of a LUN; `busy` tells what is under way on it. Raises `Problem` (`unavailable`)."""
        sessions = nexus.asked_for(self._roots, query)
        found = [(s, d) for s in sessions for hctl in _at_lun(s, query) if (d := sysfs.disk(self._roots, hctl))]
        shown = await self.disks(found, name=query.name, wwid=query.wwid, holders=query.holders, read=query.read)
        return replace(
            shown,
            records=linux_iscsi.records(self._roots, query.target, sessions) if isinstance(query, IscsiQuery) else (),
            sessions=sessions,
            busy=busy(sessions),
            ports=fc_sysfs.ports(self._roots) if isinstance(query, FcQuery) and not _usable(sessions) else (),
        )

    async def disks(
        self,
        found: Sequence[tuple[Session, sysfs.Disk]],
        *,
        name: str,
        wwid: str | None,
        holders: bool,
        read: bool = False,
    ) -> ScsiSight:
        """These disks with the nexus that leads to each, what each answers now, whether a block of it can be read (with
        `read`), who has it open (with `holders`), their multipath map, and the links to them. Raises `Problem`
        (`unavailable`).
        """
        answers = await asyncio.gather(*(self._identity(session, disk, read=read) for session, disk in found))
        paths = tuple(_path(session, disk, answer) for (session, disk), answer in zip(found, answers, strict=True))
        named = wwid or next((own for path in paths if (own := scsi.identity_of(path, None))), None)
        right = [path for path in paths if named and not scsi.is_wrong(path, named)]  # another unit may have a map, too
        names = {named} | set().union(*(path.designators for path in right)) if named else set()
        nodes = {(path.node or "").removeprefix("/dev/") for path in right}
        seen = await look_at_map(self._tools, names, nodes, paths, self._answer)
        device_link = links.of_device(self._roots, named) if named else None
        shown = ScsiSight(
            paths=paths,
            link=links.of_name(self._roots, name),
            device_link=device_link,
            owner=self._owner(device_link) if device_link else "",
            map=seen,
            notes=notes_of(self._tools, named) if named else None,
            main=scsi.main_name(paths, wwid),
            wwid=named if named != wwid else None,
            kept=not (named and device_link) or proofs.is_linked(self._roots, device_link.removeprefix("/dev/"), named),
            dirty=any((self._roots.unwritten / one).exists() for one in {wwid, named} if one),
        )
        if not holders:
            return shown
        return await self._with_users(shown, [disk for _, disk in found], right if named else paths, names, name)

    async def _with_users(
        self,
        shown: ScsiSight,
        disks: Sequence[sysfs.Disk],
        right: Collection[ScsiPath],
        names: Collection[str],
        name: str,
    ) -> ScsiSight:
        """The sight with who uses the unit, and each path. `right` are the paths that are not another unit's."""
        known = {path.hctl: path for path in right}
        awake = [(path.node or "").removeprefix("/dev/") for path in right if path.designators]
        if shown.map and not shown.map.suspended and any(path.usable for path in shown.map.paths):
            awake.append(shown.map.node.removeprefix("/dev/"))
        users = await unit_users.looked_for(
            self._tools,
            {*names, *(path.sysfs_wwid for path in right if path.sysfs_wwid)},
            [disk for disk in disks if disk.hctl in known],
            beside=[disk for disk in disks if disk.hctl not in known],
            published=[name],
            awake=awake,
        )
        return replace(
            shown,
            paths=tuple(replace(path, holders=users.disks.get(path.hctl, ())) for path in shown.paths),
            map=replace(shown.map, holders=users.map or ()) if shown.map else None,
            users=users.unit,
        )

    async def _identity(self, session: Session, disk: sysfs.Disk, *, read: bool) -> Answer:
        """What a device on a session answers now, or why it does not."""
        if session.state != LOGGED_IN:
            return _silent(f"the session is {session.state}, the device {disk.state}")
        return await self._answer(disk, read=read)

    async def _answer(self, disk: sysfs.Disk, *, read: bool = False) -> Answer:
        """What the device itself answers now, or why it does not; asked only where it can, and once at a time."""
        if disk.state != "running":
            return _silent(f"the device is {disk.state}")
        way = disk.hctl[: disk.hctl.rindex(":") + 1]
        async with self._asking.setdefault(way, asyncio.Semaphore(ASKED_AT_ONCE)):
            unanswered = [hctl for hctl, late in self._unanswered.items() if not late.done()]
            if disk.hctl in unanswered:
                return _silent("an earlier INQUIRY is still unanswered")
            if sum(hctl.startswith(way) for hctl in unanswered) >= ASKED_AT_ONCE:
                return _silent("earlier INQUIRYs on this session are still unanswered")
            answer = await self._ask(disk, read=read)
        if not sysfs.is_still(disk):  # what was seen is not what was asked
            return _silent("the device was replaced meanwhile")
        return answer

    async def _ask(self, disk: sysfs.Disk, *, read: bool) -> Answer:
        node = str(self._roots.dev / disk.node) if disk.node else ""
        nodes = [str(self._roots.dev / "bsg" / disk.hctl), *([node] if node else [])]
        args = {"nodes": nodes, "node": node, "number": disk.number, "device": disk.place, "read": read}
        try:
            found = await self._tools.pool.call("prove_path", args, timeout_s=PROOF_S, what=f"prove {disk.hctl}")
        except Abandoned as late:
            self._unanswered[disk.hctl] = late.ended
            return _silent(f"no answer within {PROOF_S:g} s")
        except Problem as problem:
            return _silent(problem.detail)
        return Answer(frozenset(found["names"]), "", found["unread"], found["access"])

    def _owner(self, node: str) -> str:
        """`user:group` of a node: as it was asked for, else by the host's own files, else in numbers."""
        try:
            status = (self._roots.dev / node.removeprefix("/dev/")).stat()
        except OSError:
            return ""
        user, group = status.st_uid, status.st_gid
        return self._owners.get((user, group)) or ":".join(
            (_name_of(self._roots.etc / "passwd", user), _name_of(self._roots.etc / "group", group))
        )


def _silent(why: str) -> Answer:
    return Answer(frozenset(), why)


def _usable(sessions: Iterable[Session]) -> bool:
    return any(session.state == LOGGED_IN for session in sessions)


def _at_lun(session: Session, query: ScsiQuery) -> list[str]:
    return [hctl for hctl in session.devices if nexus.may_be(query, checks.number_at(hctl))]


def _path(session: Session, disk: sysfs.Disk, answer: Answer) -> ScsiPath:
    return ScsiPath(
        hctl=disk.hctl,
        via=session.via,
        node=f"/dev/{disk.node}" if disk.node else None,
        state=disk.state,
        size=disk.size,
        read_only=disk.read_only,
        sysfs_wwid=disk.wwid,
        designators=answer.names,
        inquiry_error=answer.error,
        unread=answer.unread,
        access=answer.access,
        kind=disk.kind,
    )


def _name_of(database: Path, number: int) -> str:
    """The name of a number in /etc/passwd or /etc/group: without asking a directory service, which may be slow."""
    for line in (sysfs.text(database) or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(number):
            return fields[0]
    return str(number)
