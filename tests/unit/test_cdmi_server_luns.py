"""LUNs of the CDMI server: exports, blocks, the simulated storage network, and what survives a restart."""

import asyncio
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cdmi_server.runner import ServerHandle, running_server
from tests.unit.test_cdmi_server import (
    HOST1,
    HOST2,
    MIB,
    VERSION,
    at,
    exports,
    get,
    http,
    make_lun,
    put,
    san,
    server,
)

__all__ = ["http", "server"]


def iscsi(container: Any) -> Any:
    return container["exports"]["Network/iSCSI"]


async def test_a_lun_is_exported_as_the_specification_writes_it(
    http: aiohttp.ClientSession, server: ServerHandle
) -> None:
    made = await make_lun(http, server, "Vol_1", HOST1)
    assert iscsi(made) == {
        "portals": ["127.0.0.1"],
        "target_identifier": "iqn.2026-01.org.example:cdmi.vol-1,t,0x0001",
        "logical_unit_number": "1",
        "logical_unit_name": "0x6001405" + made["objectID"][-25:].lower(),
        "permissions": [HOST1],
    }
    assert san(server) == [
        {
            "target": "iqn.2026-01.org.example:cdmi.vol-1",
            "portals": ["127.0.0.1:3260"],
            "lun": 1,
            "wwid": "naa.6001405" + made["objectID"][-25:].lower(),
            "size": MIB,
            "initiators": [HOST1],
        }
    ]


async def test_permissions_are_replaced_and_the_export_withdrawn(
    http: aiohttp.ClientSession, server: ServerHandle
) -> None:
    made = await make_lun(http, server, "vol")
    assert iscsi(made)["permissions"] == []
    entry = {**iscsi(made), "permissions": [HOST2, HOST1, HOST2]}
    await put(http, server, "vol/?exports", {"exports": {"Network/iSCSI": entry}}, status=204)
    after = await get(http, server, "vol/?exports")
    assert iscsi(after) == {**iscsi(made), "permissions": [HOST2, HOST1]}
    assert san(server)[0]["initiators"] == [HOST2, HOST1]
    await put(http, server, "vol/", {"metadata": {"note": "exports stay"}}, status=204)
    assert iscsi(await get(http, server, "vol/")) == iscsi(after)
    await put(http, server, "vol/?exports", {"exports": {}}, status=204)
    assert await get(http, server, "vol/?exports") == {}
    assert san(server) == []


async def test_an_export_can_come_later(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await put(http, server, "vol/", {"metadata": {"cdmi_assignedsize": str(MIB)}})
    assert await get(http, server, "vol/?exports") == {}
    await put(http, server, "vol/?exports", {"metadata": {}}, status=400)
    await put(http, server, "vol/?exports", {"exports": {"iSCSI": {}}}, status=204)
    assert iscsi(await get(http, server, "vol/"))["permissions"] == []
    await put(http, server, "vol/", {"metadata": {"cdmi_assignedsize": "1000"}}, status=400)


async def test_a_lun_can_be_given_another_size(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    before = iscsi(await make_lun(http, server, "vol"))
    await put(http, server, "vol/", {"metadata": {"cdmi_assignedsize": str(2 * MIB)}}, status=204)
    assert (await get(http, server, "vol/"))["metadata"]["cdmi_assignedsize"] == str(2 * MIB)
    assert iscsi(await get(http, server, "vol/")) == before
    record = server.store.find("/vol/")
    assert record and record.volume and record.volume.size == 2 * MIB
    assert server.store.value_file(record).stat().st_size == 2 * MIB


async def test_luns_may_share_a_target(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    one = iscsi(await make_lun(http, server, "one", x_target="shelf"))
    two = iscsi(await make_lun(http, server, "two", x_target="shelf", x_lun="7"))
    three = iscsi(await make_lun(http, server, "three", x_target="shelf"))
    assert len({entry["target_identifier"] for entry in (one, two, three)}) == 1
    assert [entry["logical_unit_number"] for entry in (one, two, three)] == ["1", "7", "2"]
    body = {"metadata": {"cdmi_assignedsize": "512", "x_target": "shelf", "x_lun": "7"}, "exports": exports()}
    await put(http, server, "four/", body, status=400)


async def test_a_target_may_address_flat(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    made = iscsi(await make_lun(http, server, "flat", HOST1, x_lun="300", x_flat="yes"))
    assert made["logical_unit_number"] == "300"
    assert [lun["lun"] for lun in san(server)] == [0x4000 + 300]


async def test_blocks_are_written_and_read_by_range(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    made = await make_lun(http, server, "vol")
    async with http.put(at(server, "vol/"), data=b"boot" * 128) as answer:
        assert answer.status == 204
    async with http.put(
        at(server, "vol/"), data=b"end!", headers={"Content-Range": f"bytes {MIB - 4}-{MIB - 1}/{MIB}"}
    ) as answer:
        assert answer.status == 204
    async with http.get(at(server, f"cdmi_objectid/{made['objectID']}/")) as answer:
        blocks = await answer.read()
    assert blocks == (b"boot" * 128).ljust(MIB - 4, b"\0") + b"end!"
    assert (server.state / "values" / made["objectID"]).read_bytes() == blocks
    async with http.get(at(server, "vol/"), headers={"Range": f"bytes={MIB - 4}-"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"end!")
    for content_range in (f"bytes {MIB}-{MIB + 3}/*", "bytes 0-4/*", "bytes 4-0/*", "0-3"):
        async with http.put(at(server, "vol/"), data=b"more", headers={"Content-Range": content_range}) as answer:
            assert answer.status == 400, content_range
    async with http.put(at(server, "vol/"), data=io.BytesIO(bytes(MIB + 1))) as answer:
        assert answer.status == 400
    await put(http, server, "vol/child", {}, status=400)


async def test_swapped_luns_keep_their_exports(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    made = [await make_lun(http, server, name, HOST1) for name in ("one", "two")]
    before = {lun["target"]: lun["wwid"] for lun in san(server)}
    swap = {"uri_a": "/one/", "uri_b": f"{server.url}cdmi_objectid/{made[1]['objectID']}/"}
    async with http.post(f"{server.origin}/.admin/swap", json=swap) as answer:
        assert answer.status == 204
    after = {lun["target"]: lun["wwid"] for lun in san(server)}
    assert list(after.values()) == list(before.values())[::-1]
    assert iscsi(await get(http, server, "one/")) == iscsi(made[0])
    async with http.delete(at(server, "two/")) as answer:
        assert answer.status == 204
    assert [lun["wwid"] for lun in san(server)] == ["naa." + iscsi(made[0])["logical_unit_name"][2:]]


async def test_a_swap_needs_two_luns(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await make_lun(http, server, "one")
    for body, status in (
        ({"uri_a": "/one/", "uri_b": "/two/"}, 404),
        ({"uri_a": "/one/", "uri_b": "/"}, 400),
        ([], 400),
    ):
        async with http.post(f"{server.origin}/.admin/swap", json=body) as answer:
            assert answer.status == status


async def test_a_restart_keeps_everything(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with running_server(tmp_path) as first:
        await make_lun(http, first, "vol", HOST1)
        await put(http, first, "a.txt", {"value": "hello"})
        async with http.put(at(first, "vol/"), data=b"blocks") as answer:
            assert answer.status == 204
        kept = [await get(http, first, path) for path in ("", "vol/", "a.txt")]
    (tmp_path / "san.json").unlink()
    async with running_server(tmp_path) as second:
        assert kept == [await get(http, second, path) for path in ("", "vol/", "a.txt")]
        assert san(second)[0]["initiators"] == [HOST1]
        async with http.get(at(second, "vol/"), headers={"Range": "bytes=0-5"}) as answer:
            assert await answer.read() == b"blocks"


@pytest.mark.parametrize("portals", [("192.0.2.1", "[2001:db8::1]", "192.0.2.2:3261")])
async def test_portals_are_shown_as_given(
    http: aiohttp.ClientSession, tmp_path: Path, portals: tuple[str, ...]
) -> None:
    async with running_server(tmp_path, portals=portals) as server:
        assert iscsi(await make_lun(http, server, "vol"))["portals"] == list(portals)
        assert san(server)[0]["portals"] == ["192.0.2.1:3260", "[2001:db8::1]:3260", "192.0.2.2:3261"]


async def test_the_program_serves_until_it_is_told_to_stop(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    words = ("--state", str(tmp_path), "--listen", "127.0.0.1:0", "--no-tls", "--root", "store")
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.cdmi_server", *words, stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    assert program.stdout
    ready = json.loads(await program.stdout.readline())
    assert ready["ca_file"] is None
    assert ready["url"].endswith("/store/")
    async with http.get(ready["url"], headers=VERSION) as answer:
        assert answer.status == 200
    program.send_signal(signal.SIGTERM)
    assert await program.wait() == 0
