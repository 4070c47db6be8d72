"""Looking at objects, changing their metadata, deleting them: on servers of every version, and on odd ones."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi.formats import format_of
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.unit.test_cdmi_client import BODY, at_once, client_of, serving
from tests.unit.test_cdmi_matrix import lab

OBJECT: dict[str, Any] = {
    "objectType": "application/cdmi-object",
    "objectID": "45234",
    "objectName": "a",
    "metadata": {},
}


@pytest.mark.parametrize("name", DIALECTS)
async def test_an_object_in_every_version(tmp_path: Path, name: str) -> None:
    async with lab(tmp_path, name) as here:
        source = f"{here.url}pool/one/disk.img"
        found = await here.client.stat(source)
        assert (found.kind, found.name, found.size, found.format) == ("dataobject", "disk.img", 77, "raw")
        assert found.object_id == here.image["objectID"]
        assert (found.times["created"] or "").endswith("Z")
        await here.client.change(source, {"colour": "red", "note": "x"})
        await here.client.change(source, {"colour": "blue", "note": None, "never": None})
        assert (await here.client.stat(source)).metadata["colour"] == "blue"
        assert "note" not in (await here.client.stat(source)).metadata
        await here.client.delete(source, pause=at_once)
        await here.client.delete(source, pause=at_once)
        with pytest.raises(Problem) as caught:
            await here.client.stat(source)
        assert caught.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_lun_in_every_version(tmp_path: Path, name: str) -> None:
    async with lab(tmp_path, name) as here:
        found = await here.client.stat(f"{here.url}vol1")
        assert (found.kind, found.size, found.format) == ("container", 1 << 20, None)
        await here.client.change(found.uri, {"note": "kept"})
        assert (await here.client.resolve(found.uri)).exports[0].usable, "its metadata and exports stay"
        assert (await here.client.stat(found.uri)).size == 1 << 20
        await here.client.delete(found.uri, pause=at_once)
        with pytest.raises(Problem):
            await here.client.stat(f"{here.url}vol1")


async def test_a_container_with_others_in_it_is_not_deleted(tmp_path: Path) -> None:
    async with lab(tmp_path, "1.1") as here:
        with pytest.raises(Problem, match="has 1 objects in it") as caught:
            await here.client.delete(f"{here.url}pool", pause=at_once)
        assert caught.value.code is Code.CONFLICT
        await here.client.delete(f"{here.url}pool/one/disk.img", pause=at_once)
        for container in ("pool/one", "pool"):
            await here.client.delete(here.url + container, pause=at_once)


async def test_one_that_does_not_say_what_is_in_it_is_not_deleted() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.json_response({"objectType": "application/cdmi-container", "objectID": "45234"})

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match="perhaps others"):
            await client.delete(f"{url}cdmi_objectid/45234", pause=at_once)
    assert set(asked) == {"GET"}


@pytest.mark.parametrize(
    ("status", "fine"), [(200, True), (202, True), (204, True), (404, True), (403, False), (302, False)]
)
async def test_what_a_server_answers_to_a_delete(status: int, fine: bool) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        if request.method == "DELETE":
            return web.Response(status=status)
        return web.Response(status=404) if fine and "DELETE" in asked else web.json_response(OBJECT)

    async with serving(answer) as url, client_of(url) as client:
        if fine:
            await client.delete(f"{url}cdmi_objectid/45234", pause=at_once)
            return
        with pytest.raises(Problem, match=str(status)):
            await client.delete(f"{url}cdmi_objectid/45234", pause=at_once)


async def test_an_object_that_hides_its_id_while_it_is_deleted_is_there_still() -> None:
    """Nothing says then that it is another one."""
    deleted = False

    async def answer(request: web.Request) -> web.Response:
        nonlocal deleted
        there = {name: value for name, value in OBJECT.items() if name != "objectID" or not deleted}
        deleted = deleted or request.method == "DELETE"
        return web.json_response(there, status=202 if request.method == "DELETE" else 200)

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match=r"a/? \(45234\) is still there after a DELETE"):
            await client.delete(f"{url}a", pause=at_once)


@pytest.mark.parametrize(
    ("children", "gone"), [(["b"], True), ([], False), (["cdmi_snapshots/"], False), (None, False)]
)
async def test_the_folder_of_what_is_in_it_is_not_what_was_deleted(children: list[str] | None, gone: bool) -> None:
    """Object stores show one, without an ID, where something is below."""
    deleted = False

    async def answer(request: web.Request) -> web.Response:
        nonlocal deleted
        folder = {"objectType": "application/cdmi-container", "children": children}
        there, deleted = folder if deleted else OBJECT, deleted or request.method == "DELETE"
        return web.json_response(there, status=204 if request.method == "DELETE" else 200)

    async with serving(answer) as url, client_of(url) as client:
        if gone:
            await client.delete(f"{url}a", pause=at_once)
            return
        with pytest.raises(Problem, match="is still there after a DELETE"):
            await client.delete(f"{url}a", pause=at_once)


async def test_another_object_than_the_one_asked_for_is_neither_changed_nor_deleted() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.method == "GET"
        return web.json_response(OBJECT | {"objectID": "45235"})

    async with serving(answer) as url, client_of(url) as client:
        for work in (
            client.delete(f"{url}cdmi_objectid/45234", pause=at_once),
            client.change(f"{url}cdmi_objectid/45234", {"a": "b"}),
        ):
            with pytest.raises(Problem, match="was asked for the object 45234"):
                await work


class Keeper:
    """One object, whose metadata is replaced as a whole: the server does not know how to change an item."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {"cdmi_assignedsize": "1048576", "cdmi_size": "5", "mine": "1", "odd": 7}
        self.sent: list[dict[str, Any]] = []
        self.deaf = False

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(
                BODY | {"metadata": self.metadata}, headers={"X-CDMI-Specification-Version": "1.1.1"}
            )
        body = await request.json()
        self.sent.append(body)
        if not self.deaf:
            self.metadata = body["metadata"]
        return web.Response(status=204)


async def test_a_server_that_replaces_all_metadata_loses_none_of_it() -> None:
    keeper = Keeper()
    async with serving(keeper.answer) as url, client_of(url) as client:
        await client.change(f"{url}cdmi_objectid/45234", {"colour": "red", "mine": None})
    assert keeper.metadata == {"cdmi_assignedsize": "1048576", "odd": 7, "colour": "red"}


async def test_a_server_that_ignores_a_change_is_found_out() -> None:
    keeper = Keeper()
    keeper.deaf = True
    async with serving(keeper.answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match=r"metadata.colour .* is not what was written") as caught:
            await client.change(f"{url}cdmi_objectid/45234", {"colour": "red"})
    assert caught.value.code is Code.CDMI_REFUSED


@pytest.mark.parametrize(
    ("metadata", "field", "value"),
    [
        ({"cdmi_size": 5}, "size", 5),
        ({"cdmi_ctime": "2026-11-22T13:17:49"}, "times", "2026-11-22T13:17:49Z"),
        ({"cdmi_ctime": "2026-11-22T13:17:49.123456Z"}, "times", "2026-11-22T13:17:49.123456Z"),
        ({"cdmi_ctime": "2026-11-22T13:17:49+01:00"}, "times", "2026-11-22T13:17:49+01:00"),
        ({"cdmi_ctime": "never"}, "times", None),
        ({"cdmi_hash": "ABCDEF0123", "cdmi_value_hash": "SHA256"}, "hash", ("SHA256", "abcdef0123")),
        ({"cdmi_hash": "zz"}, "hash", None),
        ({"x\x1b": "1", "y": "\x1b", "z": ["1"], "b": True}, "metadata", {"y": "\\x1b", "b": "True"}),
        ([], "metadata", {}),
    ],
)
async def test_metadata_of_odd_servers(metadata: Any, field: str, value: object) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(OBJECT | {"metadata": metadata})

    async with serving(answer) as url, client_of(url) as client:
        found = getattr(await client.stat(f"{url}a"), field)
    assert (found["created"] if field == "times" else found) == value


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "raw"),
        (b"\0" * 512, "raw"),
        (b"QFI\xfb\0\0\0\3", "qcow2"),
        (b"KDMV", "vmdk"),
        (b"# Disk DescriptorFile\n", "vmdk"),
        (b"\0" * 64 + b"\x7f\x10\xda\xbe", "vdi"),
        (b"\0" * 32769 + b"CD001", "iso"),
        (gzip.compress(b"x", mtime=0), "gzip"),
    ],
)
def test_formats_by_their_first_bytes(head: bytes, name: str) -> None:
    assert format_of(head) == name


@pytest.mark.parametrize(
    ("status", "headers", "wanted"),
    [
        (206, {}, "qcow2"),
        (200, {}, "qcow2"),
        (200, {"Content-Encoding": "gzip"}, None),
        (302, {"Location": "http://169.254.169.254/"}, None),
        (403, {}, None),
    ],
)
async def test_the_first_bytes_are_a_hint_and_bounded(status: int, headers: dict[str, str], wanted: str | None) -> None:
    ranges: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if "Accept" in request.headers and "cdmi" in request.headers["Accept"]:
            return web.json_response(OBJECT)
        ranges.append(request.headers["Range"])
        return web.Response(status=status, body=b"QFI\xfb" + b"\0" * (8 << 20), headers=headers)

    async with serving(answer) as url, client_of(url) as client:
        assert (await client.stat(f"{url}a")).format == wanted
    assert ranges == ["bytes=0-65535"]
