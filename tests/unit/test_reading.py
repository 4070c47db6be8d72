"""Disks that swallow their reader: it is broken off at its limit, and where that cannot be, no second one follows."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.host import reading
from agent.host.linux import FUNCTIONS, LinuxHost
from agent.workers import pool as workers
from agent.workers.pool import Pool
from attachers.problems import Code, Problem
from attachers.sights import BLOCK, BlocksQuery, BlocksSight
from tests.unit.linux_tree import roots_in

HUNG, WELL = "naa.6001405aaaaaaaaaaaaaaaaaaaaaaaaa", "naa.6001405bbbbbbbbbbbbbbbbbbbbbbbbb"
LIMIT_S = 0.3


def swallow(node: str, wwid: str, first: int, count: int, memory: dict[str, Any]) -> int:
    """A read of a disk: for ever of one that hangs, which is a pipe that nobody writes to."""
    if wwid == HUNG:
        return len(Path(node).read_bytes())
    return count


@dataclass(frozen=True, slots=True)
class Stage:
    """A host with a disk that hangs."""

    host: LinuxHost
    pool: Pool
    pipe: Path

    async def read(self, wwid: str) -> int:
        seen = await self.host.observe(BlocksQuery(wwid, 0, BLOCK, os.getpid(), 0, 0))
        assert isinstance(seen, BlocksSight)
        return seen.count

    async def all_ended(self) -> None:
        async with asyncio.timeout(20):
            while self.pool.stragglers:
                await self.host.changed(self.host.changes, timeout_s=1)

    async def refused(self, wwid: str) -> Problem:
        with pytest.raises(Problem) as caught:
            await self.read(wwid)
        return caught.value


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(reading, "READ_S", LIMIT_S)
    monkeypatch.setattr(workers, "KILLED_S", LIMIT_S)
    pool = Pool.start({**FUNCTIONS, "read_blocks": swallow})
    roots = roots_in(tmp_path)
    pipe = roots.devices / HUNG
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    host = LinuxHost(pool, roots)
    yield Stage(host, pool, pipe)
    await host.close()


async def test_a_read_that_hangs_is_broken_off_and_leaves_no_worker_behind(stage: Stage) -> None:
    for _ in range(reading.READ_AT_ONCE + 1):
        problem = await stage.refused(HUNG)
        assert problem.code is Code.TARGET_TIMEOUT and HUNG in problem.detail
    assert stage.pool.stragglers == ()
    assert await stage.read(WELL) == BLOCK


async def test_one_that_cannot_be_broken_off_has_no_second_beside_it_until_it_ends(stage: Stage) -> None:
    """As in D state: a worker that nobody lets run is not ended by its limit."""
    os.kill(stage.pool.zygote_pid, signal.SIGSTOP)
    try:
        assert (await stage.refused(HUNG)).code is Code.TARGET_TIMEOUT
        assert len(stage.pool.stragglers) == 1
        for _ in range(3):
            problem = await stage.refused(HUNG)
            assert problem.code is Code.BUSY and HUNG in problem.detail and problem.hint
        assert len(stage.pool.stragglers) == 1
    finally:
        os.kill(stage.pool.zygote_pid, signal.SIGCONT)
    await asyncio.to_thread(stage.pipe.write_bytes, b"")  # the disk answers at last
    await stage.all_ended()
    assert (await stage.refused(HUNG)).code is Code.TARGET_TIMEOUT
