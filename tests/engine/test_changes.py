"""Objects made, moved, brought back, resized, fenced and counted: a real server, and a daemon that may be restarted."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.cdmi import changes
from agent.cdmi.find import find
from agent.cdmi.members import Found
from agent.cdmi.sources import Location
from agent.cdmi.wire import Wire
from agent.engine.ledger import Row
from agent.model import Request
from agent.uses import Despite
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.engine.test_operations import SIZE, WAIT_S, Lab, daemon, hurried, read, scene, write
from tests.unit.test_cdmi_client import serving
from tests.unit.test_cdmi_matrix import put
from tests.unit.test_cdmi_references import IMAGE, LUN, Tree

__all__ = ["hurried"]
EVEN_SO = Despite(permitted=True)
HOST1 = "iqn.2010-01.com.acme:host1"


async def create(lab: Lab, place: str, *, kind: str = "container", size: int | None = SIZE, **metadata: str) -> Any:
    url = f"{lab.server.url}{place}"
    return await lab.engine.operations.create(url, kind=kind, size=size, metadata=metadata, wait_s=WAIT_S)


async def attach(lab: Lab, place: str) -> None:
    """As if it were attached."""
    found = await lab.client.stat(f"{lab.server.url}{place}")
    request = Request("one", found.uri)
    ledger = lab.engine.objects._desk.ledger
    await ledger.add(Row("one", request, 0, server=found.server, uri=found.uri, object_id=found.object_id))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_objects_are_made_in_every_version(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        for kind, size in (("container", 2 * SIZE), ("container", None), ("dataobject", 0), ("dataobject", 100_000)):
            place = f"new-{kind}-{size}"
            done, view = await create(lab, place, kind=kind, size=size, colour="blue")
            assert done and (view["kind"], view["source"], view["state"]) == ("create", None, "done")
            found = await lab.client.stat(view["uri"])
            assert (found.kind, found.size, found.metadata["colour"]) == (kind, size, "blue")
            assert (await create(lab, place, kind=kind, size=size, colour="blue"))[1]["id"] == view["id"], "so already"
            with pytest.raises(Problem, match="already something") as caught:
                await create(lab, place, kind=kind, size=size, colour="red")
            assert caught.value.code is Code.CONFLICT
    assert read(server, "/new-dataobject-100000") == bytes(100_000)


@pytest.mark.parametrize("after", [True, False])
async def test_a_lost_answer_to_a_create_is_no_end(tmp_path: Path, after: bool) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.RESET, after=after, times=1))
        assert (await create(lab, "new"))[0]


async def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        for place, word in (
            ("nowhere/new", "404"),
            ("vol1/new", "400"),
            ("cdmi_objectid/0123", "needs a path"),
        ):
            with pytest.raises(Problem, match=word):
                await create(lab, place)
        with pytest.raises(Problem, match="400"):
            await create(lab, "new", size=1000)
        assert server.store.find("/new/") is None


@pytest.mark.parametrize("reads", ["0", "3"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_objects_are_moved_in_every_version(tmp_path: Path, dialect: str, reads: str) -> None:
    async with scene(tmp_path, dialect=dialect, x_copy_reads=reads) as server, daemon(tmp_path, server) as lab:
        move = lab.engine.operations.move
        for name in ("vol1", "image"):
            before = await lab.client.stat(server.url + name)
            done, view = await move(server.url + name, f"{server.url}new-{name}", wait_s=WAIT_S, despite=EVEN_SO)
            assert done and (view["object_id"], view["state"]) == (before.object_id, "done")
            assert (await lab.client.stat(f"{server.url}new-{name}")).object_id == before.object_id
            with pytest.raises(Problem) as caught:
                await lab.client.stat(server.url + name)
            assert caught.value.code is Code.NOT_FOUND
            again = await move(server.url + name, f"{server.url}new-{name}", wait_s=WAIT_S, despite=EVEN_SO)
            assert again == (True, view), "it is so already"
        assert (await lab.client.resolve(f"{server.url}new-vol1")).exports[0].permissions == (HOST1,)
    assert read(server, "/new-vol1/")[:6] == b"blocks"


async def test_a_move_takes_nothing_away_from_anybody(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        move = lab.engine.operations.move
        await put(server.url, "taken", {"value": "precious"}, DIALECTS["1.1"])
        with pytest.raises(Problem, match="already something") as caught:
            await move(f"{server.url}image", f"{server.url}taken", wait_s=WAIT_S)
        assert caught.value.code is Code.CONFLICT
        with pytest.raises(Problem) as caught:
            await move(f"{server.url}missing", f"{server.url}new", wait_s=WAIT_S)
        assert caught.value.code is Code.NOT_FOUND
        await attach(lab, "vol1")
        with pytest.raises(Problem, match="attached here as one") as caught:
            await move(f"{server.url}vol1", f"{server.url}new", wait_s=WAIT_S)
        assert caught.value.code is Code.IN_USE
    assert read(server, "/taken") == b"precious" and read(server, "/vol1/")[:6] == b"blocks"


@pytest.mark.parametrize("error", ["", "no space"])
async def test_a_move_that_fails_deletes_nothing(tmp_path: Path, error: str) -> None:
    async with scene(tmp_path, x_copy_reads="2", x_copy_error=error) as server, daemon(tmp_path, server) as lab:
        if not error:
            server.faults.set("put-object", Fault(Action.STATUS, status=403))
        with pytest.raises(Problem, match=error or "403"):
            await lab.engine.operations.move(f"{server.url}image", f"{server.url}new", wait_s=WAIT_S)
        server.faults.clear()
    assert read(server, "/new" if error else "/image") == b"x" * 77


@pytest.mark.parametrize("after", [True, False])
async def test_a_lost_answer_to_a_move_is_no_end(tmp_path: Path, after: bool) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.RESET, after=after, times=1))
        done, _ = await move_vol1(lab, wait_s=WAIT_S)
        assert done
    assert read(server, "/new/")[:6] == b"blocks"


async def test_a_restart_takes_a_move_up(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_reads="30") as server:
        async with daemon(tmp_path, server) as lab:
            _, view = await move_vol1(lab, wait_s=0.1)
        async with daemon(tmp_path, server) as lab:
            done, ended = await move_vol1(lab, wait_s=WAIT_S)
            assert done and ended["id"] == view["id"]


async def move_vol1(lab: Lab, *, wait_s: float) -> Any:
    url = lab.server.url
    return await lab.engine.operations.move(f"{url}vol1", f"{url}new", wait_s=wait_s, despite=EVEN_SO)


async def alone(lab: Lab) -> None:
    """Nobody is permitted to use vol1."""
    resolved = await lab.client.resolve(f"{lab.server.url}vol1")
    await lab.client.revoke(resolved.uri, resolved.exports[0].key, HOST1)


@pytest.mark.parametrize("reads", ["0", "3"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_lun_is_brought_back_in_every_version(tmp_path: Path, dialect: str, reads: str) -> None:
    async with scene(tmp_path, dialect=dialect, x_copy_reads=reads) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source, operations = f"{server.url}vol1", lab.engine.operations
        before = await lab.client.resolve(source)
        await operations.snapshot(source, "monday", wait_s=WAIT_S)
        for _ in range(2):
            write(server, "/vol1/", b"broken")
            done, view = await operations.restore(source, "monday", wait_s=WAIT_S)
            assert done and (view["object_id"], view["kind"]) == (before.object_id, "restore")
            assert read(server, "/vol1/")[:6] == b"blocks"
        assert await lab.client.resolve(source) == before, "its ID, size and exports stay"
        assert (await operations.snapshot(source, "monday", wait_s=WAIT_S))[0], "and its snapshots"


async def test_what_is_in_use_is_not_brought_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        source, operations = f"{server.url}vol1", lab.engine.operations
        await operations.snapshot(source, "monday", wait_s=WAIT_S)
        write(server, "/vol1/", b"in use")
        with pytest.raises(Problem, match="other hosts may use it: iqn") as caught:
            await operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.IN_USE
        await alone(lab)
        await attach(lab, "vol1")
        with pytest.raises(Problem, match="attached here as one"):
            await operations.restore(source, "monday", wait_s=WAIT_S)
    assert read(server, "/vol1/")[:6] == b"in use"


async def test_what_cannot_be_brought_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await alone(lab)
        source, operations = f"{server.url}vol1", lab.engine.operations
        with pytest.raises(Problem, match="name: there is no snapshot monday") as caught:
            await operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.NOT_FOUND
        await operations.snapshot(source, "monday", wait_s=WAIT_S)
        await lab.engine.objects.resize(source, 2 * SIZE, shrink=False)
        with pytest.raises(Problem, match="the snapshot has 1048576 bytes") as caught:
            await operations.restore(source, "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.CONFLICT


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_objects_are_resized_in_every_version(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        resize = lab.engine.objects.resize
        for name, size in (("vol1", 2 * SIZE), ("image", 1000)):
            for _ in range(2):
                assert (await resize(server.url + name, size, shrink=False))["size"] == size
            with pytest.raises(Problem, match=f"size: 512 is less than the {size} bytes") as caught:
                await resize(server.url + name, 512, shrink=False)
            assert caught.value.code is Code.INVALID_REQUEST
        found = await lab.client.resolve(f"{server.url}vol1")
        assert (found.size, found.exports[0].permissions) == (2 * SIZE, (HOST1,))
        assert (await lab.client.stat(f"{server.url}vol1")).metadata["colour"] == "red"
        assert (await resize(f"{server.url}vol1", SIZE, shrink=True, despite=EVEN_SO))["size"] == SIZE
        with pytest.raises(Problem, match="less than"):
            await resize(f"{server.url}image", 10, shrink=True)
    assert read(server, "/image") == b"x" * 77 + bytes(1000 - 77)
    assert read(server, "/vol1/")[:6] == b"blocks"


async def test_what_is_attached_grows_and_never_shrinks(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await attach(lab, "vol1")
        assert (await lab.engine.objects.resize(f"{server.url}vol1", 2 * SIZE, shrink=False))["size"] == 2 * SIZE
        with pytest.raises(Problem, match="attached here as one") as caught:
            await lab.engine.objects.resize(f"{server.url}vol1", SIZE, shrink=True)
        assert caught.value.code is Code.IN_USE


async def test_a_server_that_keeps_its_size_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "TRIES", 2)
    async with scene(tmp_path, x_fixed_size="yes") as server, daemon(tmp_path, server) as lab:
        with pytest.raises(Problem, match="has 1048576 bytes after 2097152 were asked for") as caught:
            await lab.engine.objects.resize(f"{server.url}vol1", 2 * SIZE, shrink=False)
        assert caught.value.code is Code.CDMI_REFUSED


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_host_is_fenced_off_in_every_version(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        resolved = await lab.client.resolve(f"{server.url}vol1")
        await lab.client.grant(resolved.uri, resolved.exports[0].key, "iqn.2026-01.org.example:us")
        for withdrawn in ([HOST1], []):
            fenced = await lab.engine.objects.fence(f"{server.url}vol1", [HOST1.upper().replace("IQN", "iqn")])
            (export,) = fenced["exports"]
            assert (list(export["withdrawn"]), list(export["permissions"])) == (
                withdrawn,
                ["iqn.2026-01.org.example:us"],
            )


async def test_a_host_is_fenced_off_while_others_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab, daemon(tmp_path / "other", server) as other:
        resolved = await lab.client.resolve(f"{server.url}vol1")
        uri, key = resolved.uri, resolved.exports[0].key
        dead = [f"iqn.2010-01.com.acme:dead{number}" for number in range(4)]
        await lab.client.grant(uri, key, *dead)

        async def come_and_go() -> None:
            for number in range(10):
                await other.client.grant(uri, key, f"iqn.2010-01.com.acme:guest{number}")
                if number % 2:
                    await other.client.revoke(uri, key, f"iqn.2010-01.com.acme:guest{number}")

        await asyncio.gather(come_and_go(), *(lab.engine.objects.fence(uri, [name]) for name in dead))
        left = set((await lab.client.resolve(uri)).exports[0].permissions or ())
    assert left == {HOST1, *(f"iqn.2010-01.com.acme:guest{number}" for number in range(0, 10, 2))}


@pytest.mark.parametrize("lets_in", ["anybody", "by another entry"])
async def test_a_host_that_is_let_in_again_meanwhile_is_not_said_to_be_fenced_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lets_in: str
) -> None:
    """Who hears that it is off starts the guest elsewhere: two would write to one disk."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        entry: dict[str, Any] = {"Network/iSCSI": {}}
        if lets_in == "by another entry":
            entry = {"Network/iSCSI": {"permissions": []}, "Network/FC": {"permissions": [HOST1]}}
        looks = 0

        async def later(wire: Wire, location: Location) -> Found:
            nonlocal looks
            looks, found = looks + 1, await find(wire, location)
            return found if looks == 1 else replace(found, members={**found.members, "exports": entry})

        monkeypatch.setattr("agent.cdmi.fences.find", later)
        with pytest.raises(Problem, match="has been changed meanwhile") as caught:
            await lab.engine.objects.fence(f"{server.url}vol1", [HOST1])
        assert caught.value.code is Code.CONFLICT


async def test_nobody_is_said_to_be_fenced_off_who_is_not(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await put(server.url, "pool/", {"metadata": {"x_nfs_path": "127.0.0.7:/srv"}}, DIALECTS["1.1"])
        for name, code, word in (
            ("pool", Code.UNSUPPORTED_ON_HOST, "NFS server"),
            ("image", Code.INVALID_REQUEST, "has no exports"),
            ("missing", Code.NOT_FOUND, "404"),
        ):
            with pytest.raises(Problem) as caught:
                await lab.engine.objects.fence(server.url + name, [HOST1])
            assert caught.value.code is code and (word in caught.value.detail or word in caught.value.hint)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_room_in_every_version(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect) as server, daemon(tmp_path, server) as lab:
        room = await lab.engine.objects.capacity(server.url)
        assert (room["used"], room["total"], room["free"]) == (SIZE + 77, None, None)
        assert room["by"] == "no quota is configured, the sum of 2 objects"
        with pytest.raises(Problem, match="is a data object"):
            await lab.engine.objects.capacity(f"{server.url}image")


async def test_room_of_a_configured_quota(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server, quota=10 * SIZE) as lab:
        room = await lab.engine.objects.capacity(server.url)
        assert (room["used"], room["total"], room["free"]) == (SIZE + 77, 10 * SIZE, 9 * SIZE - 77)


async def test_a_reference_to_what_is_attached_may_go_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    """And nothing else is done through it, whether anything is attached or not."""
    tree = Tree()
    async with serving(tree) as url, daemon(tmp_path, cast(Any, SimpleNamespace(url=url))) as lab:
        link, objects, operations = f"{url}vms/lun", lab.engine.objects, lab.engine.operations
        assert (await objects.stat(link))["reference"] == f"{link}/"
        for work in (
            operations.move(link, f"{url}new", wait_s=WAIT_S),
            operations.restore(link, "monday", wait_s=WAIT_S),
            objects.resize(link, 1024, shrink=False),
        ):
            with pytest.raises(Problem, match="is a reference to") as caught:
                await work
            assert caught.value.code is Code.CONFLICT
        await attach(lab, "vol1")
        for name in ("vms/lun", "vms/lun", "vms/link", "vms/gone"):
            await objects.delete(url + name)
        with pytest.raises(Problem, match="attached here as one"):
            await objects.delete(f"{url}vol1")
    assert set(tree.objects) == {IMAGE, LUN} and not tree.references


async def test_a_reload_waits_for_what_is_being_read(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        objects = lab.engine.objects
        async with objects.read(f"{server.url}image", part=None, tag="") as reading:
            gone = asyncio.create_task(objects.let_go(lab.client))
            assert (await asyncio.wait({gone}, timeout=0.05))[1], "it is still needed"
            assert b"".join([piece async for piece in reading.pieces]) == b"x" * 77
        await asyncio.wait_for(gone, 5)
