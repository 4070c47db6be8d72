"""The guard's part for NFS: mounts, and the disks that LIO makes of files, are in the record before they are there."""

from contextlib import suppress
from dataclasses import replace

from agent.host.created import Created, Kind, Row, Thing
from agent.host.guarded_held import Held
from agent.host.guarded_judge import foreign, judge
from attachers.base import Host
from attachers.nfs_share import KIND, Share
from attachers.problems import Problem
from attachers.sights import NfsMount, NfsQuery, NfsSight
from attachers.steps import GrowDisk, MakeDisk, Mount, RemoveDisk, Unmount

ShareStep = Mount | Unmount | MakeDisk | GrowDisk | RemoveDisk

OF_SHARES = (Kind.MOUNT, Kind.DISK)


class GuardedShares:
    """What was made of NFS shares on a host. `limbo` and `held` are shared with the guard that it is a part of."""

    def __init__(self, raw: Host, created: Created, held: Held, limbo: dict[Thing, float]) -> None:
        self._raw = raw
        self._created = created
        self._held = held
        self._limbo = limbo
        self._shown: dict[str, str] = {}

    def has_shown(self, hctl: str) -> bool:
        """Whether the last look at some disk of ours showed it at that SCSI address."""
        return hctl in self._shown.values()

    def made(self, hctl: str) -> bool:
        """Whether the disk that was last seen at that SCSI address was made here, of a file."""
        made = {thing.wwid for thing in self._created.rows if thing.kind is Kind.DISK}
        return any(hctl == shown for wwid, shown in self._shown.items() if wwid in made)

    async def observe(self, query: NfsQuery) -> NfsSight:
        """What there is, and what of it is ours."""
        sight = await self._see(query)
        if query.wwid:
            self._shown[query.wwid] = next((path.hctl for path in sight.scsi.paths), "")
        shown = self._marked(query, sight)
        if not any(_covers(query, thing) or thing.name == query.name for thing in self._created.rows):
            await self._created.settled()  # that nothing is ours, he hears when the disk knows it as well
        return shown

    async def look(self, thing: Thing) -> NfsSight:
        """Look at one thing, as cheaply as can be, and settle its row; no server is asked."""
        return await self._see(_query_for(thing), mine=_lock_of(thing))

    async def act(self, step: ShareStep, boot_id: str, *, timeout_s: float) -> None:
        """Take a step; see `GuardedHost`."""
        thing = thing_of(step)
        async with self._held.hold(_lock_of(thing), step, timeout_s):
            if isinstance(step, Mount | MakeDisk):
                await self._create(step, thing, boot_id, timeout_s)
            elif isinstance(step, GrowDisk):
                await self._grow(step, thing, timeout_s)
            else:
                await self._undo(step, thing, timeout_s)

    async def _create(self, step: Mount | MakeDisk, thing: Thing, boot_id: str, timeout_s: float) -> None:
        sight = await self.look(thing)
        if thing not in self._created.rows:
            if _is_taken(thing, sight):
                return  # somebody else's: whoever looks judges whether it may be used
            await self._created.put(Row(thing, boot_id, self._raw.now()))
        try:
            await self._raw.act(step, timeout_s=timeout_s)
        except Problem:
            with suppress(Problem):
                await self.look(thing)
            raise
        await self._see(_query_for(thing), mine=_lock_of(thing), keep=thing)

    async def _grow(self, step: GrowDisk, thing: Thing, timeout_s: float) -> None:
        await self.look(thing)
        if thing not in self._created.rows:
            raise foreign(step, f"a disk {step.wwid}")
        await self._raw.act(step, timeout_s=timeout_s)

    async def _undo(self, step: Unmount | RemoveDisk, thing: Thing, timeout_s: float) -> None:
        sight = await self.look(thing)
        row = self._created.rows.get(thing)
        if row is None:
            if _is_taken(thing, sight):
                raise foreign(step, f"what is at {step.share.point}" if isinstance(step, Unmount) else step.wwid)
            return
        strangers = [one for one in sight.mounts if one.id != row.sid] if isinstance(step, Unmount) else []
        if strangers:
            raise foreign(step, f"the mount of {strangers[-1].source} at {step.share.point}")
        await self._raw.act(step, timeout_s=timeout_s)
        await self.look(thing)

    async def _see(self, query: NfsQuery, *, mine: str = "", keep: Thing | None = None) -> NfsSight:
        """Look, and settle every row that the answer covers, but those that another step works on meanwhile."""
        with self._held.looking(mine=mine) as touched:
            sight = await self._raw.observe(query)
        assert isinstance(sight, NfsSight)
        rows = [row for row in self._created.rows.values() if _lock_of(row.thing) not in touched]
        links = judge([row for row in rows if row.thing.kind is Kind.LINK and row.thing.name == query.name], sight.scsi)
        ours = [row for row in rows if _covers(query, row.thing)]
        lasting = {keep} | {thing for thing, until in self._limbo.items() if until > self._raw.now()}
        gone = [row.thing for row in ours if not _stands(row, sight) and row.thing not in lasting]
        found = [known for row in ours if _stands(row, sight) and (known := _found(row, sight))]
        for row in found:
            self._limbo.pop(row.thing, None)
        self._created.note(put=[*found, *links.found], drop=[] if sight.scsi.busy else [*gone, *links.gone])
        return sight

    def _marked(self, query: NfsQuery, sight: NfsSight) -> NfsSight:
        rows, share = self._created.rows, query.share
        mount = rows.get(Thing(Kind.MOUNT, share.source, share.version))
        made = Thing(Kind.DISK, share.source, share.version, wwid=query.wwid or "") in rows
        begun = tuple(
            f"{_begun(thing)} (begun before the helper restarted)"
            for thing, until in self._limbo.items()
            if _covers(query, thing) and thing in rows and until > self._raw.now()
        )
        paths = tuple(replace(path, ours=made) for path in sight.scsi.paths)
        return replace(
            sight,
            mounts=tuple(replace(one, ours=mount is not None and mount.sid == one.id) for one in sight.mounts),
            disk=replace(sight.disk, ours=made) if sight.disk else None,
            scsi=replace(sight.scsi, paths=paths, busy=sight.scsi.busy + begun),
        )


def thing_of(step: ShareStep) -> Thing:
    """The thing that a step creates, changes or undoes."""
    source, version = step.share.source, step.share.version
    if isinstance(step, Mount | Unmount):
        return Thing(Kind.MOUNT, source, version)
    return Thing(Kind.DISK, source, version, wwid=step.wwid)


def _begun(thing: Thing) -> str:
    return f"mount {thing.target}" if thing.kind is Kind.MOUNT else f"make disk {thing.wwid}"


def _lock_of(thing: Thing) -> str:
    return thing.name or thing.wwid or f"{thing.target}@{thing.portal}"


def _query_for(thing: Thing) -> NfsQuery:
    return NfsQuery("none", Share.of(thing.target, thing.portal), wwid=thing.wwid or None)


def _covers(query: NfsQuery, thing: Thing) -> bool:
    """Whether the answer to a query shows the mount or the disk, if it is there."""
    if thing.kind not in OF_SHARES or (thing.target, thing.portal) != (query.share.source, query.share.version):
        return False
    return thing.kind is Kind.MOUNT or thing.wwid == query.wwid


def _is_taken(thing: Thing, sight: NfsSight) -> bool:
    """Whether there is anything where the thing would be."""
    return bool(sight.mounts) if thing.kind is Kind.MOUNT else sight.disk is not None


def _stands(row: Row, sight: NfsSight) -> bool:
    """Whether the thing is there; a mount has to be the very one that was made, once that is known."""
    if row.thing.kind is Kind.DISK:
        return sight.disk is not None
    return any(row.sid in (None, mount.id) for mount in _mounts_of(row.thing, sight))


def _found(row: Row, sight: NfsSight) -> Row | None:
    """The row with what is known of the thing now; None where nothing is new."""
    if row.thing.kind is Kind.DISK or row.sid is not None:
        return None if row.confirmed else replace(row, confirmed=True)
    mounts = _mounts_of(row.thing, sight)
    return replace(row, sid=mounts[0].id, confirmed=True) if len(mounts) == 1 else None


def _mounts_of(thing: Thing, sight: NfsSight) -> list[NfsMount]:
    return [mount for mount in sight.mounts if (mount.source, mount.kind) == (thing.target, KIND)]
