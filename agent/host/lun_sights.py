"""What this host shows of one LUN: sysfs, an INQUIRY of every path, who has it open, its links, its multipath map."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from agent.host import fc_sysfs, links, linux_iscsi, nexus, sysfs
from agent.host.map_sights import beside, look_at_map, notes_of
from agent.host.tools import Tools, sought
from agent.workers.pool import Abandoned
from attachers import checks, scsi
from attachers.problems import Problem
from attachers.sights import LOGGED_IN, FcQuery, IscsiQuery, ScsiPath, ScsiQuery, ScsiSight, Session

ASKED_AT_ONCE = 4  # INQUIRYs on one session: a target that died must not take all workers from the others
INQUIRY_S = 6.0  # above the kernel's limit of the command (scsi_generic.COMMAND_TIMEOUT_MS)
HOLDERS_S = 10.0


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
        shown = await self.disks(found, name=query.name, wwid=query.wwid, holders=query.holders)
        return replace(
            shown,
            records=linux_iscsi.records(self._roots, query.target, sessions) if isinstance(query, IscsiQuery) else (),
            sessions=sessions,
            busy=busy(sessions),
            ports=fc_sysfs.ports(self._roots) if isinstance(query, FcQuery) and not _usable(sessions) else (),
        )

    async def disks(
        self, found: Sequence[tuple[Session, sysfs.Disk]], *, name: str, wwid: str | None, holders: bool
    ) -> ScsiSight:
        """These disks with the nexus that leads to each, what each answers now, who has it open (with `holders`), their
        multipath map, and the links to them. Raises `Problem` (`unavailable`).
        """
        answers, users = await asyncio.gather(
            asyncio.gather(*(self._identity(session, disk) for session, disk in found)),
            self._holders([disk for _, disk in found] if holders else []),
        )
        paths = tuple(
            _path(session, disk, answer, users.get(disk.hctl))
            for (session, disk), answer in zip(found, answers, strict=True)
        )
        named = wwid or next((own for path in paths if (own := scsi.identity_of(path, None))), None)
        right = [path for path in paths if named and not scsi.is_wrong(path, named)]  # another unit may have a map, too
        names = {named} | set().union(*(path.designators for path in right)) if named else set()
        nodes = {(path.node or "").removeprefix("/dev/") for path in right}
        seen = await look_at_map(self._tools, names, nodes, paths, self._answer, holders=holders)
        if seen and holders:
            paths = tuple(replace(path, holders=beside(seen, path.holders or ())) for path in paths)
        device_link = links.of_device(self._roots, named) if named else None
        return ScsiSight(
            paths=paths,
            link=links.of_name(self._roots, name),
            device_link=device_link,
            owner=self._owner(device_link) if device_link else "",
            map=seen,
            notes=notes_of(self._tools, named) if named else None,
        )

    async def _identity(self, session: Session, disk: sysfs.Disk) -> tuple[frozenset[str], str]:
        """What a device on a session answers now, or why it does not."""
        if session.state != LOGGED_IN:
            return frozenset(), f"the session is {session.state}, the device {disk.state}"
        return await self._answer(disk)

    async def _answer(self, disk: sysfs.Disk) -> tuple[frozenset[str], str]:
        """What the device itself answers now, or why it does not; asked only where it can, and once at a time."""
        if disk.state != "running":
            return frozenset(), f"the device is {disk.state}"
        way = disk.hctl[: disk.hctl.rindex(":") + 1]
        async with self._asking.setdefault(way, asyncio.Semaphore(ASKED_AT_ONCE)):
            unanswered = [hctl for hctl, late in self._unanswered.items() if not late.done()]
            if disk.hctl in unanswered:
                return frozenset(), "an earlier INQUIRY is still unanswered"
            if sum(hctl.startswith(way) for hctl in unanswered) >= ASKED_AT_ONCE:
                return frozenset(), "earlier INQUIRYs on this session are still unanswered"
            answer = await self._ask(disk)
        if not sysfs.is_still(disk):  # what was seen is not what was asked
            return frozenset(), "the device was replaced meanwhile"
        return answer

    async def _ask(self, disk: sysfs.Disk) -> tuple[frozenset[str], str]:
        nodes = [self._roots.dev / "bsg" / disk.hctl] + ([self._roots.dev / disk.node] if disk.node else [])
        args = {"nodes": [str(node) for node in nodes]}
        try:
            return frozenset(
                await self._tools.pool.call("inquiry", args, timeout_s=INQUIRY_S, what=f"INQUIRY {disk.hctl}")
            ), ""
        except Abandoned as late:
            self._unanswered[disk.hctl] = late.ended
            return frozenset(), f"no answer within {INQUIRY_S:g} s"
        except Problem as problem:
            return frozenset(), problem.detail

    async def _holders(self, disks: list[sysfs.Disk]) -> dict[str, tuple[str, ...]]:
        """Who has each disk open, by its address; what cannot be found out counts as somebody."""
        if not disks:
            return {}
        args = {"disks": [sought(disk) for disk in disks], **self._tools.where()}
        try:
            found = await self._tools.pool.call("holders", args, timeout_s=HOLDERS_S)
        except (Problem, Abandoned) as problem:
            return {disk.hctl: (f"unknown: {_reason(problem)}",) for disk in disks}
        return {disk.hctl: tuple(names) for disk, names in zip(disks, found, strict=True)}

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


def _usable(sessions: Iterable[Session]) -> bool:
    return any(session.state == LOGGED_IN for session in sessions)


def _at_lun(session: Session, query: ScsiQuery) -> list[str]:
    return [hctl for hctl in session.devices if nexus.may_be(query, checks.number_at(hctl))]


def _path(
    session: Session, disk: sysfs.Disk, answer: tuple[frozenset[str], str], users: tuple[str, ...] | None
) -> ScsiPath:
    return ScsiPath(
        hctl=disk.hctl,
        via=session.via,
        node=f"/dev/{disk.node}" if disk.node else None,
        state=disk.state,
        size=disk.size,
        read_only=disk.read_only,
        sysfs_wwid=disk.wwid,
        designators=answer[0],
        inquiry_error=answer[1],
        holders=users,
    )


def _name_of(database: Path, number: int) -> str:
    """The name of a number in /etc/passwd or /etc/group: without asking a directory service, which may be slow."""
    for line in (sysfs.text(database) or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(number):
            return fields[0]
    return str(number)


def _reason(error: Problem | Abandoned) -> str:
    return error.detail if isinstance(error, Problem) else f"no answer within {HOLDERS_S:g} s"
