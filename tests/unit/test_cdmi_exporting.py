"""Exports made and removed on servers of every version, and on those that announce none or only say so."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.runner import running_server
from tests.unit.test_cdmi_client import LOCAL, client_of, serving
from tests.unit.test_cdmi_matrix import HOST1, KEYS, SIZE, US, put

PORT = "2000020000000011"


@pytest.mark.parametrize("name", DIALECTS)
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
            await client.revoke(uri, seen.key, US, HOST1)
            for _ in range(2):
                await client.unexport(uri, seen.key)
                assert (await client.resolve(uri)).exports == ()
        finally:
            await client.close()


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
