"""From the command through the socket, the engine and the client to a server, and back: whole, interrupted, damaged."""

import asyncio
import hashlib
import ipaddress
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.api.app import create_app
from agent.api.serve import serve
from agent.cdmi import transfer
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger
from agent.host.created import MIGRATIONS as CREATED_MIGRATIONS
from agent.host.created import Created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_blocks import value
from agent.host.simulated_san import San
from agent.store import MEMORY, open_store
from attachers import iscsi
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.cdmi_server.runner import ServerHandle, running_server
from tests.unit.test_cdmi_matrix import KEYS, put

ROOT = Path(__file__).parents[2]
VALUE = hashlib.sha256(b"seed").digest() * 100_000 + bytes(4 << 20)


@dataclass
class Lab:
    """A server with the object `image`, and a daemon at a socket."""

    server: ServerHandle
    path: Path

    def lun(self) -> dict[str, Any]:
        """The one LUN that its storage network shows, and to whom."""
        (found,) = json.loads((self.server.state / "san.json").read_text())["luns"]
        assert isinstance(found, dict)
        return found

    async def command(self, *words: str) -> tuple[int, str]:
        """Its exit status, and what it said."""
        argv = [sys.executable, "-m", "agent.cli.main", "--socket", str(self.path), *words]
        process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
        return process.returncode or 0, said.decode()


@asynccontextmanager
async def lab(disk: Path, dialect: str = "1.1", **metadata: str) -> AsyncIterator[Lab]:
    async with running_server(disk / "server", dialect=dialect) as server:
        image = {"value": "", "metadata": {"cdmi_value_hash": "SHA256"} | metadata}
        await put(server.url, "image", image, DIALECTS[dialect])
        record = server.store.find("/image")
        assert record
        server.store.value_file(record).write_bytes(VALUE)
        networks = (ipaddress.ip_network("127.0.0.0/8"),)
        client = CdmiClient([Server(server.url, allow_http=True, storage_networks=networks)], protocols=("iscsi",))
        store = open_store(disk / "ledger.sqlite", MIGRATIONS)
        created = open_store(MEMORY, CREATED_MIGRATIONS)
        host = GuardedHost(SimulatedHost(San(path=disk / "server/san.json")), Created(created))
        await host.recover()
        engine = Engine(Desk(host, client, Ledger(store), {iscsi.protocol: iscsi}, Settings()))
        await engine.start()
        path = disk / "control.sock"
        runner = await serve(create_app(engine, group_gid=None), path, group_gid=None, environ={})
        try:
            yield Lab(server, path)
        finally:
            await runner.cleanup()
            await engine.stop()
            await client.close()
            store.close()
            created.close()


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_an_image_comes_and_goes(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    async with lab(tmp_path) as here:
        status, said = await here.command("cat", f"{here.server.url}image", "-o", str(files / "a"))
        assert status == 0 and "proved by its sha256" in said
        assert (files / "a").read_bytes() == VALUE
        assert (await here.command("put", str(files / "a"), f"{here.server.url}copy"))[0] == 0
        record = here.server.store.find("/copy")
        assert record and here.server.store.value_file(record).read_bytes() == VALUE
        status, said = await here.command("put", str(files / "a"), f"{here.server.url}copy")
        assert status == 5 and "already something" in said


async def test_an_interrupted_import_is_taken_up_and_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the daemon while the server comes back, and by the next command where it does not for long."""
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(transfer, "TRIES", 3)
    files = tmp_path / "files"
    files.mkdir()
    async with lab(tmp_path) as here:
        source, faults = f"{here.server.url}image", here.server.faults
        faults.set("get-value", Fault(Action.CUT, times=4))
        assert (await here.command("cat", source, "-o", str(files / "a")))[0] == 0
        assert (files / "a").read_bytes() == VALUE and parts(files) == ["a"]
        faults.set("get-value", Fault(Action.CUT))
        faults.set("get-object", Fault(Action.STATUS, status=503, after=True))
        assert (await here.command("cat", source, "-o", str(files / "b")))[0] != 0
        faults.clear()
        assert "b" not in parts(files)
        assert (await here.command("cat", source, "-o", str(files / "b")))[0] == 0
        assert (files / "b").read_bytes() == VALUE and parts(files) == ["a", "b"]


async def test_a_damaged_one_is_refused_and_leaves_no_half_file(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    async with lab(tmp_path, x_hash=hashlib.sha256(b"other").hexdigest()) as here:
        status, said = await here.command("cat", f"{here.server.url}image", "-o", str(files / "a"))
    assert status == 1 and "not what the server has" in said
    assert parts(files) == []


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_lun_comes_by_a_disk_that_is_there_for_so_long(tmp_path: Path, name: str) -> None:
    """With its holes; what is there already is replaced only by the whole of it."""
    files = tmp_path / "files"
    files.mkdir()
    size = (6 << 20) + 512
    async with lab(tmp_path, name) as here:
        entry: dict[str, Any] = {"permissions": []} | ({"type": "iSCSI"} if DIALECTS[name].typed_exports else {})
        body = {"metadata": {"cdmi_assignedsize": str(size)}, "exports": {KEYS[name]: entry}}
        await put(here.server.url, "volume/", body, DIALECTS[name])
        source = f"{here.server.url}volume/"
        status, said = await here.command("cat", source, "-o", str(files / "a"))
        assert status == 0 and "tells no hash" in said
        assert (files / "a").read_bytes() == value(here.lun()["wwid"], 0, size) and parts(files) == ["a"]
        assert (files / "a").stat().st_blocks * 512 < size - (1 << 20), "every second part of it is a hole"
        assert here.lun()["initiators"] == []


async def test_the_names_of_these_attachments_are_not_to_be_had(tmp_path: Path) -> None:
    async with lab(tmp_path) as here:
        name = "content-0123456789abcdef0123456789abcdef"
        status, said = await here.command("attach", f"{here.server.url}volume/", "--name", name)
    assert status != 0 and "choose another name" in said
