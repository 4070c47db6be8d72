"""Servers of the field (cdmi.md 6): what our client makes of each, replayed from answers written after their source."""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.cdmi.choose import choose
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server, TokenScheme
from agent.model import Resolved
from agent.secret import Secret
from attachers.problems import Code, Problem
from tests.cdmi_server.replay import Replay, names, replaying

BASIC: dict[str, Any] = {"user": "restadmin", "password": Secret("restadmin")}
TOKEN: dict[str, Any] = {"token": Secret("t"), "token_scheme": TokenScheme.X_AUTH_TOKEN}
NETWORKS = (ipaddress.ip_network("10.1.0.0/16"),)
COVERED: set[str] = set()


@asynccontextmanager
async def client_of(name: str, root: str = "", **values: Any) -> AsyncIterator[tuple[Replay, CdmiClient, str]]:
    COVERED.add(name)
    async with replaying(name) as (replay, origin):
        server = Server(origin + root, allow_http=True, storage_networks=NETWORKS, **values)
        client = CdmiClient([server], protocols=("iscsi", "nfs"))
        try:
            yield replay, client, origin + root
        finally:
            await client.close()
        assert replay.missed == []


async def resolved(name: str, source: str, root: str = "", **values: Any) -> tuple[Resolved, list[str]]:
    async with client_of(name, root, **values) as (replay, client, url):
        found = await client.resolve(url + source)
        return found, replay.asked


def why(found: Resolved) -> str:
    """Why nothing of it can be attached."""
    with pytest.raises(Problem) as caught:
        choose(found, ("iscsi", "nfs"))
    assert caught.value.code is Code.NO_USABLE_EXPORT
    return caught.value.detail


async def test_snias_reference_keeps_keys_only() -> None:
    found, _ = await resolved("snia-reference", "pool", "cdmi/")
    assert (found.kind, found.name) == ("container", "pool")
    assert "OCCI/NFS: an OCCI entry has no connection data" in why(found)


async def test_snias_reference_hands_out_data_objects_to_a_type_of_its_own() -> None:
    found, asked = await resolved("snia-reference", "pool/image", "cdmi/")
    assert (found.kind, found.name, found.size) == ("dataobject", "image", 17)
    assert [container.uri.rpartition("/cdmi/")[2] for container in found.above] == ["pool/", "pool/"]
    assert "answered 500" in found.above[-1].says
    assert any("1.0.2" in one for one in asked)


async def test_snias_reference_fails_by_id_and_says_so() -> None:
    with pytest.raises(Problem, match="answered 500") as caught:
        await resolved("snia-reference", "cdmi_objectid/00007E7F0010CEC234AD9E3EBFE9531D", "cdmi/")
    assert caught.value.code is Code.CDMI_REFUSED


async def test_dcaches_empty_entry_is_not_ready() -> None:
    found, _ = await resolved("dcache", "lun", "cdmi/")
    assert found.size == 1048576
    assert "Network/iSCSI: not ready: the server has not filled in target_identifier, portals" in why(found)


async def test_indigo_speaks_of_http_only() -> None:
    found, asked = await resolved("indigo", "pool", **BASIC)
    assert (found.kind, found.object_id) == ("container", "00007ED900100CDDA8B1A1E4B5DA2E39")
    assert "Network/WebHTTP: http exports are not supported by this version" in why(found)
    assert len(asked) == 1
    with pytest.raises(Problem, match="answered 401") as caught:
        await resolved("indigo", "pool")
    assert "user and password_credential" in caught.value.hint


async def test_storm_too() -> None:
    found, _ = await resolved("storm", "sa")
    assert "Network/WebHTTP" in why(found)


@pytest.mark.parametrize(("source", "kind"), [("space", "container"), ("space/file", "dataobject")])
async def test_onedata_redirects_for_slashes_in_both_directions(source: str, kind: str) -> None:
    found, _ = await resolved("onedata", source, "cdmi/")
    assert (found.kind, found.name) == (kind, source.rpartition("/")[2])
    assert len(found.object_id) == 92
    assert "has no exports" in why(found) or "no container above it has exports" in why(found)


async def test_swift_has_no_ids_and_wants_one_version() -> None:
    found, asked = await resolved("swift-middleware", "AUTH_one/images", "cdmi/", **TOKEN)
    assert (found.object_id, found.kind) == ("", "container")
    assert found.uri.endswith("/cdmi/AUTH_one/images/")
    assert asked[-1].endswith(" 1.0.1")
    found, _ = await resolved("swift-middleware", "AUTH_one/images/disk", "cdmi/", **TOKEN)
    assert (found.kind, len(found.above)) == ("dataobject", 3)


@pytest.mark.parametrize(
    ("name", "source", "root", "login", "version"),
    [
        ("stoxy", "c", "storage/", {}, "1.0.1"),
        ("vcdm", "c", "", {}, "1.0.1"),
        ("cdmi-serve", "c", "cdmi/", {}, "1.0"),
        ("grnet", "c", "", TOKEN, "1.1"),
        ("nebula2", "c", "cdmi/", BASIC, "1.1"),
        ("drastic", "archive", "api/cdmi/", {}, "1.1.1"),
    ],
)
async def test_the_version_that_each_understands(name: str, source: str, root: str, login: Any, version: str) -> None:
    found, asked = await resolved(name, source, root, **login)
    assert found.kind == "container"
    assert asked[-1].endswith(f" {version}")
    assert "has no exports" in why(found)


@pytest.mark.parametrize("name", ["grnet", "nebula2"])
async def test_a_missing_login_is_named(name: str) -> None:
    with pytest.raises(Problem, match="answered 401"):
        await resolved(name, "c", "" if name == "grnet" else "cdmi/")


async def test_cdmi_serves_ids_are_paths() -> None:
    found, _ = await resolved("cdmi-serve", "c", "cdmi/")
    assert found.object_id == "L2M="
    assert found.uri.endswith("/cdmi/cdmi_objectid/L2M%3D/")


@pytest.mark.parametrize("source", ["archive", "cdmi_objectid/0000D1A500286B2B"])
async def test_drastic_does_not_know_the_field(source: str) -> None:
    found, _ = await resolved("drastic", source, "api/cdmi/")
    assert found.object_id == "0000D1A500286B2B"
    assert found.exports == ()


async def test_drastics_data_objects_are_read_whole() -> None:
    found, asked = await resolved("drastic", "archive/a", "api/cdmi/")
    assert (found.kind, found.size) == ("dataobject", 5)
    assert asked[1].startswith("GET /api/cdmi/archive/a?") and "GET /api/cdmi/archive/a 1.1.1" in asked


async def test_scalitys_container_is_no_json() -> None:
    found, _ = await resolved("scality", "volumes/vol1")
    assert (found.kind, found.size, found.object_id) == ("dataobject", 1048576, "")
    assert "is no CDMI object" in found.above[0].says
    with pytest.raises(Problem, match="is no CDMI object"):
        await resolved("scality", "volumes/")


async def test_the_draft_of_3_0_is_read() -> None:
    found, asked = await resolved("seedmi", "images/disk", "cdmi/")
    assert choose(found, ("nfs",)).plan == {
        "server": "10.1.0.7",
        "export": "/images",
        "path": "disk",
        "version": "4.1",
        "size": 4096,
        "object_id": found.object_id,
    }
    reasons = {export.key: export.reason for export in found.exports}
    assert reasons["web"] == "http exports are not supported by this version"
    assert "NFS version 3" in reasons["old"]
    assert "switched off" in reasons["off"]
    assert "last_problems: ['no route']" in reasons["sick"]
    assert "mqtt" in reasons["events"] and "nvme" in reasons["disk"]
    assert "org.example_tape" in reasons["org.example_tape"]
    assert asked[-1].endswith(" -")


def test_every_server_is_covered() -> None:
    assert set(names()) == COVERED
