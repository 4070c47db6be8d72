"""The guard's part for write-outs: one that failed, or was not seen to succeed, is never taken for done later.

The kernel tells an error of a write-out once (lib/errseq.c): the pages are clean after it, and the next fsync(2) finds
nothing to do. So the intent is in the record before a write-out begins, over reboots as well, and leaves it when that
has succeeded, or when somebody says that the loss is known. A unit that was handed out for writing, and behind whose
link another one was seen to answer, is in it as well.

A helper that is killed takes its workers along, and with them the answer of a write-out that went on. It is not made
once more by the next helper: fsync(2) that is ended by a signal asks for the error all the same, and marks it as seen
(mm/filemap.c, file_write_and_wait_range and file_check_and_advance_wb_err), so that nobody hears of it any more. It
stays dirty. A helper that is stopped waits for a write-out first (`linux.WRITTEN_OUT_S`).
"""

import logging
from contextlib import suppress
from dataclasses import replace

from agent.host.created import Created, Kind, Row, Thing
from agent.host.guarded_judge import NOWHERE
from attachers import checks
from attachers.base import Host
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem
from attachers.scsi import is_wrong
from attachers.sights import (
    FcQuery,
    HostSight,
    IscsiQuery,
    NfsQuery,
    NfsSight,
    Query,
    ScsiQuery,
    ScsiSight,
    Sight,
)
from attachers.steps import GiveUp, RemoveDevice, RemoveDisk, RemoveMap, Step, WriteOutFile

log = logging.getLogger(__name__)
WritesOut = RemoveDevice | RemoveDisk | RemoveMap | WriteOutFile


class WriteOuts:
    """The raw host, with what the record says of write-outs. A `Host`: it stands between that and the guard."""

    def __init__(self, raw: Host, created: Created) -> None:
        self._raw = raw
        self._created = created
        self._boot_id = ""

    async def observe(self, query: Query) -> Sight:
        """Look; a sight of a logical unit says whether it is dirty."""
        sight = await self._raw.observe(query)
        if isinstance(sight, HostSight):
            self._boot_id = sight.boot_id
            return replace(sight, ailing=self._created.ailing())
        if isinstance(query, ScsiQuery | NfsQuery):
            await self._doubt(query.wwid, sight)
        return self._judged(query, sight)

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        """Take a step; one that writes out is refused where an earlier write-out was not seen to succeed."""
        if isinstance(step, WritesOut) and step.wwid and not step.lost:
            await self._write_out(step, step.wwid, timeout_s)
        else:
            await self._raw.act(step, timeout_s=timeout_s)
            if isinstance(step, GiveUp):
                await self._created.change(drop=[thing_of(step.wwid)])
        return await self.observe(then) if then else None

    @property
    def changes(self) -> int:
        return self._raw.changes

    @property
    def alarms(self) -> int:
        return self._raw.alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        await self._raw.changed(since, timeout_s=timeout_s)

    def now(self) -> float:
        return self._raw.now()

    async def close(self) -> None:
        await self._raw.close()

    async def _write_out(self, step: WritesOut, wwid: str, timeout_s: float) -> None:
        thing = thing_of(wwid)
        if thing in self._created.rows and await self._is_dirty(wwid):
            raise not_written_out(wwid, step)
        await self._intend(Row(thing, self._boot_id, self.now()))
        try:
            await self._raw.act(step, timeout_s=timeout_s)
        except Problem as problem:
            if problem.code is Code.DIRTY:
                await self._intend(Row(thing, self._boot_id, self.now(), confirmed=True))
            else:
                with suppress(Problem):
                    await self._is_dirty(wwid)
            raise
        await self._created.change(drop=[thing])

    async def _intend(self, row: Row) -> None:
        """Write down that the fate of what is cached is open; a full disk is no reason to keep it from being written.

        Memory has the row then, and what the raw host says of its own.
        """
        try:
            await self._created.change(put=[row])
        except Problem as problem:
            log.error("%s", problem.detail)

    async def _is_dirty(self, wwid: str) -> bool:
        """Whether the record, or the host itself, says so; the row goes where nothing had been begun."""
        sight = await self.observe(IscsiQuery("none", NOWHERE, (), checks.MAX_LUN, wwid))
        return isinstance(sight, ScsiSight) and sight.dirty

    def _judged(self, query: Query, sight: Sight) -> Sight:
        if isinstance(sight, NfsSight) and isinstance(query, NfsQuery):
            return replace(sight, scsi=self._marked(query.wwid or query.unit, sight.scsi))
        if isinstance(sight, ScsiSight) and isinstance(query, IscsiQuery | FcQuery):
            return self._marked(query.wwid, sight)
        return sight

    def _marked(self, wwid: str | None, sight: ScsiSight) -> ScsiSight:
        """The sight with what the record adds to it.

        Of a write-out that was begun, and whose answer was lost, the host itself knows whether it succeeded, as long
        as it has not started again.
        """
        named = [name for name in (wwid, sight.wwid) if name]
        names = named or sorted({name for path in sight.paths for name in path.designators})
        rows = [row for name in names if (row := self._created.rows.get(thing_of(name)))]
        for row in rows:
            if row.confirmed or sight.busy:
                continue
            if sight.dirty or row.boot_id != self._boot_id:
                self._created.note(put=[replace(row, confirmed=True)])
            else:
                self._created.note(drop=[row.thing])
        return replace(sight, dirty=sight.dirty or any(self._is_confirmed(row.thing) for row in rows))

    async def _doubt(self, wwid: str | None, sight: Sight) -> None:
        """Write down that a unit is dirty where another one answers behind its link: what was written since then may be
        in that other one, and no write-out that succeeds later says anything of it.
        """
        shown = sight.scsi if isinstance(sight, NfsSight) else sight
        name = wwid or (shown.wwid if isinstance(shown, ScsiSight) else None)
        if name is None or not isinstance(shown, ScsiSight) or self._is_confirmed(thing_of(name)):
            return
        if self._leads_astray(name, shown):
            await self._intend(Row(thing_of(name), self._boot_id, self.now(), confirmed=True))

    def _leads_astray(self, wwid: str, sight: ScsiSight) -> bool:
        """Whether what was handed out for writing by that name leads to another unit, or in part."""
        links = (row for row in self._created.named(wwid) if row.thing.kind is Kind.LINK and row.thing.wwid == wwid)
        if sight.device_link is None or not any(row.writable for row in links):
            return False
        above = sight.map.paths if sight.map and sight.map.node == sight.device_link else ()
        return any(path.node == sight.device_link and is_wrong(path, wwid) for path in sight.paths) or any(
            member.designators and wwid not in member.designators for member in above
        )

    def _is_confirmed(self, thing: Thing) -> bool:
        row = self._created.rows.get(thing)
        return row is not None and row.confirmed


def thing_of(wwid: str) -> Thing:
    """What was not written out of a logical unit, for the record."""
    return Thing(Kind.UNWRITTEN, name=wwid)


def not_written_out(wwid: str, step: Step) -> Problem:
    """Why a logical unit is not removed: once more, since the kernel says it only once."""
    detail = f"an earlier write-out of {wwid} failed, or was not seen to succeed: what was written last may be lost"
    return Problem(Code.DIRTY, detail, hint=REMEDY_OF_DIRTY, step=step.describe())
