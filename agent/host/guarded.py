"""The guard before a host: it writes down what is created before it is, and lets nothing else be undone."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from agent.host.created import LASTING, Created, Kind, Row, Thing
from agent.host.guarded_held import Held
from agent.host.guarded_judge import (
    MAP_KINDS,
    Rows,
    covered,
    covers,
    foreign,
    handed_out,
    hands_out,
    insist_on_canonical_names,
    is_ours,
    judge,
    lock_of,
    look_for,
    mark,
    sessions_of,
    sid_of,
    stands,
    thing_of,
    to_log_out,
    unresolved,
)
from agent.host.guarded_maps import MapGuard
from agent.host.guarded_owned import Lasting, owned, owned_at
from agent.host.guarded_published import PublishGuard
from agent.host.guarded_records import is_to_be_made_anew, is_to_go
from agent.host.guarded_shares import OF_SHARES, GuardedShares
from agent.host.guarded_written import WriteOuts
from agent.host.recent import Recent
from agent.host.returned import Returned
from attachers.base import Host, MadeByAnotherError, Uncertain
from attachers.problems import Code, Problem
from attachers.sights import HostQuery, HostSight, NfsQuery, Query, ScsiQuery, ScsiSight, Sight
from attachers.steps import (
    AnnounceMap,
    CreateRecord,
    DeleteRecord,
    Disown,
    ForgetMap,
    GrowDisk,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    MakeDisk,
    MapStep,
    Mount,
    Own,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveDisk,
    RemoveMap,
    ResizeMap,
    Scan,
    Step,
    Unmount,
    Unpublish,
)

log = logging.getLogger(__name__)
STRAGGLE_S = 30.0  # how long what iscsid, iscsiadm or a stuck worker has begun may take yet: above a login's limit


class GuardedHost:
    """A host that knows what was created on it. Call `recover` once, before anything else.

    For every thing that a step creates: look; if it is there and not in the record, it is somebody else's, and is
    left alone. Otherwise the intent is committed, the step taken, and its outcome looked at. A row goes only when its
    thing has been seen to be gone, so that after a crash at any point there is a row for each thing of ours.
    """

    def __init__(self, raw: Host, created: Created, *, straggle_s: float = STRAGGLE_S) -> None:
        self._raw = raw = WriteOuts(raw, created)
        self._created = created
        self._lasting = Lasting(created, self._look)
        self._straggle_s = straggle_s
        self._boot_id = ""
        self._held = Held()
        self._limbo: dict[Thing, float] = {}
        self._shares = GuardedShares(raw, created, self._held, self._limbo)
        self._seen, self._removed, self._returned = Recent(), Recent(), Returned()
        self._maps = MapGuard(raw, created, self._is_back)
        self._published = PublishGuard(self._maps.has_disk, self._maps.is_ours)

    async def recover(self) -> None:
        """Compare the record with the host: what a reboot or a crash has voided is dropped, the rest stays ours.

        Raises `Problem` (`unavailable`) when the host cannot even tell its boot id.
        """
        host = await self._raw.observe(HostQuery())
        assert isinstance(host, HostSight)
        self._boot_id = host.boot_id
        rows = list(self._created.rows.values())
        void = [r.thing for r in rows if r.thing.kind not in LASTING and r.boot_id != host.boot_id]
        await self._created.change(drop=void)
        self._limbo |= {
            row.thing: row.since + self._straggle_s
            for row in rows
            if not row.confirmed
            and row.boot_id == host.boot_id
            and row.thing.kind not in (Kind.LINK, Kind.UNWRITTEN, *MAP_KINDS)
        }
        for thing in list(self._created.rows):
            try:
                if thing.kind in OF_SHARES:
                    await self._shares.look(thing)
                elif is_to_go(thing, await self._look(thing)):
                    await self._raw.act(DeleteRecord(thing.target, thing.portal), timeout_s=self._straggle_s)
                    await self._look(thing)
            except (Problem, Uncertain) as problem:
                log.warning("cannot compare %s with the host, it stays in the record: %s", thing, problem)

    async def observe(self, query: Query) -> Sight:
        if not isinstance(query, ScsiQuery | NfsQuery):
            return await self._raw.observe(query)
        self._insist_on_recovery()
        if isinstance(query, NfsQuery):
            return await self._shares.observe(query)
        return await self._shown(query, await self._see(query))

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        """Take a step, and look at what came of it: with `then`, by that very query where it shows the thing."""
        insist_on_canonical_names(step)
        last = await self._act(step, timeout_s, then if isinstance(then, ScsiQuery) else None)
        if isinstance(then, ScsiQuery) and last is not None:
            return await self._shown(then, last)
        with suppress(Problem):  # the step is done: whoever asked looks again
            return await self.observe(then) if then else None
        return None

    async def _act(self, step: Step, timeout_s: float, then: ScsiQuery | None) -> ScsiSight | None:
        """Returns what `then` showed right after the step, if it was looked at."""
        self._insist_on_recovery()
        match step:
            case Mount() | Unmount() | MakeDisk() | GrowDisk() | RemoveDisk():
                await self._shares.act(step, self._boot_id, timeout_s=timeout_s)
            case CreateRecord() | Login() | Scan() | Publish() | PublishFile():
                async with self._held.hold(lock_of(thing_of(step)), step, timeout_s):
                    return await self._create(step, timeout_s, then)
            case Logout() | DeleteRecord():
                async with self._held.hold(lock_of(thing_of(step)), step, timeout_s):
                    return await self._undo(step, thing_of(step), timeout_s, then)
            case RemoveDevice(hctl=hctl):
                async with self._held.hold(hctl, step, timeout_s):
                    last = await self._remove(step, timeout_s, then)
                self._published.removed(hctl)
                return last
            case Own(targets, lun) | Disown(targets, lun):
                for target in targets:
                    async with self._held.hold(lock_of(owned(target, lun)), step, timeout_s):
                        await self._lasting.act(step, target, self._boot_id, self._raw, timeout_s=timeout_s)
            case Unpublish(name=name):
                async with self._held.hold(name, step, timeout_s):
                    return await self._unpublish(step, timeout_s, then)
            case AnnounceMap() | JoinMap() | LeaveMap() | ResizeMap() | RemoveMap() | ForgetMap():
                async with self._held.hold(step.wwid, step, timeout_s):
                    return await self._act_on_map(step, timeout_s, then)
            case _:
                await self._raw.act(step, timeout_s=timeout_s)
        return None

    @property
    def changes(self) -> int:
        return self._raw.changes

    @property
    def alarms(self) -> int:
        return self._raw.alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        limits = [timeout_s, *(left for until in self._limbo.values() if (left := until - self.now()) > 0)]
        await self._raw.changed(since, timeout_s=min(limits))

    def now(self) -> float:
        return self._raw.now()

    @property
    def created(self) -> Rows:
        """What was created here, and is not known to be gone."""
        return self._created.rows

    async def check(self) -> None:
        """Raises `Problem` when the record cannot be written."""
        await self._created.check()

    async def close(self) -> None:
        await self._raw.close()
        self._created.close()

    # Creating.

    async def _create(
        self, step: CreateRecord | Login | Scan | Publish | PublishFile, timeout_s: float, then: ScsiQuery | None
    ) -> ScsiSight | None:
        thing = thing_of(step)
        sight = await self._look(thing)
        known = self._created.rows.get(thing)
        if isinstance(step, Publish):
            self._insist_on_seen(step.hctl or step.wwid, step)
            above = Thing(Kind.MAP, wwid=step.wwid)
            step = await self._published.judged(step, lambda: self._look(above))
        if isinstance(step, Publish | PublishFile):
            self._insist_on_own_link(step, sight)
        elif known is None and stands(thing, sight):
            return None
        if isinstance(step, Login):
            step = await self._finish_record(step, sight, timeout_s)
        if thing not in self._created.rows and not stands(thing, sight):
            sid = sid_of(step, sight, self._created.rows)
            await self._created.put(Row(thing, self._boot_id, self.now(), sid, writable=hands_out(step)))
            self._removed.drop({thing.hctl})
        try:
            await self._raw.act(step, timeout_s=timeout_s)
            self._published.done(step)
            await self._created.change(put=handed_out(self._created.rows.get(thing), step, writable=True))
        except MadeByAnotherError:
            if known is None:
                self._created.note(drop=(thing,))
        except Problem:
            with suppress(Problem):
                await self._look(thing)
            writable = known is not None and known.writable
            self._created.note(put=handed_out(self._created.rows.get(thing), step, writable=writable))
            raise
        return await self._confirm(thing, then) if thing in self._created.rows else None

    async def _finish_record(self, step: Login, sight: ScsiSight, timeout_s: float) -> Login:
        """See that a record of ours has our settings before it is used.

        A record of somebody else is used as it is: returns the login, without what ours would need.
        """
        create = CreateRecord(step.target, step.portal, step.chap, step.iface)
        row = self._created.rows.get(thing_of(create))
        if row is None:
            return replace(step, chap="", iface="")
        if is_to_be_made_anew(row, sight, boot_id=self._boot_id):
            await self._create(create, timeout_s, None)
        return step

    async def _confirm(self, thing: Thing, then: ScsiQuery | None) -> ScsiSight | None:
        """The step succeeded: write down what came of it.

        A scan that found nothing made nothing; anything else that does not show yet stays an intent.
        """
        row = self._created.rows[thing]
        if thing.kind is Kind.RECORD and (not row.confirmed or row.boot_id != self._boot_id):
            self._created.note(put=(replace(row, confirmed=True, boot_id=self._boot_id),))
        if thing.kind is Kind.RECORD and then is None:
            return None
        return await self._look_after(thing, then, keep=None if thing.kind is Kind.DEVICE else thing)

    def _insist_on_seen(self, key: str, step: Step) -> None:
        """Only what a sight has shown as a path of an export is handed out, or its map, never a disk of this machine.

        `key` is the path's address or, of a map, the logical unit's name.
        """
        seen = key in self._seen or self._shares.has_shown(key)
        if not seen and not any(key in (thing.hctl, thing.wwid) for thing in self._created.rows):
            text = f"{key} has not been looked at yet"
            raise Problem(Code.UNAVAILABLE, text, hint="look again", step=step.describe())

    def _insist_on_own_link(self, step: Publish | PublishFile, sight: ScsiSight) -> None:
        """A link that somebody else made is never pointed elsewhere."""
        if sight.link is not None and not self._links(step.name) and not stands(thing_of(step), sight):
            raise foreign(step, f"the link {step.name} to {sight.link}")

    # Undoing.

    async def _undo(
        self, step: Logout | DeleteRecord, thing: Thing, timeout_s: float, then: ScsiQuery | None
    ) -> ScsiSight | None:
        sight = await self._look(thing)
        thing = to_log_out(step, self._created.rows) if isinstance(step, Logout) else thing
        if thing not in self._created.rows:
            if stands(thing, sight):
                raise foreign(step, f"the {thing.kind} of {thing.target} at {thing.portal}")
            return None
        if isinstance(step, Logout):
            row = self._created.rows[thing]
            found = sessions_of(thing, sight, sid=row.sid)
            if step.sid not in (None, row.sid) or not all(is_ours(one, sight, self._created.rows) for one in found):
                raise foreign(step, f"a session to {thing.target} at {thing.portal}")
            step = replace(step, sid=row.sid)
        await self._raw.act(step, timeout_s=timeout_s)
        return await self._look_after(thing, then)

    async def _remove(self, step: RemoveDevice, timeout_s: float, then: ScsiQuery | None) -> ScsiSight | None:
        thing = next((t for t in self._created.rows if t.kind is Kind.DEVICE and t.hctl == step.hctl), None)
        if thing is None and await self._lasting.is_back(step.hctl):
            await self._raw.act(step, timeout_s=timeout_s)
            self._removed.update(set() if await self._lasting.is_back(step.hctl) else {step.hctl})
            return None
        if thing is None and step.hctl in self._removed:
            return None
        if thing is None:
            raise foreign(step, f"device {step.hctl}")
        await self._look(thing)
        row, last = self._created.rows.get(thing), None
        if row:
            await self._raw.act(step, timeout_s=timeout_s)
            last = await self._look_after(thing, then)
            self._returned.note(row, self.now())
        if thing not in self._created.rows:
            self._removed.update({step.hctl})
        return last

    async def _unpublish(self, step: Unpublish, timeout_s: float, then: ScsiQuery | None) -> ScsiSight | None:
        sight = await self._look(Thing(Kind.LINK, name=step.name, wwid=step.wwid or ""))
        mine = self._links(step.name)
        if not mine:
            if sight.link is not None:
                raise foreign(step, f"the link {step.name} to {sight.link}")
            return None
        wwids = {thing.wwid for thing in mine} - {t.wwid for t in self._created.rows if t.name not in ("", step.name)}
        await self._raw.act(step if step.wwid in wwids else Unpublish(step.name, None), timeout_s=timeout_s)
        return await self._look_after(mine[0], then)

    async def _act_on_map(self, step: MapStep, timeout_s: float, then: ScsiQuery | None) -> ScsiSight | None:
        thing = Thing(Kind.MAP, wwid=step.wwid)
        if isinstance(step, JoinMap):
            self._insist_on_seen(step.hctl, step)
        await self._maps.act(step, lambda: self._look(thing), boot_id=self._boot_id, timeout_s=timeout_s)
        if isinstance(step, RemoveMap):
            self._published.removed(step.wwid)
        return await self._look_after(thing, then)

    async def _is_back(self, hctl: str) -> bool:
        """Whether a disk that nothing was scanned for is ours: a LUN that came back, or a file's disk."""
        return self._shares.made(hctl) or await self._lasting.is_back(hctl)

    def _links(self, name: str) -> list[Thing]:
        return [thing for thing in self._created.rows if thing.kind is Kind.LINK and thing.name == name]

    # Looking.

    async def _look(self, thing: Thing) -> ScsiSight:
        """Look at one thing whose lock is held, as cheaply as can be, and settle its rows."""
        return await self._see(look_for(thing), mine=lock_of(thing))

    async def _look_after(self, thing: Thing, then: ScsiQuery | None, *, keep: Thing | None = None) -> ScsiSight | None:
        """Look at a thing after a step, by `then` where that shows it; `keep` stays even when it does not show yet.

        Returns the sight of `then`, None where something else was looked at.
        """
        serves = then is not None and covers(then, thing)
        sight = await self._see(
            then if then is not None and serves else look_for(thing), mine=lock_of(thing), keep=keep
        )
        return sight if serves else None

    async def _see(self, query: ScsiQuery, *, mine: str = "", keep: Thing | None = None) -> ScsiSight:
        """Look, and settle every row that the answer covers, but those that another step works on meanwhile.

        `mine` is the lock that the one who looks holds.
        """
        with self._held.looking(mine=mine) as touched:
            sight = await self._raw.observe(query)
        assert isinstance(sight, ScsiSight)
        judged = [row for row in covered(query, self._created) if lock_of(row.thing) not in touched]
        self._settle(judged, sight, keep=keep)
        return sight

    async def _shown(self, query: ScsiQuery, sight: ScsiSight) -> ScsiSight:
        """A sight as whoever asked gets it: with what is ours; that nothing is, when the disk knows it as well."""
        self._seen.update({path.hctl for path in sight.paths} | ({query.wwid} if sight.map and query.wwid else set()))
        self._removed.drop(hctl for session in sight.sessions for hctl in session.devices)
        rows = self._created.rows
        busy = sight.busy + unresolved(query, self._limbo, rows, self.now())
        shown = replace(mark(sight, rows, query.wwid), busy=busy, owned=owned_at(query, rows))
        if not covered(query, self._created):
            await self._created.settled()
        return shown

    def _settle(self, rows: Iterable[Row], sight: ScsiSight, *, keep: Thing | None = None) -> None:
        """Drop the rows of what is gone, unless something under way may still bring it; confirm what is found."""
        verdict = judge(rows, sight)
        lasting = {keep} | {thing for thing, until in self._limbo.items() if until > self.now()}
        gone = [] if sight.busy else [thing for thing in verdict.gone if thing not in lasting]
        for row in verdict.found:
            self._limbo.pop(row.thing, None)
        for thing in [t for t in self._limbo if t.kind is Kind.RECORD and stands(t, sight)]:
            del self._limbo[thing]
        self._removed.update(removed := {thing.hctl for thing in gone if thing.hctl})
        self._seen.drop(removed)
        back = self._returned.back(sight, self._created.rows, self.now())
        self._created.note(put=(*verdict.found, *back), drop=gone)

    def _insist_on_recovery(self) -> None:
        if not self._boot_id:
            raise Problem(Code.UNAVAILABLE, "the record of what was created has not been compared with the host yet")
