"""The worker pool, with real forks: what is answered, what is refused, what is stuck, and what is left at the end."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.workers.pool import Abandoned, Pool
from attachers.problems import Code, Problem

SOON_S = 20.0


def _read(path: str) -> str:
    return Path(path).read_text()


def _refuse() -> None:
    raise Problem(Code.IN_USE, "somebody has it", hint="ask them")


def _fail(kind: str) -> None:
    raise OSError(5, "Input/output error") if kind == "os" else ValueError("a defect")


def _descriptors() -> list[str]:
    links = (Path(f"/proc/self/fd/{fd}") for fd in range(3, 64))
    return [str(link.readlink()) for link in links if link.is_symlink()]


FUNCTIONS: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "pid": os.getpid,
    "read": _read,
    "refuse": _refuse,
    "fail": _fail,
    "fds": _descriptors,
    "long": lambda: "x" * 1_000_000,
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


@pytest.fixture
def forked() -> Iterator[Pool]:
    yield Pool.start(FUNCTIONS)


@pytest.fixture
async def pool(forked: Pool) -> AsyncIterator[Pool]:
    yield forked
    await forked.close()
    assert not _is_child(forked.zygote_pid)


async def test_a_call_is_answered_and_the_worker_used_again(pool: Pool) -> None:
    assert await pool.call("add", {"a": 2, "b": 3}, timeout_s=SOON_S) == 5
    first = await pool.call("pid", {}, timeout_s=SOON_S)
    assert first == await pool.call("pid", {}, timeout_s=SOON_S)
    assert first not in (os.getpid(), pool.zygote_pid)


async def test_calls_at_the_same_time_use_several_workers(pool: Pool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    stuck = asyncio.create_task(pool.call("read", {"path": str(tmp_path / "fifo")}, timeout_s=SOON_S))
    assert await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S) == 2
    _open_for_writing(tmp_path / "fifo")
    assert await stuck == ""


async def test_problems_cross_the_border_whole(pool: Pool) -> None:
    with pytest.raises(Problem) as refused:
        await pool.call("refuse", {}, timeout_s=SOON_S)
    assert (refused.value.code, refused.value.detail, refused.value.hint) == (
        Code.IN_USE,
        "somebody has it",
        "ask them",
    )


@pytest.mark.parametrize(("kind", "code"), [("os", Code.UNAVAILABLE), ("other", Code.INTERNAL)])
async def test_other_exceptions_become_problems(pool: Pool, kind: str, code: Code) -> None:
    with pytest.raises(Problem) as failed:
        await pool.call("fail", {"kind": kind}, timeout_s=SOON_S)
    assert failed.value.code is code


async def test_an_answer_that_is_too_long_is_a_problem(pool: Pool) -> None:
    with pytest.raises(Problem, match="too long"):
        await pool.call("long", {}, timeout_s=SOON_S)


async def test_a_worker_that_dies_is_a_problem_and_is_replaced(pool: Pool) -> None:
    with pytest.raises(Problem, match="died"):
        await pool.call("die", {}, timeout_s=SOON_S)
    assert await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S) == 2


async def test_a_stuck_worker_is_left_behind_counted_and_noticed_when_it_ends(pool: Pool, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    noticed = asyncio.Event()
    pool.on_end = noticed.set
    await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S)  # the worker is up: its pid is known
    with pytest.raises(Abandoned) as late:
        await pool.call("read", {"path": str(fifo)}, timeout_s=0.05, what="read the pipe")
    (straggler,) = pool.stragglers
    assert (straggler.what, late.value.step) == ("read the pipe", "read the pipe")
    assert await pool.call("pid", {}, timeout_s=SOON_S) != straggler.pid
    assert not noticed.is_set()

    _open_for_writing(fifo)
    async with asyncio.timeout(SOON_S):
        assert await late.value.ended == ""
        await noticed.wait()
    assert pool.stragglers == ()


async def test_a_stuck_worker_is_killed_where_that_was_asked_for(pool: Pool, tmp_path: Path) -> None:
    """Case 58: what waits for a dead file server is broken off, and nothing of it comes later."""
    os.mkfifo(tmp_path / "fifo")
    fifo = {"path": str(tmp_path / "fifo")}
    with pytest.raises(Problem) as late:
        await pool.call("read", fifo, timeout_s=0.3, what="a look", kill=True)
    assert late.value.code is Code.TARGET_TIMEOUT and "a look" in late.value.detail
    assert pool.stragglers == ()
    with pytest.raises(OSError):
        os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)  # nobody reads there any more
    assert await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S, kill=True) == 2


async def test_a_cancelled_call_is_a_straggler_too(pool: Pool, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S)
    call = asyncio.create_task(pool.call("read", {"path": str(fifo)}, timeout_s=SOON_S))
    await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S)  # the other call has been handed out before this one
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(pool.stragglers) == 1
    _open_for_writing(fifo)


async def test_workers_have_none_of_the_helpers_descriptors(pool: Pool, tmp_path: Path) -> None:
    with (tmp_path / "ledger").open("w"):
        fds = await pool.call("fds", {}, timeout_s=SOON_S)
    assert [text.partition(":")[0] for text in fds] == ["socket"]


async def test_close_leaves_no_idle_worker_behind(forked: Pool) -> None:
    pid = await forked.call("pid", {}, timeout_s=SOON_S)
    ended = _ended(pid)
    await forked.close()
    async with asyncio.timeout(SOON_S):
        await ended
    assert not _is_child(forked.zygote_pid)


async def test_a_straggler_survives_close_and_ends_after_its_message(forked: Pool, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    await forked.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S)
    with pytest.raises(Abandoned):
        await forked.call("read", {"path": str(fifo)}, timeout_s=0.05)
    (straggler,) = forked.stragglers
    ended = _ended(straggler.pid)
    await forked.close()
    assert not ended.done()
    _open_for_writing(fifo)
    async with asyncio.timeout(SOON_S):
        await ended


async def test_without_a_zygote_a_call_is_refused(forked: Pool) -> None:
    ended = _ended(forked.zygote_pid)
    os.kill(forked.zygote_pid, signal.SIGKILL)
    async with asyncio.timeout(SOON_S):
        await ended
    with pytest.raises(Problem) as refused:
        await forked.call("pid", {}, timeout_s=SOON_S)
    assert refused.value.code is Code.UNAVAILABLE
    await forked.close()


async def test_that_the_zygote_is_lost_is_told(forked: Pool) -> None:
    lost = asyncio.Event()
    forked.watch(lost.set)
    os.kill(forked.zygote_pid, signal.SIGKILL)
    async with asyncio.timeout(SOON_S):
        await lost.wait()
    await forked.close()


async def test_the_zygote_outlives_its_limits(pool: Pool) -> None:
    """It has no room for another descriptor for a while: one call fails, not all that follow."""
    with pytest.raises(Problem, match="died"):
        await pool.call("die", {}, timeout_s=SOON_S)  # now the zygote is up, and no worker is
    limits = resource.prlimit(pool.zygote_pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pool.zygote_pid, resource.RLIMIT_NOFILE, (4, limits[1]))
    with pytest.raises(Problem, match=r"died|gone"):
        await pool.call("pid", {}, timeout_s=SOON_S)
    resource.prlimit(pool.zygote_pid, resource.RLIMIT_NOFILE, limits)
    assert await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S) == 2


async def test_without_a_free_descriptor_a_call_is_refused_and_nothing_leaks(pool: Pool) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))  # room for one of the two ends
    try:
        with pytest.raises(Problem) as refused:
            await pool.call("pid", {}, timeout_s=SOON_S)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert refused.value.code is Code.UNAVAILABLE
    assert pool.stragglers == ()
    assert await pool.call("add", {"a": 1, "b": 1}, timeout_s=SOON_S) == 2


async def test_a_message_that_is_too_long_is_refused_and_nothing_leaks(pool: Pool) -> None:
    with pytest.raises(Problem) as refused:
        await pool.call("add", {"a": "x" * 1_000_000, "b": ""}, timeout_s=SOON_S)
    assert refused.value.code is Code.UNAVAILABLE
    assert pool.stragglers == ()


def _open_for_writing(fifo: Path) -> None:
    """Give the reader of a pipe its end of file; opening waits until there is a reader."""
    os.close(os.open(fifo, os.O_WRONLY))


def _is_child(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _ended(pid: int) -> asyncio.Future[None]:
    """Done when a process, ours or not, has ended."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    fd = os.pidfd_open(pid)

    def end() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        future.set_result(None)

    loop.add_reader(fd, end)
    return future
