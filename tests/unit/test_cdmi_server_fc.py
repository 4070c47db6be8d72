"""Fibre Channel exports of the CDMI server, with our client: what docs/cdmi-fc.md says, in every version of CDMI."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from tests.cdmi_server.dialects import DIALECTS, Dialect
from tests.cdmi_server.runner import ServerHandle, running_server
from tests.unit.test_cdmi_client import LOCAL as LOOPBACK
from tests.unit.test_cdmi_matrix import put as put_in
from tests.unit.test_cdmi_server import HOST1, MIB, get, http, put, san

__all__ = ["http"]
TARGETS = ("2000020000000011", "2000020000000013")
US, OTHER = "2000020000000010", "2000020000000099"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerHandle]:
    async with running_server(tmp_path, fc_targets=TARGETS) as handle:
        yield handle


def lun(*ports: str, **metadata: str) -> dict[str, object]:
    exports = {"Network/FC": {"permissions": list(ports)}}
    return {"metadata": {"cdmi_assignedsize": str(MIB), **metadata}, "exports": exports}


async def test_a_lun_is_exported_as_the_page_says(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    made = await put(http, server, "vol/", lun("20:00:02:00:00:00:00:10", "0x2000020000000010"))
    name = "6001405" + made["objectID"][-25:].lower()
    assert made["exports"] == {
        "Network/FC": {
            "target_wwpns": list(TARGETS),
            "logical_unit_number": "1",
            "logical_unit_name": f"0x{name}",
            "permissions": [US],
        }
    }
    assert [(one["target"], one["portals"], one["lun"], one["initiators"]) for one in san(server)] == [
        (target, [], 1, [US]) for target in TARGETS
    ]


async def test_entries_are_written_back_whole_beside_others(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    both = lun(OTHER)
    both["exports"] = {"Network/FCoE": {"permissions": [OTHER]}, "Network/iSCSI": {"permissions": [HOST1]}}
    made = await put(http, server, "vol/", both)
    assert set(made["exports"]) == {"Network/FC", "Network/iSCSI"}
    fibre = made["exports"]["Network/FC"] | {"permissions": [OTHER, US], "target_wwpns": ["ignored"]}
    await put(http, server, "vol/?exports", {"exports": made["exports"] | {"Network/FC": fibre}}, status=204)
    after = (await get(http, server, "vol/?exports"))["exports"]
    assert after["Network/FC"] == made["exports"]["Network/FC"] | {"permissions": [OTHER, US]}
    assert after["Network/iSCSI"] == made["exports"]["Network/iSCSI"]
    await put(http, server, "vol/?exports", {"exports": {"Network/iSCSI": {}}}, status=204)
    assert list((await get(http, server, "vol/?exports"))["exports"]) == ["Network/iSCSI"]


async def test_numbers_are_chosen_and_asked_for(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    """Case 73: also above 255."""
    asked = await put(http, server, "big/", lun(x_lun="300"))
    assert asked["exports"]["Network/FC"]["logical_unit_number"] == "300"
    await put(http, server, "same/", lun(x_lun="300"), status=400)
    for number in (1, 2):
        made = await put(http, server, f"vol{number}/", lun())
        assert made["exports"]["Network/FC"]["logical_unit_number"] == str(number)


@pytest.mark.parametrize("exports", [{"Network/FC": {"permissions": ["iqn.2010-01.com.acme:host1"]}}, {"FC": []}])
async def test_a_bad_entry_is_refused(http: aiohttp.ClientSession, server: ServerHandle, exports: object) -> None:
    await put(http, server, "vol/", {"metadata": {"cdmi_assignedsize": str(MIB)}, "exports": exports}, status=400)


async def test_a_server_without_ports_has_no_such_exports(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        await put(http, server, "vol/", lun(), status=400)
        assert "cdmi_export_fc" not in (await get(http, server, "cdmi_capabilities/"))["capabilities"]


async def test_capabilities_say_it(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    system = (await get(http, server, "cdmi_capabilities/"))["capabilities"]
    container = (await get(http, server, "cdmi_capabilities/container/"))["capabilities"]
    assert system["cdmi_export_fc"] == container["cdmi_export_container_fc"] == "true"


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
async def test_ports_are_granted_and_revoked_in_every_version(dialect: Dialect, tmp_path: Path) -> None:
    async with running_server(tmp_path, dialect=dialect.name, fc_targets=TARGETS) as server:
        body = lun(OTHER)
        if dialect.typed_exports:
            body["exports"] = {"1": {"type": "FC", "permissions": [OTHER]}}
        await put_in(server.url, "vol/", body, dialect)
        client = CdmiClient([Server(url=server.url, storage_networks=LOOPBACK, allow_http=True)], protocols=("fc",))
        try:
            found = await client.resolve(f"{server.url}vol/")
            (export,) = found.exports
            assert export.usable and export.protocol == "fc" and (export.plan or {})["targets"] == list(TARGETS)
            await client.grant(found.uri, export.key, US, "2000020000000012")
            (granted,) = (await client.resolve(found.uri)).exports
            assert granted.permissions == (OTHER, US, "2000020000000012")
            await client.revoke(found.uri, export.key, US, "2000020000000012")
            (revoked,) = (await client.resolve(found.uri)).exports
            assert revoked.permissions == (OTHER,)
        finally:
            await client.close()
