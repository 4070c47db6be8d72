"""Bad input, end to end: the real API, engine and CDMI client on a simulated host, before a CDMI server that is odd.

Each case has its status, its code, and a sentence that names the field and the remedy; and leaves nothing behind.
"""

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.api.app import create_app
from agent.api.peer import Peer
from agent.api.serve import serve
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import Lun, San
from agent.store import MEMORY, open_store
from attachers import iscsi
from tests.api.conftest import Answer, Caller

WWID = "naa.60014050000000000000000000000001"
TARGET = "iqn.2026-01.org.example:vol1"
GOOD: dict[str, Any] = {
    "portals": ["127.0.0.1"],
    "target_identifier": f"{TARGET},t,0x0001",
    "logical_unit_number": "1",
    "logical_unit_name": WWID.replace("naa.", "0x"),
}
OCCI = {"identifier": "00007E7F00104BE66AB53A9572F9F51E", "permissions": ["http://example.com/compute/0/"]}
EXPORTS: dict[str, Any] = {
    "GOOD": {"Network/iSCSI": GOOD},
    "TWIN": {"Network/iSCSI": GOOD},
    "NONE": {},
    "OCCI": {"OCCI/iSCSI": OCCI},
    "LUN": {"Network/iSCSI": GOOD | {"logical_unit_number": "one"}},
    "NAME": {"Network/iSCSI": GOOD | {"logical_unit_name": "0x6001$(reboot)"}},
    "IQN": {"Network/iSCSI": GOOD | {"target_identifier": "iqn.2026-01.org.example:../../etc,t,0x0001"}},
    "LIST": {"Network/iSCSI": ["not", "an", "object"]},
    "AWAY": {"Network/iSCSI": GOOD | {"portals": ["169.254.169.254", "10.0.0.1:3260"]}},
}


async def answer(request: web.Request) -> web.StreamResponse:
    """An odd CDMI server: each object has the exports of its name above."""
    name = request.path.strip("/").rpartition("/")[2]
    if name not in EXPORTS:
        return web.json_response({"error": "no such object"}, status=404)
    kind = "application/cdmi-container"
    metadata = {"cdmi_assignedsize": "1048576"}
    body = {"objectType": kind, "objectID": name, "objectName": f"{name}/", "metadata": metadata}
    version = {"X-CDMI-Specification-Version": "1.1.1"}
    return web.json_response(body | {"exports": EXPORTS[name]}, content_type=kind, headers=version)


@dataclass(frozen=True)
class Stack:
    """A caller of a whole daemon, its simulated host, and where its server is."""

    caller: Caller
    host: SimulatedHost
    server: str

    async def put(self, source: str, name: str = "disk", **fields: Any) -> Answer:
        """PUT of an attachment of an object of the odd server, or of any other source."""
        full = source if "://" in source else f"cdmi://{self.server}/cdmi_objectid/{source}"
        return await self.caller.call("PUT", f"/v1/attachments/{name}", {"source": full} | fields)


@pytest.fixture
def peer() -> list[Peer]:
    """Who the caller is; a test may change it."""
    return [Peer(1, 0, 0)]


@pytest.fixture
async def stack(tmp_path: Path, peer: list[Peer]) -> AsyncIterator[Stack]:
    server = web.Application()
    server.router.add_route("*", "/{path:.*}", answer)
    serving = web.AppRunner(server, access_log=None)
    await serving.setup()
    await web.TCPSite(serving, "127.0.0.1", 0).start()
    address = f"127.0.0.1:{serving.addresses[0][1]}"
    host = SimulatedHost(San(), initiator="iqn.2026-01.org.example:host-1")
    host.san.add(Lun(TARGET, ("127.0.0.1:3260",), 1, WWID, 1 << 20, ("iqn.2026-01.org.example:host-1",)))
    guarded = GuardedHost(host, open_created(MEMORY))
    await guarded.recover()
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    # Nobody listens on port 1; only what is listed here is ever contacted.
    servers = [Server(f"http://{at}/", allow_http=True, storage_networks=networks) for at in (address, "127.0.0.1:1")]
    store = open_store(MEMORY, MIGRATIONS)
    desk = Desk(guarded, CdmiClient(servers, protocols=("iscsi",)), Ledger(store), {"iscsi": iscsi}, Settings())
    engine = Engine(desk)
    await engine.start()
    path = tmp_path / "control.sock"
    app = create_app(engine, group_gid=4242, peer_of=lambda _request: peer[0])
    runner = await serve(app, path, group_gid=None, environ={})
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield Stack(Caller(path, session), host, address)
    await runner.cleanup()
    await engine.stop()
    await desk.cdmi.close()
    await guarded.close()
    store.close()
    await serving.cleanup()


CASES = [
    (
        "cdmi://elsewhere.example.org/cdmi_objectid/1",
        403,
        "forbidden",
        ["source", "elsewhere.example.org"],
        "[[server]]",
    ),
    ("cdmi://127.0.0.1:1/cdmi_objectid/1", 502, "cdmi-unreachable", ["127.0.0.1:1"], ""),
    ("MISSING", 404, "not-found", ["MISSING"], ""),
    ("NONE", 422, "no-usable-export", ["no exports"], "export"),
    ("OCCI", 422, "no-usable-export", ["OCCI/iSCSI"], "export"),
    ("LUN", 422, "no-usable-export", ["Network/iSCSI", "logical_unit_number"], "correct the export"),
    ("NAME", 422, "no-usable-export", ["Network/iSCSI", "logical_unit_name"], "correct the export"),
    ("IQN", 422, "no-usable-export", ["Network/iSCSI", "target_identifier"], "correct the export"),
    ("LIST", 422, "no-usable-export", ["Network/iSCSI", "not an export entry"], "export"),
    ("AWAY", 422, "no-usable-export", ["169.254.169.254", "storage_networks"], "storage_networks"),
]


@pytest.mark.parametrize(("source", "status", "code", "said", "hint"), CASES, ids=[case[0] for case in CASES])
async def test_a_source_that_cannot_be_used(
    stack: Stack, source: str, status: int, code: str, said: list[str], hint: str
) -> None:
    before = stack.host.inventory()
    refused = await stack.put(source)
    assert (refused.status, refused.code) == (status, code), refused.text
    for words in said:
        assert words in refused.json["detail"], refused.text
    assert refused.json["hint"] and hint in refused.json["hint"], refused.text
    assert stack.host.inventory() == before
    shown = await stack.caller.call("GET", "/v1/attachments/disk")
    assert shown.json["phase"] == "failed" and shown.json["problem"]["code"] == code
    assert (await stack.caller.call("DELETE", "/v1/attachments/disk")).status == 204
    assert (await stack.caller.call("GET", "/v1/attachments/disk")).status == 404


async def test_a_name_that_is_taken_by_another_source(stack: Stack) -> None:
    assert (await stack.put("GOOD")).status == 201
    refused = await stack.put("NONE")
    assert (refused.status, refused.code) == (409, "conflict")
    assert "name" in refused.json["detail"] and "another name" in refused.json["hint"]
    assert (await stack.put("GOOD")).status == 200
    assert (await stack.caller.call("DELETE", "/v1/attachments/disk")).status == 204


async def test_one_lun_for_two_objects(stack: Stack) -> None:
    assert (await stack.put("GOOD")).status == 201
    refused = await stack.put("TWIN", "other")
    assert (refused.status, refused.code) == (409, "conflict"), "two objects cannot be one LUN"
    assert "disk" in refused.json["detail"]
    assert (await stack.caller.call("DELETE", "/v1/attachments/disk")).status == 204


async def test_a_caller_who_is_not_in_the_group(stack: Stack, peer: list[Peer]) -> None:
    peer[0] = Peer(2, 54321, 54321)
    refused = await stack.put("GOOD")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert "54321" in refused.json["detail"] and "usermod" in refused.json["hint"]
    peer[0] = Peer(2, 54321, 54321, frozenset({4242}))
    assert (await stack.put("GOOD")).status == 201
    assert (await stack.caller.call("DELETE", "/v1/attachments/disk")).status == 204


async def test_two_mebibytes_of_body(stack: Stack) -> None:
    refused = await stack.caller.call("PUT", "/v1/attachments/disk", raw=b'{"source": "' + b"x" * (2 << 20) + b'"}')
    assert (refused.status, refused.code) == (413, "too-large")
    assert "64 KiB" in refused.json["hint"]


async def test_a_field_that_nobody_knows(stack: Stack) -> None:
    refused = await stack.put("GOOD", domain={"name": "one-42", "target": "sda", "colour": "red"})
    assert (refused.status, refused.code) == (422, "invalid-request")
    assert "domain.colour" in refused.json["detail"] and refused.json["hint"]


async def test_resolve_explains_and_changes_nothing(stack: Stack) -> None:
    before = stack.host.inventory()
    body = {"source": f"cdmi://{stack.server}/cdmi_objectid/AWAY"}
    explained = await stack.caller.call("POST", "/v1/resolve", body)
    assert explained.status == 200, explained.text
    (export,) = explained.json["exports"]
    assert not export["usable"] and "storage_networks" in export["reason"]
    assert stack.host.inventory() == before
