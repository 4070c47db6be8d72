"""What the unprivileged daemon may ask of the helper: no more than attach and detach what root's configuration allows.

The daemon parses what servers and callers send, and may have been taken over. So its word counts for nothing here:
where storage may be, who owns devices, and whose secrets go where is the configuration's to say; what is handed out
for writing, given to domains, or read, is told by the record of what was created, and by a look at that very moment.
What only takes something back is left to the guard behind: its record says what was made here, whatever is configured.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from weakref import WeakValueDictionary

from agent.host.allowed import Allowed
from agent.host.confined_rows import Lately, disks_in, is_made, is_out, links_of, published, recorded
from agent.host.created import Kind, Row, Thing
from agent.host.guarded import GuardedHost
from agent.host.guarded_judge import foreign, look_for, stands, things_of_map
from agent.host.guarded_owned import owned, targets_with
from attachers import checks
from attachers.nfs_share import Share
from attachers.problems import Code, Problem
from attachers.sights import (
    BlocksQuery,
    FcQuery,
    IscsiQuery,
    NfsQuery,
    NfsSight,
    Query,
    RecordSight,
    ScsiQuery,
    ScsiSight,
    Session,
    Sight,
)
from attachers.steps import (
    AnnounceMap,
    CreateRecord,
    GiveDisk,
    JoinMap,
    LeaveMap,
    Login,
    MakeDisk,
    Mount,
    Own,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveMap,
    Rescan,
    ResizeMap,
    Scan,
    Step,
    Unpublish,
    WriteOutFile,
)

MOST = 4096
"""Of how many disks and maps it is known how they were found."""
MOST_MADE = 1 << 15
"""Of things in the record, far above what a host can use: records and announcements are files, and /run is memory."""
MAKERS = (AnnounceMap, CreateRecord, Login, MakeDisk, Mount, Own, Publish, PublishFile, Scan)
USED_HINT = "stop whoever uses it, or ask for access ro"


class ConfinedHost:
    """The guarded host, as the daemon gets it. `allowed` says what the configuration allows at this moment, `most` is
    how many things may be in the record.
    """

    def __init__(self, guarded: GuardedHost, allowed: Callable[[], Allowed], *, most: int = MOST_MADE) -> None:
        self._most = most
        self._guarded = guarded
        self._allowed = allowed
        self._found: dict[str, ScsiQuery | NfsQuery] = {}
        self._lately = Lately(guarded.now)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def recover(self) -> None:
        """See `GuardedHost.recover`."""
        await self._guarded.recover()

    @property
    def created(self) -> Mapping[Thing, Row]:
        """See `GuardedHost.created`."""
        return self._guarded.created

    @property
    def changes(self) -> int:
        return self._guarded.changes

    @property
    def alarms(self) -> int:
        return self._guarded.alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        await self._guarded.changed(since, timeout_s=timeout_s)

    def now(self) -> float:
        return self._guarded.now()

    async def check(self) -> None:
        """See `GuardedHost.check`."""
        await self._guarded.check()

    async def close(self) -> None:
        await self._guarded.close()

    async def observe(self, query: Query) -> Sight:
        if isinstance(query, BlocksQuery) and not published(query.wwid, self.created):
            text = f"{query.wwid} is not published by this daemon"
            raise Problem(Code.NOT_FOUND, text, hint="attach it first")
        sight = await self._guarded.observe(query)
        return recorded(sight, self.created) if isinstance(sight, RecordSight) else self._noted(query, sight)

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        if isinstance(then, BlocksQuery):  # what is published may be another thing once the step is done
            raise Problem(Code.BAD_REQUEST, "then: no disk is read by the way", hint="observe it")
        async with self._turn(step, timeout_s):
            step = await self._judged(step)
            before = links_of(step.name, self.created) if isinstance(step, Unpublish) else []
            sight = await self._guarded.act(step, timeout_s=timeout_s, then=then)
            self._lately.note(before)
        return self._noted(then, sight) if then and sight else sight

    @asynccontextmanager
    async def _turn(self, step: Step, timeout_s: float) -> AsyncIterator[None]:
        """What is handed out by a name stays the same from the look at it to the end of the step."""
        if not isinstance(step, Publish | PublishFile | Unpublish | GiveDisk):
            yield
            return
        lock = self._turns.setdefault(step.name, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout_s):
                await lock.acquire()
        except TimeoutError:
            raise Problem(Code.BUSY, f"another step on {step.name} is still under way", step=step.describe()) from None
        try:
            yield
        finally:
            lock.release()

    async def _judged(self, step: Step) -> Step:
        """The step as it may be taken. Raises `Problem` where it may not."""
        if isinstance(step, MAKERS) and len(self.created) >= self._most:
            text = f"{len(self.created)} things are in the record of what was made here"
            raise Problem(Code.CONFLICT, text, hint="detach what is not needed any more", step=step.describe())
        match step:
            case CreateRecord() | Login():
                self._allowed().insist_on_login(step)
            case Scan(_, target, portal):
                self._allowed().insist_on_nexus(step, target, portal)
            case Own(targets):
                for target in targets:
                    await self._insist_on_a_way(step, target)
            case Mount(share, _, downgrade):
                allowed = self._allowed()
                allowed.insist_on_share(step, share.server)
                return replace(step, options=allowed.nfs_options, downgrade=downgrade and allowed.nfs_downgrade)
            case MakeDisk():
                await self._insist_on_free_file(step, False)
            case PublishFile(name, share, path):
                out = is_out(file := share.file(path), self.created) or self._lately.had(name, file)
                await self._insist_on_free_file(step, out or getattr(step, "read_only", False))
            case WriteOutFile(share) if Thing(Kind.MOUNT, share.source, share.version) not in self.created:
                raise foreign(step, f"the mount of {share.source}")
            case AnnounceMap(owner=owner):
                self._allowed().insist_on_owner(step, owner)
                await self._insist_on_a_disk(step)
            case JoinMap(hctl):
                await self._reached(step, hctl)
                self._insist_on_member(step, await self._look_at_map(step.wwid))
            case RemoveDevice(hctl) if not is_made(hctl, self.created):
                await self._insist_on_our_way(step, hctl)
            case LeaveMap() | ResizeMap() | RemoveMap():
                self._insist_on_member(step, await self._look_at_map(step.wwid))
            case Publish():
                await self._insist_on_reach(step)
            case Rescan(hctl, wwid) if not published(wwid, self.created):
                await self._reached(step, hctl)
            case GiveDisk():
                await self._insist_on_own_link(step)
        return step

    # What is handed out.

    async def _insist_on_a_way(self, step: Own, target: str) -> None:
        """Raises `Problem` unless a configured server may be behind that target, by any way that leads there now."""
        if checks.is_wwpn(target):
            self._allowed().insist_on_nexus(step, target, "")
            return
        sight = await self._guarded.observe(IscsiQuery("none", target, (), checks.MAX_LUN))
        portals = [session.portal for session in sight.sessions] if isinstance(sight, ScsiSight) else []
        if portals and not any(self._reaches(target, portal) for portal in portals):
            self._allowed().insist_on_nexus(step, target, portals[0])

    async def _insist_on_our_way(self, step: RemoveDevice, hctl: str) -> None:
        """`Own` may name a target before it has a session: of a session that somebody else makes to a portal that is no
        configured server's it says nothing. Raises `Problem` (`conflict`).
        """
        for target in targets_with(hctl, self.created):
            sight = await self._guarded.observe(look_for(owned(target, 0)))
            sessions = sight.sessions if isinstance(sight, ScsiSight) else ()
            if any(hctl in one.devices and not self._is_way(one) for one in sessions):
                raise foreign(step, f"device {hctl}")

    async def _insist_on_a_disk(self, step: AnnounceMap) -> None:
        """Raises `Problem` unless a disk of that name answers on a way that may be a configured server's.

        udev gives the node of a map that was announced to the configured owner, and hides what is on it.
        """
        asked = [q for q in self._found.values() if isinstance(q, IscsiQuery | FcQuery) and q.wwid == step.wwid]
        if not asked:
            raise _not_seen(step, step.wwid)
        sight = await self._guarded.observe(asked[-1])
        assert isinstance(sight, ScsiSight)
        ways = {hctl for one in sight.sessions if self._is_way(one) for hctl in one.devices}
        if not any(path.hctl in ways and step.wwid in path.designators for path in sight.paths):
            text = f"no disk of a configured server answers {step.wwid}"
            raise Problem(Code.CONFLICT, text, hint="look again", step=step.describe())

    def _is_way(self, session: Session) -> bool:
        return session.ours or self._reaches(session.target, session.portal)

    async def _insist_on_reach(self, step: Publish) -> None:
        """Raises `Problem` unless it is a configured server's. Whether it is free to be written is for the guard, but
        where it is handed out for reading already, beside whoever uses it: that says nothing of its being written.
        """
        self._allowed().insist_on_owner(step, step.owner)
        if step.hctl:
            await self._reached(step, step.hctl)
        else:
            self._insist_on_member(step, await self._look_at_map(step.wwid))
        if step.read_only or is_made(step.hctl, self.created) or not published(step.wwid, self.created):
            return
        if not is_out(step.wwid, self.created):
            await self._insist_on_no_users(step)

    async def _insist_on_no_users(self, step: Publish) -> None:
        query = self._found.get(step.hctl or step.wwid)
        if query is None:
            raise _not_seen(step, step.hctl or step.wwid)
        sight = await self._guarded.observe(replace(query, wwid=step.wwid, holders=True))
        scsi = sight.scsi if isinstance(sight, NfsSight) else sight
        assert isinstance(scsi, ScsiSight)
        ours = scsi.map is not None and scsi.map.ours if not step.hctl else step.hctl in _ours(scsi)
        if scsi.users and not ours:
            raise _used(step, step.wwid, scsi.users)

    async def _reached(self, step: Step, hctl: str) -> None:
        """Raises `Problem` unless a disk was scanned here, or is a configured server's, as it is found now."""
        if is_made(hctl, self.created):
            return
        sight = await self._look(step, hctl)
        scsi = sight.scsi if isinstance(sight, NfsSight) else sight
        if hctl not in [path.hctl for path in scsi.paths]:
            raise Problem(Code.UNAVAILABLE, f"{hctl} is gone", hint="look again", step=step.describe())
        if isinstance(sight, NfsSight):
            if sight.disk is None or not sight.disk.ours:
                text = f"the disk {hctl} was not made by this daemon"
                raise Problem(Code.CONFLICT, text, hint="see targetcli ls", step=step.describe())
        else:
            self._insist_on_session(step, sight, hctl)

    def _insist_on_session(self, step: Step, sight: ScsiSight, hctl: str) -> None:
        session = next((one for one in sight.sessions if hctl in one.devices), None)
        if session is None:
            raise Problem(Code.UNAVAILABLE, f"{hctl} is on no session", hint="look again", step=step.describe())
        self._allowed().insist_on_nexus(step, session.target, session.portal)

    async def _look_at_map(self, wwid: str) -> ScsiSight:
        """The map of a logical unit as it is now, with the ways by which it was last asked about."""
        anywhere = look_for(things_of_map(wwid)[Kind.MAP])
        sight = await self._guarded.observe(self._found.get(wwid, anywhere))
        assert isinstance(sight, ScsiSight)
        if sight.map is None:  # these ways may lead to another unit by now: a map by that name is none of theirs
            sight = await self._guarded.observe(anywhere)
        assert isinstance(sight, ScsiSight)
        return sight

    def _insist_on_member(self, step: Publish | JoinMap | LeaveMap | ResizeMap | RemoveMap, sight: ScsiSight) -> None:
        members = [path.hctl for path in sight.map.paths if path.hctl] if sight.map else []
        ways = {hctl for one in sight.sessions if self._is_way(one) for hctl in one.devices}
        if members and not any(hctl in ways or is_made(hctl, self.created) for hctl in members):
            text = f"the map of {step.wwid} has no disk of a configured server"
            raise Problem(Code.CONFLICT, text, hint="whoever made it has to change it", step=step.describe())

    def _reaches(self, target: str, portal: str) -> bool:
        try:
            return self._allowed().reaches(target, portal)
        except Problem:  # there is no configuration: ours may still be taken back
            return False

    async def _insist_on_free_file(self, step: MakeDisk | PublishFile, known: bool) -> None:
        """Raises `Problem` unless the share may be mounted and, where it is not `known`, nobody writes to the file."""
        self._allowed().insist_on_share(step, step.share.server)
        if known:
            return
        name = step.name if isinstance(step, PublishFile) else "none"
        sight = await self._guarded.observe(NfsQuery(name, step.share, step.path, holders=True))
        assert isinstance(sight, NfsSight)
        if sight.file is None:
            text = f"{step.share.source} is not mounted, or something is mounted over it"
            raise Problem(Code.UNAVAILABLE, text, hint="look again", step=step.describe())
        if sight.file.writers and not await self._has_disk_of(step.share, step.path):
            raise _used(step, f"{step.path} in {step.share.source}", sight.file.writers)

    async def _has_disk_of(self, share: Share, path: str) -> bool:
        """Whether we had LIO make a disk of the file: then it is handed out already, as that."""
        for wwid in disks_in(share, self.created):
            sight = await self._guarded.observe(NfsQuery("none", share, wwid=wwid))
            if isinstance(sight, NfsSight) and sight.disk and sight.disk.ours and sight.disk.file == share.file(path):
                return True
        return False

    async def _insist_on_own_link(self, step: GiveDisk) -> None:
        """Raises `Problem` unless the link of that name is ours, leads where it led, and to what may be written."""
        rows = links_of(step.name, self.created)
        sights = [(row, await self._guarded.observe(look_for(row.thing))) for row in rows]
        row = next((row for row, sight in sights if isinstance(sight, ScsiSight) and stands(row.thing, sight)), None)
        if row is None:
            text = f"{step.name} is not published on this host by this daemon"
            raise Problem(Code.CONFLICT, text, hint="attach it first", step=step.describe())
        if (step.kind == "file") != bool(row.thing.target):
            text = f"kind: {step.name} is published as {'a file' if row.thing.target else 'a disk'}, not {step.kind}"
            raise Problem(Code.CONFLICT, text, hint="give it as what it is", step=step.describe())
        if not step.read_only and not row.writable:
            text = f"{step.name} is published for reading only"
            raise Problem(Code.CONFLICT, text, hint="attach it with access rw", step=step.describe())

    # Looking.

    def _noted(self, query: Query, sight: Sight) -> Sight:
        """How each disk was found, so that it can be looked at again when it is to be handed out."""
        match query, sight:
            case NfsQuery(), NfsSight(scsi=ScsiSight(paths=paths)):
                self._note(query, [path.hctl for path in paths])
            case IscsiQuery(wwid=wwid) | FcQuery(wwid=wwid), ScsiSight(paths=paths, map=above):
                self._note(query, [*(path.hctl for path in paths), *([wwid] if wwid and above else [])])
        return sight

    def _note(self, query: ScsiQuery | NfsQuery, keys: Iterable[str]) -> None:
        for key in keys:
            self._found.pop(key, None)
            self._found[key] = query
        while len(self._found) > MOST:
            del self._found[next(iter(self._found))]

    async def _look(self, step: Step, hctl: str) -> ScsiSight | NfsSight:
        """Look at a disk now, as it was found before."""
        query = self._found.get(hctl)
        if query is None:
            raise _not_seen(step, hctl)
        sight = await self._guarded.observe(query)
        assert isinstance(sight, ScsiSight | NfsSight)
        return sight


def _used(step: Step, what: str, users: tuple[str, ...]) -> Problem:
    return Problem(Code.IN_USE, f"{what} is in use by {', '.join(users)}", hint=USED_HINT, step=step.describe())


def _ours(sight: ScsiSight) -> set[str]:
    return {path.hctl for path in sight.paths if path.ours}


def _not_seen(step: Step, key: str) -> Problem:
    return Problem(Code.UNAVAILABLE, f"{key} has not been looked at yet", hint="look again", step=step.describe())
