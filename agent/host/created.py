"""The record of what was created on this host: on disk before it exists, until it is verifiably gone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from sqlite3 import Connection

from agent.store import Store, open_store


class Kind(StrEnum):
    """What can be created. A record, what we said of a LUN, and what multipath lists outlive the kernel; the others do
    not.

    `OWNED` is a LUN behind Fibre Channel that is ours wherever and whenever the kernel shows it, `BORROWED` a way to it
    on which it was there before. `ANNOUNCED` is what udev was told of a map, `MAP` what came of that, `LISTED` a line
    in multipath's own file. `UNWRITTEN` is a logical unit of which a write-out was begun and not seen to succeed.
    """

    RECORD = "record"
    SESSION = "session"
    DEVICE = "device"
    LINK = "link"
    OWNED = "owned"
    BORROWED = "borrowed"
    ANNOUNCED = "announced"
    MAP = "map"
    LISTED = "listed"
    MOUNT = "mount"
    DISK = "disk"
    UNWRITTEN = "unwritten"


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing by its names.

    A record or a session by target and portal (each more of one login by its number as `name`, too), a device by
    these and hctl, a link by name and wwid (one to a file: by name, and its place as target); an owned LUN by target
    and `name`, its number, a borrowed one by portal, too; what belongs to a map by wwid; a mount by its source as
    target and its version as portal, a disk that LIO makes of a file by these and wwid; what was not written out by
    the name of its logical unit as `name`; the rest is "". Behind Fibre Channel, target and portal are the names of
    the remote and the local port.
    """

    kind: Kind
    target: str = ""
    portal: str = ""
    hctl: str = ""
    name: str = ""
    wwid: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in the record.

    `since` is when it was intended, in seconds of the host's clock, `sid` the session's number (its own, or of the
    one that a device is on) or the mount's id (None: not known yet), `confirmed` whether its creation has been seen
    through to its end. `writable`: a link by which something was handed out for writing.
    """

    thing: Thing
    boot_id: str
    since: float
    sid: int | None = None
    confirmed: bool = False
    writable: bool = False


LASTING = (Kind.RECORD, Kind.OWNED, Kind.BORROWED, Kind.LISTED, Kind.UNWRITTEN)
"""The kinds that a reboot does not void."""

MIGRATIONS = (
    """
    CREATE TABLE created (
        kind TEXT NOT NULL, target TEXT NOT NULL, portal TEXT NOT NULL, hctl TEXT NOT NULL, name TEXT NOT NULL,
        wwid TEXT NOT NULL, boot_id TEXT NOT NULL, since REAL NOT NULL, sid INTEGER, confirmed INTEGER NOT NULL,
        PRIMARY KEY (kind, target, portal, hctl, name, wwid)
    ) STRICT
    """,
    # What is published while the helper is renewed was published for writing, as far as anybody knows.
    "ALTER TABLE created ADD COLUMN writable INTEGER NOT NULL DEFAULT 1",
)
_WHERE = "kind = ? AND target = ? AND portal = ? AND hctl = ? AND name = ? AND wwid = ?"


class Created:
    """All rows in memory, written through to the store. Memory changes at once, in the order of the commits.

    What the disk refuses is owed to it, and written with the next commit: what is gone may not stay on it as ours.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owed: set[Thing] = set()
        self._noted = False
        self._rows: dict[Thing, Row] = {}
        self._by_name: dict[str, dict[Thing, None]] = {}
        self._change(store.run_now(_read), ())

    @property
    def rows(self) -> Mapping[Thing, Row]:
        """What is in the record now."""
        return self._rows

    def named(self, *names: str | None) -> list[Row]:
        """The rows of things one of whose names (target, name, or wwid) is one of these."""
        things = {thing: None for name in names for thing in self._by_name.get(name or "", ())}
        return [self._rows[thing] for thing in things]

    async def put(self, *rows: Row) -> None:
        """Write rows; on disk when this returns. Raises `Problem` when they are not: then nothing may be created."""
        new = [row for row in rows if row.thing not in self._rows]
        if any(row.thing.kind is not Kind.LINK for row in new):  # a link is put back where a detach was refused
            self._store.insist_on_room()
        try:
            await self.change(put=rows)
        except BaseException:
            for row in new:
                if self._rows.get(row.thing) is row:
                    self._drop(row.thing)
            raise

    async def change(self, *, put: Iterable[Row] = (), drop: Iterable[Thing] = ()) -> None:
        """Write rows and forget things that are verifiably gone, all in one transaction.

        Raises `Problem` when the disk refuses.
        """
        things = self._change(put, drop)
        if things:
            await self._write(things)

    async def settled(self) -> None:
        """Wait until everything that was noted is on disk. Raises `Problem` when the disk refuses."""
        if self._noted:
            await self._write(set())
        if self._owed:
            await self._write(set())

    async def _write(self, things: set[Thing]) -> None:
        rows, gone = self._to_write(things)
        noted, self._noted = self._noted, False
        try:
            await self._store.run(lambda db: _write(db, rows, gone))
        except BaseException:
            self._owed |= things
            self._noted |= noted
            raise

    def note(self, *, put: Iterable[Row] = (), drop: Iterable[Thing] = ()) -> None:
        """`change`, for what the host itself tells again after a crash: on disk before the next row, not waited for."""
        self._post(self._change(put, drop))

    def _post(self, things: set[Thing]) -> None:
        if things:
            rows, gone = self._to_write(things)
            self._noted = True
            self._store.post(lambda db: _write(db, rows, gone), refused=lambda: self._owed.update(things))

    def _change(self, put: Iterable[Row], drop: Iterable[Thing]) -> set[Thing]:
        """Change memory. Returns what is different now."""
        rows = {row.thing: row for row in put}
        self._rows.update(rows)
        for thing in rows:
            for name in _known_by(thing):
                self._by_name.setdefault(name, {})[thing] = None
        return {*rows, *(thing for thing in drop if self._drop(thing))}

    def _drop(self, thing: Thing) -> bool:
        """Forget a thing in memory. Returns whether it was there."""
        for name in _known_by(thing) if thing in self._rows else ():
            self._by_name[name].pop(thing, None)
            if not self._by_name[name]:
                del self._by_name[name]
        return self._rows.pop(thing, None) is not None

    def _to_write(self, things: set[Thing]) -> tuple[list[Row], list[Thing]]:
        """These and what is owed, as memory has them now; `things` grows by the latter."""
        owed = set(self._owed)
        self._owed -= owed
        things |= owed
        return [self._rows[t] for t in things if t in self._rows], [t for t in things if t not in self._rows]

    def ailing(self) -> str:
        """What is wrong with the record, in words; empty when nothing is."""
        return self._store.ailing()

    async def check(self) -> None:
        """Raises `Problem` when the record cannot be written."""
        await self._store.run(lambda db: db.execute("SELECT count(*) FROM created").fetchone())

    def close(self) -> None:
        """Close the store and give up its ownership."""
        self._post(set(self._owed))
        self._store.close()
        self._owed.clear()


def open_created(path: Path | str, *, inline: bool = False, reserve: bool = False) -> Created:
    """The record at `path`; see `open_store` for `inline` and `reserve`, and for what it raises."""
    return Created(open_store(path, MIGRATIONS, inline=inline, reserve=reserve))


def _read(db: Connection) -> list[Row]:
    columns = "kind, target, portal, hctl, name, wwid, boot_id, since, sid, confirmed, writable"
    return [
        Row(Thing(Kind(kind), *names), boot_id, since, sid, bool(confirmed), bool(writable))
        for kind, *names, boot_id, since, sid, confirmed, writable in db.execute(f"SELECT {columns} FROM created")
    ]


def _write(db: Connection, rows: list[Row], gone: list[Thing]) -> None:
    values = [
        (*_names(row.thing), row.boot_id, row.since, row.sid, int(row.confirmed), int(row.writable)) for row in rows
    ]
    db.executemany("INSERT OR REPLACE INTO created VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    db.executemany(f"DELETE FROM created WHERE {_WHERE}", [_names(thing) for thing in gone])


def _known_by(thing: Thing) -> set[str]:
    return {thing.target, thing.name, thing.wwid} - {""}


def _names(thing: Thing) -> tuple[str, ...]:
    return (str(thing.kind), thing.target, thing.portal, thing.hctl, thing.name, thing.wwid)
