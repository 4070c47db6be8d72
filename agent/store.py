"""A small SQLite store for a ledger: one owner, one thread, one transaction at a time, on disk before it returns."""

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agent.room import Room
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
T = TypeVar("T")
MEMORY = ":memory:"
_BROKEN = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY})
_PRAGMAS = "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA busy_timeout=5000;"
_SMALL = "PRAGMA wal_autocheckpoint=250; PRAGMA journal_size_limit=1048576;"
"""The write-ahead log stays below a megabyte, which the room that is kept (`agent.room`) has to hold."""


class Store:
    """An open ledger file. Made by `open_store`."""

    room: Room | None = None
    """What is kept for the way out; None for one in memory."""

    def __init__(
        self, path: str, conn: sqlite3.Connection, lock: int | None, *, inline: bool, room: Room | None = None
    ) -> None:
        self.room = room
        self._path = path
        self._conn = conn
        self._lock = lock
        self._thread = None if inline else ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self.broken: Problem | None = None

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Call `fn(conn)` in one transaction, committed before this returns and rolled back when `fn` raises.

        Raises `Problem` (`unavailable`) when the disk refuses; after an I/O error, for good: what a failed fsync left
        behind is not known.
        """
        if self._thread is None:
            return self.run_now(fn)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.run_now, fn)

    def post(self, fn: Callable[[sqlite3.Connection], object], *, refused: Callable[[], None]) -> None:
        """`run` for what nobody waits for: committed in the order of the calls.

        Where the disk refuses, this is logged and `refused` called, on whatever thread.
        """
        if self._thread is None:
            self._posted(fn, refused)
        else:
            self._thread.submit(self._posted, fn, refused)

    def _posted(self, fn: Callable[[sqlite3.Connection], object], refused: Callable[[], None]) -> None:
        try:
            self.run_now(fn)
        except Problem as problem:
            log.error("%s", problem.detail)
            refused()

    def run_now(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """`run` on the calling thread: for start-up, before there is a loop, and never beside `run`."""
        if self.broken:
            raise self.broken
        try:
            return _transaction(self._conn, fn)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            if not (_is_full(error) and self.room and self.room.give_up()):
                raise self._unavailable(error) from error
        log.error("%s: its disk is full: using the room that was kept for the way out", self._path)
        return self.run_now(fn)

    def insist_on_room(self) -> None:
        """Raises `Problem` (`unavailable`) where nothing new may be begun, since its end may not be written down."""
        if self.room:
            self.room.keep()
            if ailing := self.room.ailing():
                raise Problem(Code.UNAVAILABLE, ailing, hint="free space on it")

    def ailing(self) -> str:
        """What is wrong with it, in words; empty when nothing is."""
        if self.broken:
            return self.broken.detail
        if self.room:
            self.room.keep()
        return self.room.ailing() if self.room else ""

    def close(self) -> None:
        """Close the file and give up its ownership. Does nothing the second time."""
        if self._thread:
            self._thread.shutdown(wait=True)
        self._conn.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _unavailable(self, error: sqlite3.Error) -> Problem:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        problem = _problem(self._path, f"cannot be written: {error}", "free space on its disk or see the kernel's log")
        if code in _BROKEN:
            self.broken = problem
        return problem


def open_store(path: str | Path, migrations: Sequence[str], *, inline: bool = False, reserve: bool = False) -> Store:
    """Open (or make) the ledger at `path` and bring its schema up to date.

    `migrations` are SQL scripts; the n-th (from 1) leads to `user_version` n. `inline` runs transactions on the
    calling thread: for tests with a virtual clock; ":memory:" always does. With `reserve`, room is kept on its disk
    (`agent.room`). Blocks for a moment: call it at start-up. Raises `Problem` (`unavailable`): owned by another
    process, corrupt, or written by a newer version.
    """
    path = str(path)
    lock = None if path == MEMORY else _own(path)
    room = Room(Path(path)) if reserve and path != MEMORY else None
    try:
        try:
            conn = _opened(path, migrations)
        except Problem:
            if not (room and room.ailing() and room.give_up()):
                raise
            conn = _opened(path, migrations)
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise
    return Store(path, conn, lock, inline=inline or path == MEMORY, room=room)


def _opened(path: str, migrations: Sequence[str]) -> sqlite3.Connection:
    conn = _connect(path)
    try:
        _check(path, conn)
        _migrate(path, conn, migrations)
    except BaseException:
        conn.close()
        raise
    return conn


def _is_full(error: sqlite3.Error) -> bool:
    """Whether the disk has no room. The index of the log says so in another way when it cannot grow."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_WRITE)


def _transaction(conn: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T]) -> T:
    conn.execute("BEGIN IMMEDIATE")
    try:
        result = fn(conn)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return result


def _own(path: str) -> int:
    """Lock the file beside the ledger for as long as this process lives; the lock goes with the descriptor."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise _problem(path, f"is in use by another process (pid {owner})", "stop that one first") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _connect(path: str) -> sqlite3.Connection:
    if path != MEMORY:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _check(path: str, conn: sqlite3.Connection) -> None:
    remedy = f"move {path} (and its -wal and -shm) aside: then nothing is known of what was made before"
    try:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.executescript(_PRAGMAS + _SMALL)
        answer = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise _problem(path, f"cannot be read: {error}", remedy) from error
    if answer != "ok":
        raise _problem(path, f"is corrupt: {answer}", remedy)


def _migrate(path: str, conn: sqlite3.Connection, migrations: Sequence[str]) -> None:
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        text = f"was written by a newer version (schema {version}, known up to {len(migrations)})"
        raise _problem(path, text, "install that version again")
    if 0 < version < len(migrations) and path != MEMORY:
        try:
            _keep_copy(conn, Path(f"{path}.v{version}"))
        except (sqlite3.Error, OSError) as error:  # no room for it is no reason to keep anybody from detaching
            log.error("%s is brought to a newer schema, and no copy of it is kept: %s", path, error)
    for number, script in enumerate(migrations[version:], start=version + 1):
        try:
            conn.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")
        except sqlite3.Error as error:
            raise _problem(path, f"cannot be brought to schema {number}: {error}", "report this") from error


def _keep_copy(conn: sqlite3.Connection, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    conn.execute("VACUUM INTO ?", (str(copy),))


def _problem(path: str, text: str, hint: str) -> Problem:
    return Problem(Code.UNAVAILABLE, f"the ledger {path} {text}", hint=hint)
