"""From sources to objects: with the demo's CDMI server, and with the quirks of real ones (cdmi.md 6)."""

import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.cdmi.choose import choose
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from attachers.problems import Code, Problem
from tests.cdmi_server.faults import Action, Fault
from tests.cdmi_server.runner import ServerHandle, running_server
from tests.unit.test_cdmi_client import BODY, ENTRY, LOCAL, answering, client_of, serving

HOST1 = "iqn.2010-01.com.acme:host1"
SIZE = 1 << 20


async def put(server: ServerHandle, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make an object; what the server says of it."""
    kind = "container" if path.endswith("/") else "object"
    headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": f"application/cdmi-{kind}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.put(server.url + path, data=json.dumps(body)) as made:
            assert made.status == 201
        async with session.get(server.url + path) as found:
            members: dict[str, Any] = json.loads(await found.read())
            return members


@asynccontextmanager
async def lab(state: Path) -> AsyncIterator[tuple[ServerHandle, CdmiClient, dict[str, Any]]]:
    """The demo's server with one exported LUN, a client of it, and what the server says of the LUN."""
    async with running_server(state) as server, client_of(server.url) as client:
        exports = {"Network/iSCSI": {"permissions": [HOST1]}}
        made = await put(server, "vol1/", {"metadata": {"cdmi_assignedsize": str(SIZE)}, "exports": exports})
        yield server, client, made


async def test_a_lun_by_id_by_path_and_through_every_spelling(tmp_path: Path) -> None:
    async with lab(tmp_path) as (server, client, made):
        authority = server.url.split("/")[2]
        by_id = f"cdmi_objectid/{made['objectID']}"
        sources = [f"{server.url}{by_id}", f"{server.url}{by_id}/", f"{server.url}vol1/", f"{server.url}vol1"]
        sources += [f"cdmi://{authority}/{by_id}", f"cdmi://{authority}/cdmi/vol1/", f"cdmi://{authority}/vol1"]
        resolved, *others = [await client.resolve(source) for source in sources]
    assert others == [resolved] * 6
    assert resolved.server == server.url
    assert resolved.uri == f"{server.url}{by_id}/"
    assert (resolved.object_id, resolved.name, resolved.kind) == (made["objectID"], "vol1", "container")
    assert resolved.size == SIZE
    export = choose(resolved, ("fc", "iscsi"))
    assert export.permissions == (HOST1,)
    assert export.plan == {
        "target": "iqn.2026-01.org.example:cdmi.vol1",
        "portals": ["127.0.0.1:3260"],
        "lun": 1,
        "wwid": f"naa.6001405{made['objectID'][-25:].lower()}",
        "size": SIZE,
    }


async def test_an_id_in_lower_case_is_the_same_object(tmp_path: Path) -> None:
    async with lab(tmp_path) as (server, client, made):
        resolved = await client.resolve(f"{server.url}cdmi_objectid/{made['objectID'].lower()}")
    assert resolved.object_id == made["objectID"]


async def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with lab(tmp_path) as (server, client, _):
        for name in ("cdmi_objectid/45234", "vol2", "vol2/"):
            with pytest.raises(Problem) as caught:
                await client.resolve(server.url + name)
            assert caught.value.code is Code.NOT_FOUND


async def test_containers_without_exports_and_data_objects_are_explained(tmp_path: Path) -> None:
    async with lab(tmp_path) as (server, client, _):
        await put(server, "plain/", {})
        made = await put(server, "image", {"value": "x" * 77})
        plain = await client.resolve(f"{server.url}plain")
        image = await client.resolve(f"{server.url}image")
    assert (plain.kind, plain.exports, plain.size) == ("container", (), None)
    assert (image.kind, image.exports, image.size) == ("dataobject", (), 77)
    assert image.uri == f"{server.url}cdmi_objectid/{made['objectID']}"
    for resolved, word in ((plain, "has no exports"), (image, "is a data object")):
        with pytest.raises(Problem, match=word) as caught:
            choose(resolved, ("iscsi",))
        assert caught.value.code is Code.NO_USABLE_EXPORT


async def test_a_portal_outside_of_the_storage_networks_is_not_used(tmp_path: Path) -> None:
    async with lab(tmp_path) as (server, _, _):
        networks = (ipaddress.ip_network("10.0.0.0/8"),)
        async with client_of(server.url, storage_networks=networks) as client:
            resolved = await client.resolve(f"{server.url}vol1")
    with pytest.raises(Problem) as caught:
        choose(resolved, ("iscsi",))
    assert "portal 127.0.0.1:3260 is outside storage_networks of this server (10.0.0.0/8)" in caught.value.detail


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (Action.STATUS, Code.CDMI_REFUSED),
        (Action.GARBAGE, Code.CDMI_REFUSED),
        (Action.CUT, Code.CDMI_UNREACHABLE),
        (Action.RESET, Code.CDMI_UNREACHABLE),
    ],
)
async def test_faults_of_the_server(tmp_path: Path, action: Action, code: Code) -> None:
    async with lab(tmp_path) as (server, client, _):
        for kind in ("get-object", "get-exports"):
            server.faults.set(kind, Fault(action))
        with pytest.raises(Problem) as caught:
            await client.resolve(f"{server.url}vol1")
        server.faults.clear()
        await client.resolve(f"{server.url}vol1")
    assert (caught.value.code, caught.value.status) == (code, 502)


# Quirks.


async def test_exports_that_only_come_when_asked_for() -> None:
    async def answer(request: web.Request) -> web.Response:
        whole = {name: value for name, value in BODY.items() if name != "exports"}
        return web.json_response({"exports": BODY["exports"]} if request.query_string == "exports" else whole)

    async with serving(answer) as url, client_of(url) as client:
        assert choose(await client.resolve(f"{url}cdmi_objectid/45234"), ("iscsi",)).usable


@pytest.mark.parametrize("status", [400, 404, 406])
async def test_a_server_that_cannot_be_asked_for_fields_has_no_exports(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.query_string:
            return web.Response(status=status)
        return web.json_response({"objectID": "45234"})

    async with serving(answer) as url, client_of(url) as client:
        resolved = await client.resolve(f"{url}cdmi_objectid/45234")
    assert (resolved.kind, resolved.exports, resolved.name) == ("container", (), "45234")


async def test_a_failure_while_asking_for_exports_is_not_taken_for_none() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"objectID": "45234"}, status=503 if request.query_string else 200)

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match="503"):
            await client.resolve(f"{url}cdmi_objectid/45234")


async def test_a_redirect_that_loses_the_field_selection() -> None:
    async def answer(request: web.Request) -> web.Response:
        if not request.path.startswith("/pool/"):
            return web.Response(status=302, headers={"Location": "/pool/vol1/"})
        return web.json_response({"exports": BODY["exports"]} if request.query_string else {"objectID": "45234"})

    async with serving(answer) as url, client_of(url) as client:
        assert (await client.resolve(f"{url}cdmi_objectid/45234")).exports[0].usable


@pytest.mark.parametrize(
    ("changes", "source", "wanted"),
    [
        ({"objectType": "application/vnd.org.snia.cdmi.container+json"}, "vol1", ("container", 1048576)),
        ({"objectType": "application/cdmi-container+json"}, "vol1", ("container", 1048576)),
        ({"objectType": "application/cdmi-object", "metadata": {"cdmi_size": 5}}, "vol1", ("dataobject", 5)),
        ({"objectType": None}, "vol1/", ("container", 1048576)),
        ({"metadata": {"cdmi_assignedsize": 4096}}, "vol1/", ("container", 4096)),
        ({"metadata": {"cdmi_assignedsize": "many"}}, "vol1/", ("container", None)),
        ({"metadata": {"cdmi_assignedsize": "9" * 30}}, "vol1/", ("container", None)),
        ({"metadata": {"cdmi_assignedsize": -1}}, "vol1/", ("container", None)),
        ({"metadata": {"cdmi_size": "5"}}, "vol1/", ("container", None)),
        ({"metadata": []}, "vol1/", ("container", None)),
    ],
)
async def test_kind_and_size(changes: dict[str, Any], source: str, wanted: tuple[str, int | None]) -> None:
    async with serving(answering(BODY | changes)) as url, client_of(url) as client:
        resolved = await client.resolve(url + source)
    assert (resolved.kind, resolved.size) == wanted


async def test_an_object_without_an_id_is_named_by_its_path() -> None:
    body = {name: value for name, value in BODY.items() if name != "objectID"} | {"objectName": "v\x1b[1m\ud800"}
    async with serving(answering(body)) as url, client_of(url) as client:
        resolved = await client.resolve(f"{url}pool/vol1")
    assert (resolved.object_id, resolved.uri) == ("", f"{url}pool/vol1/")
    assert resolved.name == r"v\x1b[1m\ud800"


async def test_an_id_in_base64_is_quoted() -> None:
    async with serving(answering({**BODY, "objectID": "AA/+b=="})) as url, client_of(url) as client:
        resolved = await client.resolve(f"{url}vol1")
        assert resolved.uri == f"{url}cdmi_objectid/AA%2F%2Bb%3D%3D/"
        assert await client.resolve(resolved.uri) == resolved


async def test_a_data_objects_value_is_not_fetched() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        if request.path.endswith("/"):
            return web.Response(status=404)
        if request.query_string:
            return web.json_response({"objectID": "45234", "exports": {"1": ENTRY | {"type": "iSCSI"}}})
        return web.Response(body=b"x" * (2 << 20))

    async with serving(answer) as url, client_of(url) as client:
        resolved = await client.resolve(f"{url}cdmi_objectid/45234")
    assert len(asked) == 2
    assert resolved.kind == "dataobject" and resolved.exports[0].usable


async def test_names_of_portals_are_resolved_once_and_pinned() -> None:
    asked: list[str] = []

    async def resolver(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.7", "10.0.0.7"]

    exports = {"Network/iSCSI": ENTRY | {"portals": ["san.example", "san.example:3261"]}}
    async with serving(answering(BODY | {"exports": exports})) as url:
        server = Server(url, allow_http=True, storage_networks=LOCAL)
        client = CdmiClient([server], protocols=("iscsi",), resolver=resolver)
        plan = (await client.resolve(f"{url}vol1")).exports[0].plan
        await client.close()
    assert asked == ["san.example"]
    assert plan is not None and plan["portals"] == ["127.0.0.7:3260", "127.0.0.7:3261"]


async def test_the_systems_resolver_is_the_default() -> None:
    exports = {"Network/iSCSI": ENTRY | {"portals": ["localhost", "nowhere.invalid"]}}
    async with serving(answering(BODY | {"exports": exports})) as url, client_of(url) as client:
        plan = (await client.resolve(f"{url}vol1")).exports[0].plan
    assert plan is not None and plan["portals"] == ["127.0.0.1:3260"]


async def test_a_container_of_too_many_children_is_read_by_its_fields() -> None:
    async def answer(request: web.Request) -> web.Response:
        if not request.query_string:
            return web.json_response(BODY | {"children": ["x" * 1000] * 2000})
        return web.json_response({name: BODY[name] for name in request.query_string.split(";") if name in BODY})

    async with serving(answer) as url, client_of(url) as client:
        assert (await client.resolve(f"{url}cdmi_objectid/45234")).exports[0].usable


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"completionStatus": "Processing"}, "the server is still making it (completionStatus Processing)"),
        ({"completionStatus": "Processing", "percentComplete": "40"}, "Processing, 40 % done)"),
        ({"completionStatus": "Processing", "percentageComplete": 7}, "Processing, 7 % done)"),
        ({"completionStatus": "Processing", "percentComplete": "x\n"}, "(completionStatus Processing)"),
    ],
)
async def test_what_is_still_being_made_is_not_used(changes: dict[str, Any], says: str) -> None:
    async with serving(answering(BODY | changes)) as url, client_of(url) as client:
        resolved = await client.resolve(f"{url}vol1")
    assert says in resolved.pending
    assert resolved.exports[0].usable
    with pytest.raises(Problem, match="is not ready: the server is still making it") as caught:
        choose(resolved, ("iscsi",))
    assert caught.value.code is Code.NO_USABLE_EXPORT


async def test_an_entry_without_connection_data_is_pending() -> None:
    body = BODY | {"exports": {"Network/iSCSI": {"permissions": []}}}
    async with serving(answering(body)) as url, client_of(url) as client:
        (export,) = (await client.resolve(f"{url}vol1")).exports
    assert export.pending and not export.usable
