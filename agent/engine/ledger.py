"""The daemon's ledger: what is wanted on this host, and which permissions were added on CDMI servers for it.

What was created on the host itself is in the helper's ledger, not here. Every change is committed (SQLite, WAL,
synchronous=FULL) before the call returns, so that the next side effect always comes after its intent.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from agent.engine.earlier import let_in
from agent.engine.former import Former as Former
from agent.engine.generations import FORGOTTEN, KEPT, numbered
from agent.engine.lease import Lease
from agent.engine.operation import Operation as Operation
from agent.model import Access, DomainRequest, OperationState, Phase, Request
from agent.store import Store
from agent.uses import known_by
from agent.values import from_json, to_json
from attachers.base import Device, Goal

MIGRATIONS = (
    """
    CREATE TABLE attachments (
        name TEXT PRIMARY KEY, goal TEXT NOT NULL, phase TEXT NOT NULL, object_id TEXT NOT NULL, body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE grants (
        uri TEXT NOT NULL, key TEXT NOT NULL, initiator TEXT NOT NULL, PRIMARY KEY (uri, key, initiator)
    ) STRICT;
    CREATE TABLE generations (object_id TEXT PRIMARY KEY, generation INTEGER NOT NULL) STRICT;
    """,
    "UPDATE attachments SET body = json_set(body, '$.note', '');",
    "CREATE TABLE operations (id TEXT PRIMARY KEY, since REAL NOT NULL, body TEXT NOT NULL) STRICT;",
    "CREATE TABLE tainted (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;",
)
MOST_ENDED = 256
CHANGES = ("move", "restore")
"""The operations on an object that is there already."""
NEWER = (
    "INSERT INTO generations VALUES (?, ?)"
    " ON CONFLICT (object_id) DO UPDATE SET generation = max(generation, excluded.generation)"
)
_ADDED: Mapping[str, Any] = {
    "passed": [],
    "others": 0,
    "caveat": "",
    "places": [],
    "over": [],
    "at": "",
    "permits": [],
    "seen": True,
    "dead": [],
    "forced": "",
    "tainted": [],
    "former": [],
    "boot_id": "",
    "let_in": [],
    "lease": None,
}
"""What rows of earlier versions do not have."""
_ADDED_TO_OPERATIONS: Mapping[str, Any] = {
    **{"metadata": {}, "keys": [], "owned": False, "by": "", "despite_permitted": False},
    **{"modified": "", "worked": False, "note": ""},
}
T = TypeVar("T")


MADE = "(made by us)"
"""In the place of an initiator: the export itself, which is removed with the last permission of ours."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What we added on a CDMI server: this initiator in that entry of that object's exports, or (`MADE`) the entry."""

    uri: str
    key: str
    initiator: str


@dataclass(frozen=True, slots=True)
class Passed:
    """An export that was tried in vain, and undone: its key and protocol, and why."""

    key: str
    protocol: str
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """One attachment that is wanted, or that is on its way out.

    `server`, `uri`, `key`, `object_id`, `protocol` and `plan` are known once the source was resolved. `handed_out`
    says that a caller was told of the device, `domains` whom it was (or is about to be) given to,
    and `released` that nothing of it is left on the host, nor needed there. `problem` is the last one, as JSON, `note`
    what a caller should know of how it was attached, `caveat` of the device as it was last seen. `passed` are the
    exports that were preferred to this one, `others` how many there are besides to be tried after it. `places` are the
    object's addresses by path, `over` what the containers above it are known by. `at`
    is the URI of the container that has the export, where it is not the object's own, `permits` which names of ours in
    that export it relies on (none told: on all). `seen` says that its device was proved since the daemon
    began: what an earlier daemon (perhaps before a boot) has left in the ledger was not. `dead` are those of the
    `domains` that have the disk open that was here before, and is gone. `forced` says who said that the loss of what
    cannot be written out is known, `tainted` what was given up then. `former` are the plans before this one, of which
    something may be left here, the latest first; `boot_id` is the boot in which the plan was made, or found to hold.
    `let_in` are the names of ours by which this host was let in at the place of the plan when the disk was handed out.
    `lease`: it is there for a while only (None: until it is detached).
    """

    name: str
    request: Request
    owner_uid: int
    goal: Goal = Goal.ATTACHED
    phase: Phase = Phase.ATTACHING
    server: str = ""
    uri: str = ""
    key: str = ""
    object_id: str = ""
    protocol: str = ""
    plan: Mapping[str, Any] | None = None
    device: Device | None = None
    verified: bool = False
    domains: tuple[DomainRequest, ...] = ()
    handed_out: bool = False
    released: bool = False
    problem: Mapping[str, Any] | None = None
    note: str = ""
    passed: tuple[Passed, ...] = ()
    others: int = 0
    caveat: str = ""
    places: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    at: str = ""
    permits: tuple[str, ...] = ()
    seen: bool = True
    dead: tuple[str, ...] = ()
    forced: str = ""
    tainted: tuple[str, ...] = ()
    former: tuple[Former, ...] = ()
    boot_id: str = ""
    let_in: tuple[str, ...] = ()
    lease: Lease | None = None

    @property
    def keys(self) -> frozenset[str]:
        """All that the object is known by: see `agent.uses.known_by`."""
        return known_by(self.uri, self.object_id, self.places)

    @property
    def granted_at(self) -> str:
        """The URI of what has the export, and so the permissions."""
        return self.at or self.uri

    def relies_on(self, name: str) -> bool:
        """Whether that name of this host in the export is needed for it."""
        return name == MADE or not self.permits or name in self.permits

    @property
    def object_key(self) -> str:
        """What the object is known by: its ID, the same on every way to it, else its address; empty: not known yet."""
        return self.object_id or self.uri

    @property
    def alone_key(self) -> str:
        """The same of what it alone may write: requests for that are in one order. Empty where others may have it."""
        return self.object_key if self.request.access is Access.RW and not self.request.share else ""


class Ledger:
    """All rows in memory, written through to the store. `version` grows with every change of a row.

    `tainted` are attachments that are gone, with what was given up of them, until somebody has seen it.

    `on_phase` is told of each new phase of an attachment ("gone" at its end), `on_commit` how long each commit took,
    `on_row` of each new row of an attachment (None at its end).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: dict[str, Row] = {}
        self.grants: set[Grant] = set()
        self.generations: dict[str, int] = {}
        self.operations: dict[str, Operation] = {}
        self.tainted: dict[str, Row] = {}
        self.version = 0
        self._lock = asyncio.Lock()
        self.on_phase: Callable[[str, str], None] = lambda _name, _phase: None
        self.on_commit: Callable[[float], None] = lambda _seconds: None
        self.on_row: Callable[[str, Row | None], None] = lambda _name, _row: None

    async def load(self) -> None:
        """Read everything from the store. Raises `Problem` where it cannot be read."""
        bodies, grants, generations, operations, tainted = await self._store.run(_read)
        self.tainted = {row.name: row for row in map(_row_of, tainted)}
        self.operations = {one.id: one for one in map(_operation_of, operations)}
        self.rows = {row.name: row for row in (_row_of(body, grants) for body in bodies)}
        for row in self.rows.values():
            self._changed(row.name, row)
        self.grants = {Grant(*values) for values in grants}
        self.generations = dict(generations)

    def doubt(self) -> None:
        """An earlier daemon wrote these rows, perhaps before a boot: what they say of the host counts after a look."""
        for row in self.rows.values():
            stood = row.goal is Goal.ATTACHED and row.phase is Phase.ATTACHED
            self.rows[row.name] = replace(row, seen=False, phase=Phase.UNCERTAIN if stood else row.phase)
            self._changed(row.name, self.rows[row.name])

    async def add(self, row: Row) -> None:
        """Commit a new attachment: from here on it is wanted. Raises `Problem` where there is no room for its end."""
        self._store.insist_on_room()
        await self._commit(lambda: row)

    async def change(
        self, name: str, *, grants: Collection[Grant] = (), revoked: Collection[Grant] = (), **changes: Any
    ) -> Row:
        """Commit changes to one row and, in the same transaction, intents to grant, and permissions taken back.

        Returns the new row.
        """
        return await self._commit(lambda: replace(self.rows[name], **changes), grants, revoked)

    async def forget(self, name: str, *, revoked: Collection[Grant] = ()) -> None:
        """Commit that an attachment is no longer wanted, and gone, and that these permissions were taken back.

        What a forced detach gave up of it is kept.
        """
        await _to_its_end(self._forget(name, revoked))
        self.on_phase(name, "gone")

    async def _forget(self, name: str, revoked: Collection[Grant]) -> None:
        async with self._lock:
            row = self.rows.get(name)
            kept = replace(row, phase=Phase.FAILED, device=None) if row and row.forced and row.tainted else None
            await self._timed(lambda db: _drop(db, name, revoked, kept))
            if kept:
                self.tainted[name] = kept
            self.rows.pop(name, None)
            self._changed(name, None)
            self.grants.difference_update(revoked)

    async def revoked(self, grants: Collection[Grant]) -> None:
        """Commit that permissions which no attachment relies on were taken back."""
        async with self._lock:
            await self._timed(lambda db: _take(db, grants))
            self.grants.difference_update(grants)

    async def seen(self, name: str) -> None:
        """Commit that somebody knows what was given up of an attachment that is gone."""
        if name in self.tainted:
            async with self._lock:
                await self._timed(lambda db: _execute(db, "DELETE FROM tainted WHERE name = ?", name))
                self.tainted.pop(name, None)
                self.version += 1

    def _changed(self, name: str, row: Row | None) -> None:
        self.version += 1
        self.on_row(name, row)

    async def keep(self, operation: Operation) -> Operation:
        """Commit how far an operation is; of those that have ended, the oldest are forgotten. Returns it."""
        return await _to_its_end(self._keep(operation))

    async def _keep(self, operation: Operation) -> Operation:
        ended = [one for one in self.operations.values() if one.state is not OperationState.RUNNING]
        dropped = [one.id for one in ended[: max(0, len(ended) - MOST_ENDED)]]
        async with self._lock:
            await self._timed(lambda db: _write_operation(db, operation, dropped))
            self.operations[operation.id] = operation
            for one in dropped:
                self.operations.pop(one, None)
        return operation

    async def check(self) -> str:
        """Read one row. Returns what is wrong all the same, in words. Raises `Problem` where it does not answer."""
        await self._store.run(lambda db: _execute(db, "SELECT name FROM attachments LIMIT 1"))
        return self._store.ailing()

    async def _commit(
        self, make: Callable[[], Row], grants: Collection[Grant] = (), revoked: Collection[Grant] = ()
    ) -> Row:
        before, row = await _to_its_end(self._make(make, grants, revoked))
        if before is None or before.phase is not row.phase:
            self.on_phase(row.name, row.phase)
        return row

    async def _make(
        self, make: Callable[[], Row], grants: Collection[Grant], revoked: Collection[Grant]
    ) -> tuple[Row | None, Row]:
        """Commit a row. Returns the one before, and the one that there is now."""
        async with self._lock:  # changes are made to the row as it is now, one after the other
            row = make()
            before = self.rows.get(row.name)
            if row == before and not grants and not revoked:
                return before, row
            numbers = numbered(row.name, row.alone_key, row.request.generation)
            await self._timed(lambda db: _write(db, row, grants, revoked, numbers))
            self.rows[row.name] = row
            self._changed(row.name, row)
            self.grants = (self.grants | {*grants}) - {*revoked}
            self._note(numbers)
        return before, row

    async def saw(self, numbers: Mapping[str, int]) -> None:
        """Commit the number of a request that takes something down: see `agent.engine.generations`."""
        async with self._lock:
            await self._timed(lambda db: _number(db, numbers))
            self._note(numbers)

    def _note(self, numbers: Mapping[str, int]) -> None:
        for key, number in numbers.items():
            self.generations[key] = max(number, self.generations.get(key, number))

    async def _timed(self, work: Callable[[sqlite3.Connection], None]) -> None:
        began = time.monotonic()
        await self._store.run(work)
        self.on_commit(time.monotonic() - began)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work that a cancellation must not cut off: the disk would know of it, and memory would not."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


def _write(
    db: sqlite3.Connection, row: Row, grants: Collection[Grant], revoked: Collection[Grant], numbers: Mapping[str, int]
) -> None:
    values = (row.name, row.goal, row.phase, row.object_id, json.dumps(to_json(row)))
    _execute(db, "INSERT OR REPLACE INTO attachments VALUES (?, ?, ?, ?, ?)", *values)
    for grant in grants:
        _execute(db, "INSERT OR IGNORE INTO grants VALUES (?, ?, ?)", grant.uri, grant.key, grant.initiator)
    _take(db, revoked)
    _number(db, numbers)


def _number(db: sqlite3.Connection, numbers: Mapping[str, int]) -> None:
    for key, number in numbers.items():
        _execute(db, NEWER, key, number)


def _drop(db: sqlite3.Connection, name: str, revoked: Collection[Grant], kept: Row | None) -> None:
    _execute(db, "DELETE FROM attachments WHERE name = ?", name)
    if kept:
        _execute(db, "INSERT OR REPLACE INTO tainted VALUES (?, ?)", name, json.dumps(to_json(kept)))
    _take(db, revoked)


def _take(db: sqlite3.Connection, revoked: Collection[Grant]) -> None:
    for grant in revoked:
        where = "DELETE FROM grants WHERE uri = ? AND key = ? AND initiator = ?"
        _execute(db, where, grant.uri, grant.key, grant.initiator)


def _write_operation(db: sqlite3.Connection, operation: Operation, dropped: Collection[str]) -> None:
    values = (operation.id, operation.since, json.dumps(to_json(operation)))
    db.execute("INSERT OR REPLACE INTO operations VALUES (?, ?, ?)", values)
    for one in dropped:
        _execute(db, "DELETE FROM operations WHERE id = ?", one)


def _execute(db: sqlite3.Connection, statement: str, *values: str | int) -> None:
    db.execute(statement, values)


_Read = tuple[list[str], list[tuple[str, str, str]], list[tuple[str, int]], list[str], list[str]]


def _read(db: sqlite3.Connection) -> _Read:
    tainted = [body for (body,) in db.execute("SELECT body FROM tainted ORDER BY name")]
    operations = [body for (body,) in db.execute("SELECT body FROM operations ORDER BY since")]
    bodies = [body for (body,) in db.execute("SELECT body FROM attachments ORDER BY name")]
    grants = db.execute("SELECT uri, key, initiator FROM grants").fetchall()
    _execute(db, FORGOTTEN, KEPT)
    return bodies, grants, db.execute("SELECT object_id, generation FROM generations").fetchall(), operations, tainted


def _operation_of(body: str) -> Operation:
    return from_json(Operation, {**_ADDED_TO_OPERATIONS, **json.loads(body)})


def _row_of(body: str, grants: Collection[tuple[str, str, str]] = ()) -> Row:
    told = json.loads(body)
    row = from_json(Row, {**_ADDED, **told})
    if "let_in" in told or not row.handed_out:
        return row
    return replace(row, let_in=let_in(row.granted_at, row.key, row.permits, grants, made=MADE))
