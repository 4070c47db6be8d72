"""The ledger's store: durable, owned by one, and honest about what it cannot do."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.store import MEMORY, Store, open_store
from attachers.problems import Code, Problem

TABLE = "CREATE TABLE t (x INTEGER PRIMARY KEY) STRICT"


async def values(store: Store) -> list[int]:
    return await store.run(lambda db: [x for (x,) in db.execute("SELECT x FROM t ORDER BY x")])


def insert(db: sqlite3.Connection, x: int) -> None:
    db.execute("INSERT INTO t VALUES (?)", (x,))


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


async def test_what_is_written_is_there_again(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])
    await store.run(lambda db: insert(db, 1))
    store.close()
    store.close()
    store = open_store(tmp_path / "l", [TABLE])
    assert await values(store) == [1]
    store.close()


async def test_pragmas_and_modes(tmp_path: Path) -> None:
    (tmp_path / "l").touch(mode=0o644)
    store = open_store(tmp_path / "l", [TABLE])
    await store.run(lambda db: insert(db, 1))
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "user_version")
    found = await store.run(lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas])
    assert found == ["wal", 2, 1, 0, 1]
    assert modes_in(tmp_path) == {"l": 0o600, "l-shm": 0o600, "l-wal": 0o600, "l.lock": 0o600}
    store.close()


async def test_a_transaction_is_whole_or_not_at_all(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])

    def twice(db: sqlite3.Connection) -> None:
        insert(db, 1)
        insert(db, 1)

    with pytest.raises(sqlite3.IntegrityError):
        await store.run(twice)
    assert await values(store) == [] and store.broken is None
    store.close()


async def test_one_thread_in_the_order_of_the_calls(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])
    seen: list[tuple[int, int]] = []

    def note(db: sqlite3.Connection, x: int) -> None:
        insert(db, x)
        seen.append((x, threading.get_ident()))

    await asyncio.gather(*(store.run(lambda db, x=x: note(db, x)) for x in range(20)))  # type: ignore[misc]
    assert [x for x, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen}) == 1 and threading.get_ident() not in {thread for _, thread in seen}
    store.close()


async def test_memory_runs_in_line() -> None:
    store = open_store(MEMORY, [TABLE])
    assert await store.run(lambda _: threading.get_ident()) == threading.get_ident()
    store.close()


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])
    with pytest.raises(Problem, match=f"pid {os.getpid()}") as caught:
        open_store(tmp_path / "l", [TABLE])
    assert caught.value.code is Code.UNAVAILABLE and caught.value.hint
    store.close()
    open_store(tmp_path / "l", [TABLE]).close()


def test_a_dead_owner_owns_nothing(tmp_path: Path) -> None:
    code = f"""if 1:
        import os
        from agent.store import open_store
        store = open_store({str(tmp_path / "l")!r}, [{TABLE!r}])
        store.run_now(lambda db: db.execute("INSERT INTO t VALUES (5)"))
        os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    store = open_store(tmp_path / "l", [TABLE])
    assert store.run_now(lambda db: db.execute("SELECT x FROM t").fetchall()) == [(5,)]
    store.close()


@pytest.mark.parametrize("content", [b"this is no database, but long enough to look like one" * 40])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "l").write_bytes(content)
    with pytest.raises(Problem, match=str(tmp_path / "l")) as caught:
        open_store(tmp_path / "l", [TABLE])
    assert "aside" in caught.value.hint
    assert (tmp_path / "l").read_bytes() == content
    (tmp_path / "l").unlink()
    open_store(tmp_path / "l", [TABLE]).close()


def test_a_torn_page_is_found(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE, "CREATE TABLE u (y TEXT); CREATE INDEX v ON u (y)"])
    store.run_now(lambda db: [db.execute("INSERT INTO u VALUES (?)", (f"{n:0500}",)) for n in range(100)])
    store.close()
    data = bytearray((tmp_path / "l").read_bytes())
    data[4096 * 10 : 4096 * 14] = bytes(4096 * 4)
    (tmp_path / "l").write_bytes(data)
    with pytest.raises(Problem, match=r"corrupt|cannot be read"):
        open_store(tmp_path / "l", [TABLE, "SELECT 1"])


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path / "l", [TABLE, "CREATE TABLE u (y TEXT)"]).close()
    with pytest.raises(Problem, match="newer") as caught:
        open_store(tmp_path / "l", [TABLE])
    assert "install" in caught.value.hint


def test_a_migration_keeps_a_copy_and_is_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])
    store.run_now(lambda db: insert(db, 1))
    store.close()
    with pytest.raises(Problem, match="schema 2"):
        open_store(tmp_path / "l", [TABLE, "CREATE TABLE u (y TEXT); nonsense"])
    store = open_store(tmp_path / "l", [TABLE, "ALTER TABLE t ADD COLUMN y TEXT"])
    assert store.run_now(lambda db: db.execute("SELECT * FROM t").fetchall()) == [(1, None)]
    store.close()
    with sqlite3.connect(tmp_path / "l.v1") as copy:
        assert copy.execute("SELECT * FROM t").fetchall() == [(1,)]
    copy.close()


def test_a_copy_that_has_no_room_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """What was attached has to be detached, also after an upgrade on a full disk."""
    store = open_store(tmp_path / "l", [TABLE])
    store.run_now(lambda db: insert(db, 1))
    store.close()
    (tmp_path / "l.v1").mkdir()  # nothing can be written there
    store = open_store(tmp_path / "l", [TABLE, "ALTER TABLE t ADD COLUMN y TEXT"])
    assert store.run_now(lambda db: db.execute("SELECT * FROM t").fetchall()) == [(1, None)]
    store.close()


async def test_a_full_disk_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])
    pages = await store.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    store._conn.execute(f"PRAGMA max_page_count={pages}")

    def fill(db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO t VALUES (?)", [(x,) for x in range(10_000)])

    with pytest.raises(Problem, match="full") as caught:
        await store.run(fill)
    assert caught.value.code is Code.UNAVAILABLE
    assert await values(store) == [] and store.broken is None
    store.close()


async def test_after_an_io_error_nothing_is_written_any_more(tmp_path: Path) -> None:
    store = open_store(tmp_path / "l", [TABLE])

    def fail(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    with pytest.raises(Problem):
        await store.run(fail)
    with pytest.raises(Problem, match="I/O"):
        await values(store)
    store.close()
