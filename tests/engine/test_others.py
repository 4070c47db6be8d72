"""Case 99: what other hosts are permitted to use is not deleted, moved, shrunk, replaced or brought back unasked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.host.simulated_faults import Moment
from agent.uses import CAREFUL, Despite
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.engine.cdmi_model import INITIATOR, SIZE
from tests.engine.faults import Gate
from tests.engine.test_operations import SIZE as LUN_SIZE
from tests.engine.test_operations import WAIT_S, Lab, daemon, hurried, read, scene
from tests.engine.world import World, running
from tests.unit.test_cdmi_matrix import KEYS, put

__all__ = ["hurried"]
EVEN_SO = Despite(permitted=True)
OTHER = "iqn.2010-01.com.acme:host1"
Act = Callable[[Lab, str, Despite], Awaitable[object]]


async def delete(lab: Lab, name: str, despite: Despite) -> None:
    await lab.engine.objects.delete(lab.server.url + name, despite=despite)


async def move(lab: Lab, name: str, despite: Despite) -> None:
    url = lab.server.url
    await lab.engine.operations.move(url + name, f"{url}new", wait_s=WAIT_S, despite=despite)


async def shrink(lab: Lab, name: str, despite: Despite) -> None:
    await lab.engine.objects.resize(lab.server.url + name, LUN_SIZE // 2, shrink=True, despite=despite)


async def restore(lab: Lab, name: str, despite: Despite) -> None:
    await lab.engine.operations.restore(lab.server.url + name, "monday", wait_s=WAIT_S, despite=despite)


async def refused(work: Awaitable[object], code: Code = Code.IN_USE) -> Problem:
    with pytest.raises(Problem) as caught:
        await work
    assert caught.value.code is code, caught.value.detail
    return caught.value


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("act", [delete, move, shrink, restore])
async def test_what_others_may_use_stays_as_it_is(tmp_path: Path, act: Act, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        if act is restore:
            await lab.engine.operations.snapshot(f"{server.url}vol1", "monday", wait_s=WAIT_S)
        problem = await refused(act(lab, "vol1", CAREFUL))
        assert f"other hosts may use it: {OTHER}" in problem.detail and "even_if_permitted_to_others" in problem.hint
        assert len(read(server, "/vol1/")) == LUN_SIZE
        await act(lab, "vol1", EVEN_SO)


async def test_whom_nobody_else_may_use_goes_without_a_word(tmp_path: Path) -> None:
    """This host's own permission is no other's."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        resolved = await lab.client.resolve(f"{server.url}vol1")
        ours = (await lab.engine.host())["initiator_name"]
        await lab.client.grant(resolved.uri, resolved.exports[0].key, ours)
        assert OTHER in (await refused(shrink(lab, "vol1", CAREFUL))).detail
        await lab.client.revoke(resolved.uri, resolved.exports[0].key, OTHER)
        await delete(lab, "vol1", CAREFUL)
        assert server.store.find("/vol1/") is None


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_others_may_use_in_a_container_stays_as_it_is(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        spoken = DIALECTS[dialect]
        entry = {"permissions": [OTHER]} | ({"type": "iSCSI"} if spoken.typed_exports else {})
        lun = {"metadata": {"cdmi_assignedsize": str(LUN_SIZE)}, "exports": {KEYS[dialect]: entry}}
        for path, body in (("pool/", {}), ("pool/deep/", {}), ("pool/deep/lun/", lun)):
            await put(server.url, path, body, spoken)
        assert OTHER in (await refused(move(lab, "pool", CAREFUL))).detail
        assert server.store.find("/pool/deep/lun/")
        await move(lab, "pool", EVEN_SO)
        assert server.store.find("/new/deep/lun/")


async def test_snapshots_go_with_a_lun_only_when_that_is_said(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        for name in ("monday", "tuesday"):
            await lab.engine.operations.snapshot(f"{server.url}vol1", name, wait_s=WAIT_S)
        problem = await refused(delete(lab, "vol1", EVEN_SO), Code.CONFLICT)
        assert "monday, tuesday" in problem.detail and "with_snapshots" in problem.hint
        assert server.store.find("/vol1/cdmi_snapshots/monday/")
        assert OTHER in (await refused(delete(lab, "vol1", Despite(snapshots=True)))).detail
        await delete(lab, "vol1", Despite(permitted=True, snapshots=True))
        assert server.store.find("/vol1/") is None


async def test_who_may_use_it_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await lab.engine.operations.snapshot(f"{server.url}vol1", "monday", wait_s=WAIT_S)
        await put(server.url, "pool/", {"metadata": {"x_nfs_path": "127.0.0.7:/srv"}}, DIALECTS["1.1"])
        pool = await lab.engine.objects.users(f"{server.url}pool")
        assert (pool["others"], len(pool["anybody"]), pool["snapshots"]) == ((), 1, ())
        told = await lab.engine.objects.users(f"{server.url}vol1")
        assert (list(told["others"]), list(told["anybody"]), list(told["snapshots"])) == ([OTHER], [], ["monday"])


async def test_a_grant_that_comes_while_it_is_looked_at_counts(world: World) -> None:
    """The look is made under the lock under which this host lets itself in: another host's grant before it is seen."""
    source = world.add_object()
    async with running(world) as daemon:
        gate = Gate(world, "tell its users")
        task = asyncio.create_task(daemon.engine.objects.resize(source, SIZE // 2, shrink=True))
        await gate.reached.wait()
        world.cdmi.grant(source, "Network/iSCSI", "iqn.2026-01.org.example:host-2")
        gate.opened.set()
        assert "host-2" in (await refused(task)).detail
        assert world.object().size == SIZE


async def test_a_file_that_others_may_use_is_not_replaced(world: World) -> None:
    """Where a server's data objects have exports of their own, as since 3.0."""
    source = world.add_object()
    world.object().permissions = ["iqn.2026-01.org.example:host-2", INITIATOR]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    async with running(world) as daemon:
        write = daemon.engine.objects.write
        assert "host-2" in (await refused(write(source, pieces(), length=1, replace=True))).detail
        await write(source, pieces(), length=1, replace=True, despite=EVEN_SO)


async def test_a_resize_decides_on_what_it_sees_under_its_lock(world: World) -> None:
    """Case 101: it was to grow when it was asked for, and would shrink by the time that it is its turn."""
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        await daemon.attach("one", source)
        first, second = Gate(world, "resize"), None
        growing = asyncio.create_task(daemon.engine.objects.resize(source, 3 * SIZE, shrink=False))
        await first.reached.wait()
        second = asyncio.create_task(daemon.engine.objects.resize(source, 2 * SIZE, shrink=True))
        first.opened.set()
        await growing
        assert "attached here as one" in (await refused(second)).detail
        assert world.object().size == 3 * SIZE
        await daemon.detach("one")


async def test_what_others_enlarge_meanwhile_is_not_made_smaller(world: World) -> None:
    """It was to grow: between the look and the act another host makes it larger still."""
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        gate = Gate(world, "resize")
        task = asyncio.create_task(daemon.engine.objects.resize(source, 2 * SIZE, shrink=True))
        await gate.reached.wait()
        world.change(size=3 * SIZE)
        gate.opened.set()
        await refused(task, Code.INVALID_REQUEST)
        assert world.object().size == 3 * SIZE


async def test_a_host_does_not_fence_itself_off_what_it_begins_to_use(world: World) -> None:
    """Case 101: nothing was attached when the fence was asked for."""
    source = world.add_object()
    async with running(world) as daemon:
        gate = Gate(world, "grant", Moment.BEFORE)
        attach = asyncio.create_task(daemon.attach("one", source))
        await gate.reached.wait()
        fence = asyncio.create_task(daemon.engine.objects.fence(source, [INITIATOR]))
        gate.opened.set()
        await attach
        assert "attached here as one" in (await refused(fence)).detail
        assert world.object().permissions == [INITIATOR]
        await daemon.detach("one")


async def test_what_is_written_is_not_made_by_another_as_well(tmp_path: Path) -> None:
    """Case 101: both looked, and nothing was there."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            begun.set()
            await ended.wait()
            yield b"precious"

        place = f"{server.url}new"
        write = asyncio.create_task(lab.engine.objects.write(place, pieces(), length=8, replace=False))
        await begun.wait()
        others: list[Awaitable[Any]] = [
            lab.engine.operations.create(place, kind="dataobject", size=0, metadata={}, wait_s=WAIT_S),
            lab.clone("image", "new"),
            move(lab, "image", CAREFUL),
        ]
        for other in others:
            assert "is being written here" in (await refused(other, Code.BUSY)).detail
        ended.set()
        await write
        assert read(server, "/new") == b"precious"


async def test_what_is_made_is_not_written_by_another_as_well(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_reads="1000") as server, daemon(tmp_path, server) as lab:
        await lab.clone("image", "new", wait_s=0)

        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"

        work = lab.engine.objects.write(f"{server.url}new", pieces(), length=1, replace=True)
        assert "is being made by the operation" in (await refused(work, Code.BUSY)).detail


async def test_a_copy_that_was_attached_before_it_failed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 101: the server has made it, and refuses the exports; it has been attached by then, here or elsewhere."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        for name, held in (("here", True), ("gone", False)):
            reached, opened = asyncio.Event(), asyncio.Event()

            async def refuse(*_: str, reached: Any = reached, opened: Any = opened, **_more: str) -> None:
                reached.set()
                await opened.wait()
                raise Problem(Code.CDMI_REFUSED, "it makes no exports", hint="")

            monkeypatch.setattr(lab.client, "export_like", refuse)
            cloning = asyncio.create_task(lab.clone("vol1", name))
            await reached.wait()
            if held:
                found = await lab.client.stat(f"{server.url}{name}")
                key, _ = await lab.client.export(found.uri, "Network/iSCSI", "iscsi")
                await lab.client.grant(found.uri, key, OTHER)
                assert (await lab.client.users(found.uri)).names == (OTHER,)
            opened.set()
            await refused(cloning, Code.CDMI_REFUSED)
            assert (server.store.find(f"/{name}/") is not None) is held


async def test_metadata_are_written_with_the_size_that_a_lun_has_by_then(world: World) -> None:
    """Case 101: a change of metadata writes all of them back; read before a growth, it would make the LUN smaller."""
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        gate = Gate(world, "resize")
        growing = asyncio.create_task(daemon.engine.objects.resize(source, 2 * SIZE, shrink=False))
        await gate.reached.wait()
        changing = asyncio.create_task(daemon.engine.objects.change(source, {"colour": "red"}))
        await asyncio.wait({changing}, timeout=0)
        gate.opened.set()
        await growing
        await changing
        assert world.cdmi.done == [("change", world.object().object_id, 2 * SIZE)]
        assert world.object().size == 2 * SIZE


async def test_a_snapshot_that_meets_a_delete_is_seen_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 101: the delete looked, and there was none; it would have gone along unnamed."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        reached, opened, snapshot = asyncio.Event(), asyncio.Event(), lab.client.snapshot

        async def held(source: str, name: str) -> None:
            reached.set()
            await opened.wait()
            await snapshot(source, name)

        monkeypatch.setattr(lab.client, "snapshot", held)
        taking = asyncio.create_task(lab.engine.operations.snapshot(f"{server.url}vol1", "monday", wait_s=WAIT_S))
        await reached.wait()
        deleting = asyncio.create_task(delete(lab, "vol1", EVEN_SO))
        opened.set()
        await taking
        with pytest.raises(Problem) as caught:
            await deleting
        assert caught.value.code in (Code.BUSY, Code.CONFLICT)
        assert server.store.find("/vol1/cdmi_snapshots/monday/")


@pytest.mark.parametrize("act", [delete, move, shrink])
async def test_what_is_being_copied_is_not_changed_meanwhile(tmp_path: Path, act: Act) -> None:
    async with scene(tmp_path, x_copy_reads="1000") as server, daemon(tmp_path, server) as lab:
        await lab.clone("vol1", "vol2", wait_s=0)
        assert "is being copied by the operation" in (await refused(act(lab, "vol1", EVEN_SO), Code.BUSY)).detail
        assert read(server, "/vol1/")[:6] == b"blocks"


async def test_what_is_being_changed_is_not_copied_meanwhile(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            begun.set()
            await ended.wait()
            yield b"x"

        write = asyncio.create_task(lab.engine.objects.write(f"{server.url}image", pieces(), length=1, replace=True))
        await begun.wait()
        assert "is being written here" in (await refused(lab.clone("image", "copy"), Code.BUSY)).detail
        ended.set()
        await write


async def test_what_was_looked_at_is_what_is_acted_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        for act in (delete, move, shrink, restore):
            problem = await refused(act(lab, "vol1", Despite(permitted=True, object_id="0" * 32)), Code.CONFLICT)
            assert "is another object by now" in problem.detail
        assert read(server, "/vol1/")[:6] == b"blocks"
