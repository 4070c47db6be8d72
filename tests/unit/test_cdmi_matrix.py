"""Every version of CDMI from end to end: our client and the demo's server, over HTTP, with nothing configured."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.cdmi.choose import choose
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from tests.cdmi_server.dialects import DIALECTS, Dialect
from tests.cdmi_server.runner import running_server
from tests.unit.test_cdmi_client import LOCAL

HOST1, US = "iqn.2010-01.com.acme:host1", "iqn.2026-01.org.example:us"
SIZE = 1 << 20
KEYS = {
    "1.0": "Network/iSCSI",
    "1.0.1": "Network/iSCSI",
    "1.0.2": "Network/iSCSI",
    "1.1": "Network/iSCSI",
    "2.0": "1",
    "3.0": "1",
}


@dataclass
class Lab:
    """A server of one version with a LUN, a folder exported over NFS and an image in it; and a client of it."""

    dialect: Dialect
    url: str
    client: CdmiClient
    lun: dict[str, Any]
    image: dict[str, Any]

    async def permissions(self) -> tuple[str, ...] | None:
        return (await self.client.resolve(f"{self.url}vol1")).exports[0].permissions


async def put(url: str, path: str, body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    kind = "container" if path.endswith("/") else "object"
    media_type = dialect.media_types(kind)[0]
    headers = {"Accept": media_type, "Content-Type": media_type}
    if dialect.version:
        headers["X-CDMI-Specification-Version"] = dialect.version
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(url + path, data=json.dumps(body)) as answer,
    ):
        text = await answer.text()
        assert answer.status == 201, text
        made: dict[str, Any] = json.loads(text)
        return made


@asynccontextmanager
async def lab(state: Path, name: str, spec_version: str = "auto") -> AsyncIterator[Lab]:
    dialect = DIALECTS[name]
    async with running_server(state, dialect=name) as server:
        entry = {"permissions": [HOST1]} | ({"type": "iSCSI"} if dialect.typed_exports else {})
        body = {"metadata": {"cdmi_assignedsize": str(SIZE)}, "exports": {KEYS[name]: entry}}
        lun = await put(server.url, "vol1/", body, dialect)
        await put(server.url, "pool/", {"metadata": {"x_nfs_path": "127.0.0.7:/srv/pool"}}, dialect)
        await put(server.url, "pool/one/", {}, dialect)
        image = await put(server.url, "pool/one/disk.img", {"value": "x" * 77}, dialect)
        one = Server(server.url, allow_http=True, storage_networks=LOCAL, spec_version=spec_version)
        client = CdmiClient([one], protocols=("iscsi", "nfs"))
        try:
            yield Lab(dialect, server.url, client, lun, image)
        finally:
            await client.close()


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
async def test_a_lun_is_resolved_granted_and_revoked(tmp_path: Path, name: str, configured: bool) -> None:
    version = (DIALECTS[name].version or f"{name}.0") if configured else "auto"
    async with lab(tmp_path, name, version) as here:
        object_id = here.lun["objectID"]
        resolved = await here.client.resolve(f"{here.url}vol1")
        assert (resolved.kind, resolved.name, resolved.size) == ("container", "vol1", SIZE)
        assert resolved.object_id == object_id
        assert await here.client.resolve(resolved.uri) == resolved
        export = choose(resolved, ("iscsi",))
        assert (export.key, export.permissions) == (KEYS[name], (HOST1,))
        assert export.plan is not None and export.plan["target"].endswith(":cdmi.vol1")
        await here.client.grant(resolved.uri, export.key, US)
        assert await here.permissions() == (HOST1, US)
        await here.client.revoke(resolved.uri, export.key, US)
        assert await here.permissions() == (HOST1,)


@pytest.mark.parametrize("by", ["path", "id"])
@pytest.mark.parametrize("name", DIALECTS)
async def test_an_image_is_found_through_the_folder_above_it(tmp_path: Path, name: str, by: str) -> None:
    async with lab(tmp_path, name) as here:
        quoted = here.image["objectID"].replace("/", "%2F").replace("+", "%2B")
        source = "pool/one/disk.img" if by == "path" else f"cdmi_objectid/{quoted}"
        resolved = await here.client.resolve(here.url + source)
        version = "4" if name == "1.0" else "4.1"
        if name == "1.0":  # its only form has no version but the one in its key
            assert resolved.exports[-1].key == "Network/NFSv4"
        assert choose(resolved, ("nfs",)).plan == {
            "server": "127.0.0.7",
            "export": "/srv/pool",
            "path": "one/disk.img",
            "version": version,
            "size": 77,
            "object_id": resolved.object_id,
        }


async def test_ids_of_1_0_are_base64(tmp_path: Path) -> None:
    async with lab(tmp_path, "1.0") as here:
        raw = base64.b64decode(here.lun["objectID"], validate=True)
        assert raw[5] == len(raw)


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
async def test_objects_below_a_containers_id_and_ids_in_both_spellings(tmp_path: Path, spelling: Any) -> None:
    async with lab(tmp_path, "1.1") as here:
        resolved = await here.client.resolve(f"{here.url}pool")
        below = f"{here.url}cdmi_objectid/{spelling(resolved.object_id)}/one/disk.img"
        image = await here.client.resolve(below)
    assert image.object_id == here.image["objectID"]
    assert choose(image, ("nfs",)).plan is not None


async def test_a_folder_in_use_as_a_disk_is_explained(tmp_path: Path) -> None:
    async with lab(tmp_path, "1.1") as here:
        (export,) = (await here.client.resolve(f"{here.url}pool")).exports
    assert export.reason.endswith("which is no disk: give a data object in it as the source")
