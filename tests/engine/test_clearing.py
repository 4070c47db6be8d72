"""What is under way on a server ends by the server's word, and what is cleared away is proved to be ours."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.cdmi import copies, deleting
from agent.engine import making, operations
from attachers.problems import Code, Problem
from tests.cdmi_server.faults import Action, Fault
from tests.cdmi_server.runner import ServerHandle
from tests.engine.test_changes import EVEN_SO
from tests.engine.test_operations import SIZE, Lab, daemon, hurried, read, scene
from tests.unit.test_cdmi_client import serving
from tests.unit.test_cdmi_references import Tree

__all__ = ["hurried"]


async def until(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    ended = asyncio.get_running_loop().time() + 20
    while not what():
        assert asyncio.get_running_loop().time() < ended
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)


async def under_way(lab: Lab) -> str:
    """A clone that the server is making, and says so. Returns its ID."""
    _, view = await lab.clone("vol1", "vol2", wait_s=0)
    await until(lambda: lab.engine.operations.view(view["id"])["object_id"] is not None)
    return str(view["id"])


async def met(server: ServerHandle, fault: Fault) -> None:
    """Some of the looks meet this fault."""
    server.faults.set("get-object", fault)
    await until(lambda: not server.faults.describe()["get-object"]["left"])


@pytest.mark.parametrize("jump_s", [7 * 3600.0, -7 * 3600.0])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_that_is_set_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float, restarted: bool
) -> None:
    """The host's clock jumps by hours while a copy is made, and then the server is away for a moment."""
    real = time.time
    async with scene(tmp_path, x_copy_reads="60") as server:
        async with daemon(tmp_path, server) as lab:
            made = await under_way(lab)
            if not restarted:
                monkeypatch.setattr(time, "time", lambda: real() + jump_s)
                await met(server, Fault(Action.RESET, times=4))
                assert lab.engine.operations.view(made)["state"] == "running"
                assert (await lab.clone("vol1", "vol2"))[1]["id"] == made
                return
        monkeypatch.setattr(time, "time", lambda: real() + jump_s)
        async with daemon(tmp_path, server) as lab:
            await met(server, Fault(Action.RESET, times=4))
            done, view = await lab.clone("vol1", "vol2")
            assert done and view["id"] == made


@pytest.mark.parametrize("status", [404, 500, 503, 403])
async def test_a_look_that_fails_is_no_word_of_the_server_about_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """However long it has taken by then: it is longer here than something may not be seen."""
    monkeypatch.setattr(making, "INVISIBLE_S", 2.0)  # the looks that meet the fault take less on any machine
    async with scene(tmp_path, x_copy_reads="250") as server, daemon(tmp_path, server) as lab:
        made = await under_way(lab)
        await lab.clone("vol1", "vol2", wait_s=2.1)
        await met(server, Fault(Action.STATUS, status=status, times=2))
        assert lab.engine.operations.view(made)["state"] == "running"
        done, view = await lab.clone("vol1", "vol2")
        assert done and view["id"] == made


async def test_a_server_that_never_says_more_is_given_up_and_nothing_deleted(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_reads="100000") as server, daemon(tmp_path, server) as lab:
        await under_way(lab)
        made, source = [await lab.engine.objects.stat(server.url + name) for name in ("vol2", "vol1")]
        assert source["pending"] is None and "still making it" in made["pending"], "a look at it says so meanwhile"
        server.faults.set("get-object", Fault(Action.STATUS, status=403))
        with pytest.raises(Problem, match=r"403.*; what is at .*vol2 was not deleted: .*403"):
            await lab.clone("vol1", "vol2")
        server.faults.clear()
        assert server.store.find("/vol2/")


async def test_a_server_that_is_away_for_longer_than_anything_takes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "LONGEST_S", 0.2)
    async with scene(tmp_path, x_copy_reads="100000") as server, daemon(tmp_path, server) as lab:
        await under_way(lab)
        await lab.clone("vol1", "vol2", wait_s=0.5)
        server.faults.set("get-object", Fault(Action.RESET))
        with pytest.raises(Problem) as caught:
            await lab.clone("vol1", "vol2")
        assert caught.value.code is Code.CDMI_UNREACHABLE and server.store.find("/vol2/")


def drop_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no copy bear what its request has put into it."""
    monkeypatch.setattr(copies, "_mark_of", lambda _found: "")


async def test_what_was_made_without_an_answer_to_us_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is lost, so that nothing tells whose the clone is that has failed."""
    drop_marks(monkeypatch)
    async with scene(tmp_path, x_copy_reads="2", x_copy_error="no space") as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.RESET, after=True, times=1))
        with pytest.raises(
            Problem, match=r"no space; what is at .*vol2 was not deleted: nothing proves that it is ours"
        ):
            await lab.clone("vol1", "vol2")
        assert server.store.find("/vol2/")


async def test_what_a_server_only_says_to_delete_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """202, and nothing comes of it: neither for a caller, nor for what clears away a copy that has failed."""
    monkeypatch.setattr(deleting, "TRIES", 2)
    async with scene(tmp_path, x_copy_reads="2", x_copy_error="no space") as server, daemon(tmp_path, server) as lab:
        server.faults.set("delete", Fault(Action.STATUS, status=202))
        with pytest.raises(
            Problem, match=r"no space; what is at .*vol2 was not deleted: .*is still there after a DELETE \(202"
        ):
            await lab.clone("vol1", "vol2")
        with pytest.raises(Problem, match=r"image \([0-9A-F]+\) is still there after a DELETE \(202") as caught:
            await lab.engine.objects.delete(f"{server.url}image", despite=EVEN_SO)
        assert caught.value.code is Code.CDMI_REFUSED
        server.faults.clear()
        assert server.store.find("/vol2/") and server.store.find("/image")
        assert await lab.engine.objects.delete(f"{server.url}image", despite=EVEN_SO)
        assert not await lab.engine.objects.delete(f"{server.url}image", despite=EVEN_SO)


async def test_a_reference_that_takes_long_to_delete_holds_up_nobody_who_uses_what_it_leads_to(tmp_path: Path) -> None:
    tree = Tree(later=10_000)
    async with serving(tree) as url, daemon(tmp_path, cast(Any, SimpleNamespace(url=url))) as lab:
        task = asyncio.create_task(lab.engine.objects.delete(f"{url}vms/lun"))
        await until(lambda: bool(tree.going))
        async with asyncio.timeout(10):
            await lab.engine.objects.resize(f"{url}vol1", 512, shrink=False)
        assert not task.done()
        tree.later = 0
        assert await task


async def test_a_reload_waits_for_what_is_being_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "TRIES", 1)
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        server.faults.set("delete", Fault(Action.STATUS, status=202, times=1))
        task = asyncio.create_task(lab.engine.objects.delete(f"{server.url}image", despite=EVEN_SO))
        await until(lambda: not server.faults.describe()["delete"]["left"])
        gone = asyncio.create_task(lab.engine.objects.let_go(lab.client))
        done, _ = await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        assert task in done and isinstance(task.exception(), Problem)
        await gone


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("reads", ["0", "2"])
async def test_a_whole_copy_is_deleted_only_where_its_answer_or_its_mark_tells_that_it_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: str, marked: bool
) -> None:
    """It cannot be exported. 201 has its ID in it; 202 has not, and another host may have made it by then."""
    if not marked:
        drop_marks(monkeypatch)
    ours = marked or reads == "0"
    async with scene(tmp_path, x_copy_reads=reads) as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-exports", Fault(Action.STATUS, status=403))
        with pytest.raises(Problem, match=r"403[^;]*$" if ours else "403.*nothing proves that it is ours"):
            await lab.clone("vol1", "vol2")
        assert bool(server.store.find("/vol2/")) is not ours


@pytest.mark.parametrize("error", ["", "no space"])
async def test_what_another_host_makes_where_ours_was_refused_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    """Whether his is whole, or has failed and is his to delete."""
    async with scene(tmp_path, x_copy_reads="2", x_copy_error=error) as server, daemon(tmp_path, server) as lab:
        copy = lab.client.copy

        async def refused(
            source: str, destination: str, *, size: int | None, metadata: dict[str, str], mark: str
        ) -> str:
            await copy(source, destination, size=size, metadata=metadata, mark="of-another")
            raise Problem(Code.CDMI_REFUSED, "answered 409: there is something", hint="")

        monkeypatch.setattr(lab.client, "copy", refused)
        with pytest.raises(Problem, match=r"409.*; what is at .*vol2 was not deleted: nothing proves that it is ours"):
            await lab.clone("vol1", "vol2")
        assert len(read(server, "/vol2/")) == SIZE
