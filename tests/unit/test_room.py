"""A full disk under both ledgers: everything can be detached, nothing is attached, and health says why.

The disk is a real one, a small tmpfs in a mount namespace of its own; where none may be made, the test says so.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.room import PIECE, RESERVE, Room

ROOT = Path(__file__).resolve().parents[2]
INSIDE = """
import asyncio, errno, os, sys
from pathlib import Path
from agent.store import open_store
from attachers.problems import Code, Problem
from tests.engine.world import World, running

disk = Path(sys.argv[1])

def fill():
    with open(disk / "filler", "ab", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

async def refused(work):
    try:
        await work
    except Problem as problem:
        return problem
    raise AssertionError("it was not refused")

async def main():
    world = World(disk, reserve=True)
    sources = [world.add_object(number) for number in range(1, 5)]
    async with running(world) as daemon:
        for number in (1, 2, 3):
            await daemon.attach(f"a{number}", sources[number - 1])
        assert (await daemon.engine.health())["ok"]
        fill()
        health = await daemon.engine.health()
        assert not health["ok"] and len(health["reasons"]) == 2, health
        assert all("is full" in reason for reason in health["reasons"]), health
        assert health["reasons"][0].startswith("ledger: ") and health["reasons"][1].startswith("helper: "), health
        problem = await refused(daemon.attach("a4", sources[3]))
        assert problem.code is Code.UNAVAILABLE and "is full" in problem.detail and problem.hint, problem.detail
        await daemon.detach("a1")
        fill()
        await daemon.detach("a2")
        for _ in range(100):  # whatever else is committed on the way
            await daemon.ledger.change("a3", note="x")
            await daemon.ledger.change("a3", note="y")
    fill()
    async with running(world) as daemon:  # also where it starts on the full disk
        await daemon.engine.settled()
        await daemon.detach("a3")
        assert not world.kernel.inventory() and not daemon.ledger.rows
        (disk / "filler").unlink()
        assert (await daemon.engine.health())["ok"]
        assert (await daemon.attach("a4", sources[3]))["phase"] == "attached"
        await daemon.detach("a4")
    fill()
    kept = [file.stat().st_size for file in disk.glob("*.reserve")]
    assert kept == [2 << 20] * 2, kept

asyncio.run(main())
"""
MOUNT = 'mount -t tmpfs -o size=16m none "$1" && exec "$2" -c "$3" "$1"'


def test_a_full_disk_keeps_nobody_from_detaching(tmp_path: Path) -> None:
    """Case 103."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no namespace of its own may be made here")
    command = [*alone, "sh", "-c", MOUNT, "sh", str(tmp_path), sys.executable, INSIDE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_room_is_given_up_piece_by_piece_and_taken_again(tmp_path: Path) -> None:
    room = Room(tmp_path / "ledger")
    assert (tmp_path / "ledger.reserve").stat().st_blocks * 512 >= RESERVE and not room.ailing()
    assert sum(room.give_up() for _ in range(100)) == RESERVE // PIECE
    assert "is full" in room.ailing()
    room.keep()
    assert not room.ailing()
