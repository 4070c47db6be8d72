"""Clones and snapshots, on a server that takes its time: done, joined, failed, and taken up after a restart."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.engine import making, operations
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger, Operation
from agent.host.simulated import SimulatedHost
from agent.store import open_store
from attachers import iscsi
from attachers.problems import Code, Problem
from tests.cdmi_server import copies
from tests.cdmi_server.copies import copy
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.cdmi_server.runner import ServerHandle, running_server
from tests.unit.test_cdmi_client import at_once
from tests.unit.test_cdmi_matrix import KEYS, put

SIZE = 1 << 20
NAMES = (ipaddress.ip_network("127.0.0.0/8"),)
WAIT_S = 20.0


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a real server is given minutes for."""
    monkeypatch.setattr(operations, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(operations, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(making, "UNHEARD_S", 0.05)
    monkeypatch.setattr(making, "INVISIBLE_S", 0.5)


@dataclass
class Lab:
    """A server with a LUN `vol1` and a data object `image`, and a daemon's engine."""

    server: ServerHandle
    engine: Engine
    client: CdmiClient

    async def clone(
        self, source: str, destination: str, *, size: int | None = None, wait_s: float = WAIT_S, **metadata: str
    ) -> Any:
        """POST of a clone: whether it is done, and its view."""
        places = (self.server.url + source, self.server.url + destination)
        return await self.engine.operations.clone(*places, size=size, metadata=metadata, wait_s=wait_s)


@asynccontextmanager
async def daemon(disk: Path, server: ServerHandle, **more: Any) -> AsyncIterator[Lab]:
    client = CdmiClient([Server(server.url, allow_http=True, storage_networks=NAMES, **more)], protocols=("iscsi",))
    store = open_store(disk / "ledger.sqlite", MIGRATIONS)
    engine = Engine(Desk(SimulatedHost(), client, Ledger(store), {iscsi.protocol: iscsi}, Settings()))
    await engine.start()
    try:
        yield Lab(server, engine, client)
    finally:
        await engine.stop()
        await client.close()
        store.close()


@asynccontextmanager
async def scene(disk: Path, *, dialect: str = "1.1", **metadata: str) -> AsyncIterator[ServerHandle]:
    """A server whose objects have this metadata: see tests/cdmi_server/copies.py."""
    async with running_server(disk / "server", dialect=dialect) as server:
        spoken = DIALECTS[dialect]
        entry: dict[str, Any] = {"permissions": ["iqn.2010-01.com.acme:host1"]}
        entry |= {"type": "iSCSI"} if spoken.typed_exports else {}
        told = {"cdmi_assignedsize": str(SIZE), "colour": "red", **metadata}
        await put(server.url, "vol1/", {"metadata": told, "exports": {KEYS[dialect]: entry}}, spoken)
        await put(server.url, "image", {"value": "x" * 77, "metadata": {"colour": "red", **metadata}}, spoken)
        write(server, "/vol1/", b"blocks")
        yield server


def write(server: ServerHandle, path: str, data: bytes) -> None:
    record = server.store.find(path)
    assert record
    with server.store.value_file(record).open("r+b") as file:
        file.write(data)


def read(server: ServerHandle, path: str) -> bytes:
    record = server.store.find(path)
    assert record, path
    return server.store.value_file(record).read_bytes()


@pytest.mark.parametrize("reads", ["0", "3"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_lun_is_cloned_grown_and_exported_anew(tmp_path: Path, dialect: str, reads: str) -> None:
    async with scene(tmp_path, dialect=dialect, x_copy_reads=reads) as server, daemon(tmp_path, server) as lab:
        done, view = await lab.clone("vol1", "vol2", size=2 * SIZE)
        assert done and (view["state"], view["percent"], view["kind"]) == ("done", 100, "clone")
        copy = await lab.client.resolve(view["uri"])
        assert (copy.object_id, copy.size) == (view["object_id"], 2 * SIZE)
        assert copy.exports[0].usable and copy.exports[0].permissions == (), "exported, and open to nobody yet"
        assert (await lab.client.stat(view["uri"])).metadata["colour"] == "red"
        source = await lab.client.resolve(f"{server.url}vol1")
        assert source.exports[0].permissions == ("iqn.2010-01.com.acme:host1",)
    assert read(server, "/vol2/")[:6] == b"blocks" and len(read(server, "/vol2/")) == 2 * SIZE


@pytest.mark.parametrize("source", ["vol1", "image"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_copy_has_metadata_of_its_own(tmp_path: Path, dialect: str, source: str) -> None:
    """From its first moment on, so that what breaks off afterwards is known by it."""
    async with scene(tmp_path, dialect=dialect, x_copy_reads="1") as server, daemon(tmp_path, server) as lab:
        done, view = await lab.clone(source, "copy", owner="vm 5", colour="blue")
        assert done and (await lab.clone(source, "copy", owner="vm 5", colour="blue"))[1]["id"] == view["id"]
        told = (await lab.client.stat(view["uri"])).metadata
        assert (told["owner"], told["colour"]) == ("vm 5", "blue")
        assert (await lab.client.stat(f"{server.url}{source}")).metadata["colour"] == "red", "the source keeps its own"
        with pytest.raises(Problem) as caught:
            await lab.clone(source, "copy", owner="vm 6")
        assert caught.value.code is Code.CONFLICT, "that is another request"


async def test_a_server_that_passes_over_the_metadata_of_a_copy_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgetful(service: Any, source: Any, fresh: Any, metadata: Any) -> Any:
        return await copy(service, source, fresh, None)

    monkeypatch.setattr(copies, "copy", forgetful)
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        _, view = await lab.clone("vol1", "copy", owner="vm 5")
        assert (await lab.client.stat(view["uri"])).metadata["owner"] == "vm 5"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_data_object_is_cloned(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect, x_copy_reads="2") as server, daemon(tmp_path, server) as lab:
        done, view = await lab.clone("image", "image2")
        assert done and (await lab.client.stat(view["uri"])).size == 77
        done, view = await lab.clone("image", "image3", size=4096)
        assert done and (await lab.client.stat(view["uri"])).size == 4096
    assert read(server, "/image3") == b"x" * 77 + bytes(4096 - 77)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_snapshot_is_taken_once(tmp_path: Path, dialect: str) -> None:
    async with scene(tmp_path, dialect=dialect, x_copy_reads="2") as server, daemon(tmp_path, server) as lab:
        take = lab.engine.operations.snapshot
        done, view = await take(f"{server.url}vol1", "monday", wait_s=WAIT_S)
        assert done and view["uri"].endswith("/vol1/cdmi_snapshots/monday/")
        write(server, "/vol1/", b"new!!!")
        assert await take(f"{server.url}vol1", "monday", wait_s=WAIT_S) == (True, view)
        assert read(server, "/vol1/cdmi_snapshots/monday/")[:6] == b"blocks", "not taken again over the first"
        with pytest.raises(Problem, match="is a data object") as caught:
            await take(f"{server.url}image", "monday", wait_s=WAIT_S)
        assert caught.value.code is Code.INVALID_REQUEST


async def test_who_does_not_wait_asks_later_and_who_asks_again_joins(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_reads="20") as server, daemon(tmp_path, server) as lab:
        done, view = await lab.clone("vol1", "vol2", wait_s=0)
        assert not done and view["state"] == "running"
        again = [lab.clone("vol1", "vol2") for _ in range(3)]
        with pytest.raises(Problem, match="is being made by the operation") as caught:
            await lab.clone("image", "vol2/")
        assert caught.value.code is Code.BUSY
        ended = await asyncio.gather(*again)
        assert {view["id"] for _, view in ended} == {view["id"]} and all(done for done, _ in ended)
        assert lab.engine.operations.view(view["id"])["state"] == "done"
        assert (await lab.clone("vol1", "vol2"))[1]["id"] == view["id"], "it is so already"


async def test_nothing_is_copied_over_what_is_there(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await put(server.url, "taken", {"value": "precious"}, DIALECTS["1.1"])
        with pytest.raises(Problem, match="there is already something") as caught:
            await lab.clone("image", "taken")
        assert caught.value.code is Code.CONFLICT
    assert read(server, "/taken") == b"precious"


async def test_a_copy_that_fails_on_the_server_is_cleared_away(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_reads="2", x_copy_error="no space") as server, daemon(tmp_path, server) as lab:
        for _ in range(2):
            with pytest.raises(Problem, match="Error: no space") as caught:
                await lab.clone("vol1", "vol2")
            assert caught.value.code is Code.CDMI_REFUSED
            assert server.store.find("/vol2/") is None
        failed = [one for one in lab.engine.operations._desk.ledger.operations.values() if one.problem]
        assert lab.engine.operations.view(failed[0].id)["problem"]["code"] == "cdmi-refused"


async def test_a_copy_that_cannot_be_exported_is_cleared_away(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-exports", Fault(Action.STATUS, status=403))
        with pytest.raises(Problem, match="403"):
            await lab.clone("vol1", "vol2")
        assert server.store.find("/vol2/") is None


@pytest.mark.parametrize(
    ("source", "size", "word"),
    [
        ("vol1", SIZE // 2, "is less than the source's"),
        ("image", 76, "is less than the source's 77"),
        ("folder", SIZE, "only a copy of a LUN, or of a data object"),
    ],
)
async def test_a_size_that_cannot_be_had(tmp_path: Path, source: str, size: int, word: str) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        await put(server.url, "folder/", {}, DIALECTS["1.1"])
        with pytest.raises(Problem, match=word) as caught:
            await lab.clone(source, "copy", size=size)
        assert caught.value.code is Code.INVALID_REQUEST
        assert server.store.find("/copy") is None


async def test_places_where_nothing_can_be_made(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        with pytest.raises(Problem, match="needs a path"):
            await lab.clone("vol1", "cdmi_objectid/00007ED90010D891022876A8DE0BC0FD")
        with pytest.raises(Problem) as caught:
            await lab.engine.operations.clone(
                f"{server.url}vol1", "cdmi://elsewhere.example/x", size=None, metadata={}, wait_s=1
            )
        assert caught.value.code is Code.FORBIDDEN
        with pytest.raises(Problem) as caught:
            await lab.clone("nowhere", "copy")
        assert caught.value.code is Code.NOT_FOUND


async def test_a_copy_that_is_not_seen_at_first(tmp_path: Path) -> None:
    async with scene(tmp_path, x_copy_hidden="3", x_copy_reads="1") as server, daemon(tmp_path, server) as lab:
        assert (await lab.clone("vol1", "vol2"))[0]


@pytest.mark.parametrize("after", [True, False])
async def test_a_lost_answer_is_no_end(tmp_path: Path, after: bool) -> None:
    """The request was carried out, or was not: we look, and ask again only where nothing came of it."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.RESET, after=after, times=1))
        done, view = await lab.clone("vol1", "vol2")
        assert done and (await lab.client.resolve(view["uri"])).exports[0].usable


@pytest.mark.parametrize("moment", ["begun", "processing"])
async def test_a_restart_takes_it_up(tmp_path: Path, moment: str) -> None:
    async with scene(tmp_path, x_copy_reads="30" if moment == "processing" else "1") as server:
        async with daemon(tmp_path, server) as lab:
            if moment == "begun":
                server.faults.set("put-object", Fault(Action.DELAY, seconds=60, after=True))
            _, view = await lab.clone("vol1", "vol2", wait_s=0.1)
        server.faults.clear()
        async with daemon(tmp_path, server) as lab:
            assert lab.engine.operations.view(view["id"])["state"] == "running"
            done, ended = await lab.clone("vol1", "vol2")
            assert done and ended["id"] == view["id"]
            assert (await lab.client.resolve(ended["uri"])).exports[0].usable


async def test_somebody_elses_object_is_not_deleted_when_ours_fails(tmp_path: Path) -> None:
    """It was made there between our look and our request, which the server refuses."""
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        server.faults.set("put-object", Fault(Action.STATUS, status=403, times=2))  # with metadata, and without
        clone = asyncio.create_task(lab.clone("image", "taken"))
        while server.faults.describe()["put-object"]["left"]:
            await asyncio.wait({clone}, timeout=0.001)
        server.faults.clear()
        await put(server.url, "taken", {"value": "precious"}, DIALECTS["1.1"])
        with pytest.raises(Problem, match="403"):
            await clone
    assert read(server, "/taken") == b"precious"


async def test_an_operation_that_nobody_knows(tmp_path: Path) -> None:
    async with scene(tmp_path) as server, daemon(tmp_path, server) as lab:
        with pytest.raises(Problem) as caught:
            lab.engine.operations.view("../x\n")
        assert caught.value.code is Code.NOT_FOUND and caught.value.detail.isprintable()


@pytest.mark.parametrize("exportable", [True, False])
async def test_an_object_that_took_the_place_of_ours_is_neither_exported_nor_deleted(
    tmp_path: Path, exportable: bool
) -> None:
    """Somebody deletes the copy in the making, and puts his own there."""
    async with scene(tmp_path, x_copy_reads="1000") as server, daemon(tmp_path, server) as lab:
        _, view = await lab.clone("vol1", "vol2", wait_s=0)
        while not (seen := lab.engine.operations.view(view["id"]))["object_id"]:
            await lab.clone("vol1", "vol2", wait_s=0.01)
        if not exportable:
            server.faults.set("put-exports", Fault(Action.STATUS, status=403))
        await lab.client.delete(f"{server.url}vol2/", pause=at_once)
        await put(server.url, "vol2/", {"metadata": {"cdmi_assignedsize": str(SIZE)}}, DIALECTS["1.1"])
        with pytest.raises(Problem, match="another object") as caught:
            await lab.clone("vol1", "vol2")
        assert caught.value.code is Code.CONFLICT
        theirs = await lab.client.resolve(f"{server.url}vol2/")
        assert theirs.object_id != seen["object_id"] and not theirs.exports


async def test_an_operation_that_could_not_be_written_down_goes_on_when_it_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for a while: its end is not known, and nobody waits for it for ever."""
    async with scene(tmp_path, x_copy_reads="3") as server, daemon(tmp_path, server) as lab:
        ledger = lab.engine.operations._desk.ledger
        keep = ledger.keep

        async def full(operation: Operation) -> Operation:
            if operation.begun:
                raise Problem(Code.UNAVAILABLE, "the ledger cannot be written: no space left")
            return await keep(operation)

        monkeypatch.setattr(ledger, "keep", full)
        done, view = await lab.clone("vol1", "vol2", wait_s=0.2)
        assert not done
        monkeypatch.setattr(ledger, "keep", keep)
        done, again = await lab.clone("vol1", "vol2")
        assert done and again["id"] == view["id"]
