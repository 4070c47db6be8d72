"""Exports made and removed on servers of every version, and on those that announce none or only say so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi import unexporting
from agent.cdmi.answers import Answer
from agent.cdmi.client import CdmiClient
from agent.cdmi.initiators import LEAVING
from agent.cdmi.server import Server
from agent.cdmi.wire import Limits
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.runner import running_server
from tests.unit.test_cdmi_client import LOCAL, client_of, serving
from tests.unit.test_cdmi_matrix import HOST1, KEYS, SIZE, US, put

PORT = "2000020000000011"
PATIENT = Limits(settle_s=0.5)
"""So that what happens in time on an idle machine does so on one with other work to do."""


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with other work to do is not taken for a server on which somebody may have come meanwhile."""
    monkeypatch.setattr(unexporting, "SLOWER", 2000.0)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.usefixtures("unhurried")
async def test_an_export_is_made_and_removed_in_every_version(tmp_path: Path, name: str) -> None:
    async with running_server(tmp_path, dialect=name, fc_targets=(PORT,)) as server:
        await put(server.url, "vol1/", {"metadata": {"cdmi_assignedsize": str(SIZE)}}, DIALECTS[name])
        one = Server(server.url, allow_http=True, storage_networks=LOCAL)
        client, uri = CdmiClient([one], protocols=("iscsi", "fc")), f"{server.url}vol1"
        try:
            offered = await client.offers(uri)
            assert offered["iscsi"] == KEYS[name] and set(offered) == {"iscsi", "fc"}
            assert await client.export(uri, offered["iscsi"], "iscsi") == (KEYS[name], True)
            assert await client.export(uri, offered["iscsi"], "iscsi") == (KEYS[name], False)
            (seen,) = (await client.resolve(uri)).exports
            assert seen.usable and seen.permissions == (), "open to nobody yet"
            assert set(await client.offers(uri)) == {"fc"}
            await client.grant(uri, seen.key, US, HOST1)
            await client.unexport(uri, seen.key)
            assert (await client.resolve(uri)).exports[0].permissions == (US, HOST1), "somebody uses it"
            await client.unexport(uri, seen.key, US)
            assert (await client.resolve(uri)).exports[0].permissions == (HOST1,), "and only somebody else does"
            await client.revoke(uri, seen.key, HOST1)
            for _ in range(2):
                await client.unexport(uri, seen.key)
                assert (await client.resolve(uri)).exports == ()
            for protocol in ("iscsi", "fc"):
                ours = US if protocol == "iscsi" else PORT
                key, _ = await client.export(uri, (await client.offers(uri))[protocol], protocol)
                await client.grant(uri, key, ours)
                await client.unexport(uri, key, ours)
                assert (await client.resolve(uri)).exports == (), "our own name goes with it"
        finally:
            await client.close()


@asynccontextmanager
async def two_hosts(disk: Path, limits: Limits | None = None) -> AsyncIterator[tuple[CdmiClient, CdmiClient, str, str]]:
    """A LUN with an export that the first has made. Both clients, its URL, and the export's key."""
    async with running_server(disk) as server, client_of(server.url, limits=limits) as ours:
        await put(server.url, "vol1/", {"metadata": {"cdmi_assignedsize": str(SIZE)}}, DIALECTS["1.1"])
        async with client_of(server.url, limits=limits) as theirs:
            uri = f"{server.url}vol1"
            key, _ = await ours.export(uri, KEYS["1.1"], "iscsi")
            yield ours, theirs, uri, key


@pytest.mark.parametrize("permitted", [True, False])
async def test_an_export_is_not_taken_from_a_host_that_is_let_in_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, permitted: bool
) -> None:
    """The removal takes so long that another host is let in meanwhile, and looks twice: it gets in again at once."""
    async with two_hosts(tmp_path) as (ours, theirs, uri, key):
        if permitted:
            await ours.grant(uri, key, US)
        update = ours._wire.update

        async def late(server: Server, url: str, body: bytes, *, fields: tuple[str, ...]) -> Answer:
            if key.encode() not in body:
                await theirs.grant(uri, key, HOST1)
            return await update(server, url, body, fields=fields)

        monkeypatch.setattr(ours._wire, "update", late)
        await ours.unexport(uri, key, *([US] if permitted else []))
        monkeypatch.undo()
        assert (await theirs.resolve(uri)).exports[0].permissions == (), "it is there, and lets nobody in"
        await theirs.grant(uri, key, HOST1)
        await ours.unexport(uri, key, US)
        assert (await theirs.resolve(uri)).exports[0].permissions == (HOST1,)


async def test_who_comes_while_an_export_is_removed_is_let_in_or_told(tmp_path: Path) -> None:
    """At any moment of the removal: a host that was told that it is let in, is."""
    let_in = 0
    async with two_hosts(tmp_path, PATIENT) as (ours, theirs, uri, key):

        async def comes(turns: int) -> bool:
            for _ in range(turns):
                await theirs.stat(uri)
            try:
                await theirs.grant(uri, key, HOST1)
            except Problem as problem:
                assert problem.code is Code.NOT_FOUND
                return False
            return True

        for turns in (0, 1, 3, 10, 40):
            await ours.export(uri, key, "iscsi")
            await ours.grant(uri, key, US)
            _, there = await asyncio.gather(ours.unexport(uri, key, US), comes(turns))
            exports = (await ours.resolve(uri)).exports
            assert not there or exports[0].permissions == (HOST1,), turns
            let_in += there
            if exports:
                await ours.unexport(uri, key, HOST1)
    assert let_in, "some came early enough"


@pytest.mark.usefixtures("unhurried")
async def test_what_a_removal_that_was_cut_off_leaves_is_cleared_by_whoever_comes(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as (ours, theirs, uri, key):
        await ours.grant(uri, key, LEAVING["iscsi"])
        await theirs.grant(uri, key, HOST1)
        assert (await theirs.resolve(uri)).exports[0].permissions == (HOST1,)
        await ours.grant(uri, key, LEAVING["iscsi"])
        await theirs.revoke(uri, key, HOST1)
        await ours.unexport(uri, key)
        assert (await theirs.resolve(uri)).exports == ()


@pytest.mark.parametrize("answer", [204, 400])
async def test_an_export_that_a_server_keeps_is_told_of(tmp_path: Path, answer: int) -> None:
    keeps: dict[str, Any] = {"Network/iSCSI": {"permissions": []}}

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=answer)
        return web.json_response({"objectType": "application/cdmi-container", "objectID": "45234", "exports": keeps})

    async with serving(serve) as url, client_of(url, limits=Limits(settle_s=0.01)) as client:
        with pytest.raises(Problem, match="400" if answer == 400 else "is still there after it was removed") as caught:
            await client.unexport(f"{url}cdmi_objectid/45234", "Network/iSCSI", US)
    assert caught.value.code is Code.CDMI_REFUSED


async def test_nothing_is_offered_for_what_is_no_lun(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, client_of(server.url) as client:
        await put(server.url, "pool/", {}, DIALECTS["1.1"])
        await put(server.url, "image", {"value": "x"}, DIALECTS["1.1"])
        for name in ("pool", "image"):
            assert await client.offers(server.url + name) == {}
        await client.unexport(f"{server.url}missing", "Network/iSCSI")


class Says:
    """A server with one LUN that announces what it is given, and takes every update without doing it."""

    def __init__(self, system: dict[str, Any] | None, container: dict[str, Any] | None = None) -> None:
        self.system, self.container = system, container

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=204)
        if request.path.startswith("/cdmi_capabilities/"):
            found = self.container if request.path.endswith("/container/") else self.system
            return web.Response(status=403) if found is None else web.json_response({"capabilities": found})
        return web.json_response(
            {
                "objectType": "application/cdmi-container",
                "objectID": "45234",
                "metadata": {"cdmi_assignedsize": "1048576"},
                "capabilitiesURI": "/cdmi_capabilities/container/",
            }
        )


@pytest.mark.parametrize(
    ("system", "container", "offered"),
    [
        ({"cdmi_export_iscsi": "true"}, {}, True),
        ({"cdmi_export_iscsi": True}, None, True),
        ({"cdmi_iscsi_export": "true"}, {"cdmi_export_container_iscsi": "true"}, True),
        ({"cdmi_export_iscsi": "true"}, {"cdmi_export_container_iscsi": "false"}, False),
        ({"cdmi_export_iscsi": "false"}, {"cdmi_export_container_iscsi": "true"}, False),
        ({"cdmi_export_nfs": "true"}, {}, False),
        ({}, {}, False),
        (None, None, False),
    ],
)
async def test_what_counts_as_announced(system: Any, container: Any, offered: bool) -> None:
    async with serving(Says(system, container)) as url, client_of(url) as client:
        assert ("iscsi" in await client.offers(f"{url}cdmi_objectid/45234")) is offered


async def test_a_server_that_only_says_so(tmp_path: Path) -> None:
    async with serving(Says({"cdmi_export_iscsi": "true"})) as url, client_of(url) as client:
        with pytest.raises(Problem, match="got no export over iscsi, although") as caught:
            await client.export(f"{url}cdmi_objectid/45234", "Network/iSCSI", "iscsi")
    assert caught.value.code is Code.CDMI_REFUSED
