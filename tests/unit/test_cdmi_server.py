"""Conversations with the CDMI server over real HTTP."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.cdmi_server import objectid
from tests.cdmi_server.runner import ServerHandle, running_server

VERSION = {"X-CDMI-Specification-Version": "1.1.1"}
CONTAINER = {**VERSION, "Content-Type": "application/cdmi-container"}
OBJECT = {**VERSION, "Content-Type": "application/cdmi-object"}
HOST1, HOST2 = "iqn.2010-01.com.acme:host1", "iqn.2010-01.com.acme:host2"
MIB = 1 << 20


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerHandle]:
    async with running_server(tmp_path) as handle:
        yield handle


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def at(server: ServerHandle, path: str) -> URL:
    return URL(server.url + path, encoded=True)


def exports(*initiators: str) -> dict[str, Any]:
    return {"Network/iSCSI": {"permissions": list(initiators)}}


async def put(http: aiohttp.ClientSession, server: ServerHandle, path: str, body: object, *, status: int = 201) -> Any:
    """PUT a CDMI body: a container where the path ends with a slash; return the answer's JSON, if any."""
    headers = CONTAINER if path.partition("?")[0].endswith("/") else OBJECT
    async with http.put(at(server, path), data=json.dumps(body), headers=headers) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return json.loads(text) if text else None


async def get(http: aiohttp.ClientSession, server: ServerHandle, path: str, *, status: int = 200) -> Any:
    async with http.get(at(server, path), headers=VERSION) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def make_lun(
    http: aiohttp.ClientSession, server: ServerHandle, name: str, *initiators: str, **metadata: str
) -> Any:
    body = {"metadata": {"cdmi_assignedsize": str(MIB), **metadata}, "exports": exports(*initiators)}
    return await put(http, server, f"{name}/", body)


def san(server: ServerHandle) -> list[dict[str, Any]]:
    luns: list[dict[str, Any]] = json.loads((server.state / "san.json").read_text())["luns"]
    return luns


@pytest.mark.parametrize(
    "text",
    ["00007ED90010D891022876A8DE0BC0FD", "00007E7F00104BE66AB53A9572F9F51E", objectid.new()],
    ids=["specification", "another", "ours"],
)
def test_object_ids_of_the_specification_are_valid(text: str) -> None:
    assert objectid.is_valid(text)
    assert objectid.is_valid(text.lower())
    assert not objectid.is_valid(text[:-1] + ("0" if text[-1] != "0" else "1"))


def test_crc_is_that_of_the_specification() -> None:
    assert objectid.crc16(b"123456789") == 0xBB3D


async def test_a_new_container_has_all_fields(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    made = await put(http, server, "images/", {"metadata": {"colour": "red"}})
    assert objectid.is_valid(made["objectID"])
    assert made["objectName"] == "images/"
    assert made["parentURI"] == "/"
    assert made["parentID"] == server.store.root.id
    assert made["completionStatus"] == "Complete"
    assert made["metadata"]["colour"] == "red"
    assert "exports" not in made
    assert list(made)[-1] == "children"
    assert made == await get(http, server, "images/")
    assert (await get(http, server, ""))["children"] == ["images/"]


async def test_objects_are_found_by_id_and_below_an_id(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    made = await put(http, server, "images/", {})
    await put(http, server, f"cdmi_objectid/{made['objectID']}/a.txt", {"value": "hello"})
    by_path = await get(http, server, "images/a.txt")
    assert by_path["value"] == "hello"
    assert by_path == await get(http, server, f"cdmi_objectid/{made['objectID'].lower()}/a.txt")
    assert by_path == await get(http, server, f"cdmi_objectid/{by_path['objectID']}")
    await get(http, server, "cdmi_objectid/00007ED90010D891022876A8DE0BC0FD", status=404)


async def test_a_container_without_its_slash_is_redirected(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await put(http, server, "images/", {})
    async with http.get(at(server, "images?exports"), headers=VERSION, allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"] == f"{server.url}images/?exports"
    async with http.put(at(server, "other"), data="{}", headers=CONTAINER) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("objectID", {"objectID"}),
        ("objectID;metadata:col", {"objectID", "metadata"}),
        ("children:1-1;childrenrange", {"children", "childrenrange"}),
        ("exports", set()),
        ("nonsense", set()),
    ],
)
async def test_fields_can_be_chosen(
    http: aiohttp.ClientSession, server: ServerHandle, query: str, fields: set[str]
) -> None:
    await put(http, server, "c/", {"metadata": {"colour": "red", "size": "xl"}})
    for name in "abc":
        await put(http, server, f"c/{name}", {})
    body = await get(http, server, f"c/?{query}")
    assert set(body) == fields
    assert body.get("metadata", {"colour": "red"}) == {"colour": "red"}
    assert body.get("children", ["b"]) == ["b"]
    assert body.get("childrenrange", "1-1") == "1-1"


async def test_values_go_in_and_out_through_cdmi(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    raw = bytes(range(256))
    body = {"value": base64.b64encode(raw).decode(), "valuetransferencoding": "base64", "mimetype": "a/b"}
    made = await put(http, server, "blob", body)
    assert "value" not in made
    whole = await get(http, server, "blob")
    assert (whole["valuerange"], whole["mimetype"], whole["metadata"]["cdmi_size"]) == ("0-255", "a/b", "256")
    assert base64.b64decode(whole["value"]) == raw
    part = await get(http, server, "blob?valuerange;value:16-31")
    assert part == {"valuerange": "16-31", "value": base64.b64encode(raw[16:32]).decode()}
    await put(http, server, "blob?value:0-1", {"value": base64.b64encode(b"xy").decode()}, status=204)
    assert base64.b64decode((await get(http, server, "blob"))["value"]) == b"xy" + raw[2:]


async def test_values_go_in_and_out_through_plain_http(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    headers = {"Content-Type": "text/plain;charset=utf-8"}
    async with http.put(at(server, "a.txt"), data=b"hello world", headers=headers) as answer:
        assert answer.status == 201
    async with http.put(at(server, "a.txt"), data=b"W", headers={"Content-Range": "bytes 6-6/*"}) as answer:
        assert answer.status == 204
    async with http.get(at(server, "a.txt")) as answer:
        assert (answer.status, await answer.read()) == (200, b"hello World")
        assert answer.headers["Content-Type"] == "text/plain;charset=utf-8"
    async with http.get(at(server, "a.txt"), headers={"Range": "bytes=-5"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"World")
        assert answer.headers["Content-Range"] == "bytes 6-10/11"
    async with http.get(at(server, "a.txt"), headers={"Range": "bytes=11-"}) as answer:
        assert answer.status == 416
    async with http.head(at(server, "a.txt")) as answer:
        assert answer.headers["Content-Length"] == "11"
    assert (await get(http, server, "a.txt"))["value"] == "hello World"


async def test_metadata_is_replaced_or_changed_by_item(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await put(http, server, "c/", {"metadata": {"a": "1", "b": "2"}})
    await put(http, server, "c/?metadata:b", {"metadata": {"b": "3"}}, status=204)
    assert (await get(http, server, "c/?metadata:b"))["metadata"] == {"b": "3"}
    assert (await get(http, server, "c/?metadata:a"))["metadata"] == {"a": "1"}
    await put(http, server, "c/", {"metadata": {"d": "4"}}, status=204)
    assert not {"a", "b"} & set((await get(http, server, "c/"))["metadata"])


async def test_delete_takes_everything_below(http: aiohttp.ClientSession, server: ServerHandle) -> None:
    await put(http, server, "c/", {})
    await put(http, server, "c/a", {"value": "x"})
    await make_lun(http, server, "c/lun", HOST1)
    async with http.delete(at(server, "c/")) as answer:
        assert answer.status == 204
    await get(http, server, "c/", status=404)
    assert san(server) == []
    assert list((server.state / "values").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("c/", {"move": "/d/"}, 404),
        ("c/", {"copy": "/d/"}, 404),
        ("c/", {"nonsense": 1}, 400),
        ("c/", {"metadata": []}, 400),
        ("c/", {"metadata": {"cdmi_assignedsize": "1000"}}, 400),
        ("c/", {"metadata": {"cdmi_assignedsize": 1024}}, 400),
        ("c/", {"exports": exports()}, 400),
        ("c/", {"metadata": {"cdmi_assignedsize": "1024"}, "exports": {"nfs": {}}}, 400),
        ("c/", {"metadata": {"cdmi_assignedsize": "1024"}, "exports": exports("nobody")}, 400),
        ("cdmi_mine/", {}, 400),
        ("missing/c/", {}, 404),
        ("a", {"value": 5}, 400),
        ("a", {"value": "?", "valuetransferencoding": "base64"}, 400),
    ],
)
async def test_what_cannot_be_made_is_refused(
    http: aiohttp.ClientSession, server: ServerHandle, path: str, body: object, status: int
) -> None:
    answer = await put(http, server, path, body, status=status)
    assert answer["error"]
    assert server.store.children(server.store.root) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "application/cdmi-container"}, 400),
        ({"X-CDMI-Specification-Version": "2.0, 1.0.2"}, 400),
        ({"X-CDMI-Specification-Version": "1.0.2, 1.1, 1.1.1"}, 200),
        ({**VERSION, "Accept": "application/cdmi-container+json;q=0.9, text/html"}, 200),
        ({**VERSION, "Accept": "application/cdmi-object"}, 406),
        ({}, 400),
    ],
)
async def test_version_and_type_are_negotiated(
    http: aiohttp.ClientSession, server: ServerHandle, headers: dict[str, str], status: int
) -> None:
    async with http.get(server.url, headers=headers) as answer:
        assert answer.status == status
        if status == 200:
            assert answer.headers["X-CDMI-Specification-Version"] == "1.1.1"
            assert answer.headers["Content-Type"] == "application/cdmi-container"


async def test_capabilities_say_what_there_is(
    http: aiohttp.ClientSession, server: ServerHandle, tmp_path: Path
) -> None:
    assert (await get(http, server, "cdmi_capabilities/"))["capabilities"]["cdmi_export_iscsi"] == "true"
    container = await get(http, server, "cdmi_capabilities/container/?capabilities")
    assert container["capabilities"]["cdmi_export_container_iscsi"] == "true"
    await get(http, server, "cdmi_capabilities/queue/", status=404)
    async with running_server(tmp_path / "bare", targets="none") as bare:
        assert "cdmi_export_iscsi" not in (await get(http, bare, "cdmi_capabilities/"))["capabilities"]
        body = {"metadata": {"cdmi_assignedsize": "1024"}, "exports": exports()}
        await put(http, bare, "lun/", body, status=400)


async def test_a_password_is_asked_for(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    right, wrong = (
        {**VERSION, "Authorization": f"Basic {base64.b64encode(text).decode()}"} for text in (b"me:secret", b"me:no")
    )
    async with running_server(tmp_path, user="me", password="secret") as server:
        for path in (server.url, f"{server.origin}/.faults"):
            async with http.get(path, headers=VERSION) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic")
            async with http.get(path, headers=wrong) as answer:
                assert answer.status == 401
            async with http.get(path, headers=right) as answer:
                assert answer.status == 200


async def test_tls_is_served_with_an_authority_of_its_own(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with running_server(tmp_path, tls=True) as server:
        trusting = ssl.create_default_context(cafile=server.ca_file)
        async with http.get(server.url, headers=VERSION, ssl=trusting) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(server.url, headers=VERSION)
        first = server.ca_file and server.ca_file.read_bytes()
    async with running_server(tmp_path, tls=True) as server:
        assert server.ca_file
        assert server.ca_file.read_bytes() == first
