"""What is written out to an NFS server: broken off only where somebody says that the loss is known, and heard of."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from agent.host import nfs_calls
from agent.host.linux import FUNCTIONS as LINUX
from agent.host.linux import LinuxHost
from agent.host.linux_nfs_steps import CLOSE_S, NfsSteps
from agent.host.nfs_reach import Reach
from agent.host.roots import Roots
from agent.host.tools import Tools, deadline_in
from agent.host.uevents import Changes
from agent.workers.pool import Abandoned, Pool
from attachers.base import Uncertain
from attachers.nfs_share import Share, wwid_of
from attachers.problems import Code, Problem
from attachers.steps import RemoveDisk, WriteOutFile
from tests.unit.linux_tree import roots_in

SOON_S = 20.0
WWID = wwid_of(f"{1:032X}")
REMOVE = RemoveDisk(Share("10.0.0.1", "/srv", "4.2"), WWID)
LOST = RemoveDisk(REMOVE.share, WWID, lost=True)


def _release(sys: str, wwid: str, lost: bool, where: dict[str, Any]) -> None:
    """Wait for a server, which is a pipe, and write down that all was written out."""
    Path(sys, "server").read_text()
    Path(sys, "written").touch()


def _dismantle(sys: str, wwid: str) -> None:
    Path(sys, "gone").touch()


FUNCTIONS: dict[str, Any] = {"lio_look": lambda sys, wwid: None, "lio_release": _release, "lio_dismantle": _dismantle}


@pytest.fixture
def forked() -> Iterator[Pool]:
    yield Pool.start(FUNCTIONS)


@pytest.fixture
async def pool(forked: Pool) -> AsyncIterator[Pool]:
    yield forked
    await forked.close()


def steps(pool: Pool, folder: Path) -> NfsSteps:
    os.mkfifo(folder / "server")
    roots = Roots(sys=folder, run=folder / "run", dev=folder / "dev")
    return NfsSteps(Reach(Tools(roots, pool, Changes(), cast(Any, None), cast(Any, None))))


async def test_a_slow_one_goes_on_and_says_what_came_of_it(pool: Pool, tmp_path: Path) -> None:
    taken = steps(pool, tmp_path)
    with pytest.raises(Abandoned) as late:
        await taken.take(REMOVE, deadline_in(2 * CLOSE_S + 0.3))
    assert len(pool.stragglers) == 1 and not (tmp_path / "gone").exists()
    os.close(os.open(tmp_path / "server", os.O_WRONLY))
    async with asyncio.timeout(SOON_S):
        await late.value.ended
    assert (tmp_path / "written").exists() and not pool.stragglers


async def test_it_is_broken_off_once_the_loss_is_known(pool: Pool, tmp_path: Path) -> None:
    taken = steps(pool, tmp_path)
    with pytest.raises(Abandoned) as late:
        await taken.take(REMOVE, deadline_in(2 * CLOSE_S + 0.3))
    await taken.break_off(LOST)
    with pytest.raises(Problem) as ended:
        async with asyncio.timeout(SOON_S):
            await late.value.ended
    assert ended.value.code is Code.TARGET_TIMEOUT and not pool.stragglers
    with pytest.raises(Problem) as refused:
        await taken.take(LOST, deadline_in(2 * CLOSE_S + 0.3))
    assert refused.value.code is Code.TARGET_TIMEOUT and not pool.stragglers
    with pytest.raises(OSError):
        os.open(tmp_path / "server", os.O_WRONLY | os.O_NONBLOCK)  # nobody waits there any more


def _write_out(point: str, path: str, proc: str, pin: Any, fate: str, lost: bool) -> bool:
    """Wait for a server, which is a pipe, and write down that all was written out."""
    Path(fate).read_text()
    Path(f"{fate}.written").touch()
    return True


@pytest.fixture
def waiting() -> Iterator[Pool]:
    yield Pool.start({**LINUX, "nfs_write_out": _write_out})


async def test_a_helper_that_stops_waits_for_a_write_out(waiting: Pool, tmp_path: Path) -> None:
    """Its worker goes with it, and nobody would hear any more what came of it."""
    roots = roots_in(tmp_path)
    roots.unwritten.mkdir(parents=True)
    os.mkfifo(roots.unwritten / WWID)
    host = LinuxHost(waiting, roots)
    with pytest.raises(Uncertain):
        await host.act(WriteOutFile(REMOVE.share, "disk.img", WWID, None), timeout_s=2)
    closing = asyncio.create_task(host.close())
    assert (await asyncio.wait({closing}, timeout=0.3))[1]
    os.close(os.open(roots.unwritten / WWID, os.O_WRONLY))
    async with asyncio.timeout(SOON_S):
        await closing
    assert (roots.unwritten / f"{WWID}.written").exists()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE])
def test_an_error_of_a_files_write_out_is_told_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/disk.img").write_bytes(bytes(512))
    fate = tmp_path / "unwritten" / WWID

    def write_out(*, lost: bool = False) -> bool:
        return nfs_calls.write_out(str(tmp_path), "a/disk.img", "/proc", None, str(fate), lost)

    assert write_out() and not fate.exists()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails_with(error))
        with pytest.raises(Problem) as caught:
            write_out()
    assert caught.value.code is Code.DIRTY and os.strerror(error) in caught.value.detail
    with pytest.raises(Problem) as again:
        write_out()
    assert again.value.code is Code.DIRTY, "the pages are clean by now"
    assert write_out(lost=True) and fate.exists()


def fails_with(error: int) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise OSError(error, os.strerror(error))

    return fail


def test_another_file_is_not_written_out_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(512))
    with pytest.raises(Problem) as caught:
        nfs_calls.write_out(str(tmp_path), "disk.img", "/proc", ["1f:0", 77], str(tmp_path / "fate"), False)
    assert caught.value.code is Code.WRONG_DEVICE and not (tmp_path / "fate").exists()
