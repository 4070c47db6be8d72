"""What tells that a container is not as its snapshot is, and that a server copies none."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from attachers.problems import Code, Problem
from tests.unit.test_cdmi_client import client_of, serving

POOL, KEPT = "/pool/", "/pool/cdmi_snapshots/monday/"
LUN: dict[str, Any] = {"metadata": {"cdmi_assignedsize": "1024"}, "children": []}


def file(size: int, **metadata: str) -> dict[str, Any]:
    return {"metadata": {"cdmi_size": str(size), **metadata}}


def folder(*children: str) -> dict[str, Any]:
    return {"children": list(children), "metadata": {}}


@dataclass
class Shelf:
    """A server of CDMI 1.1 that answers with these members, and of data objects with these first bytes."""

    there: dict[str, dict[str, Any]]
    heads: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.method)
        place = request.path
        if request.method != "GET":
            return web.Response(status=204)
        if place not in self.there:
            return web.Response(status=404)
        if "X-CDMI-Specification-Version" not in request.headers:
            return web.Response(body=self.heads.get(place, b"x" * 16))
        kind = "container" if place.endswith("/") else "object"
        body = {"objectType": f"application/cdmi-{kind}", "objectID": f"{len(place):08X}"} | self.there[place]
        return web.Response(body=json.dumps(body).encode(), headers={"X-CDMI-Specification-Version": "1.1.1"})


A, KEPT_A = f"{POOL}a", f"{KEPT}a"
SAME: dict[str, dict[str, Any]] = {POOL: folder("a", "b/"), KEPT: folder("a", "b/"), A: file(16), KEPT_A: file(16)}


@pytest.mark.parametrize(
    ("changes", "heads", "said"),
    [
        ({}, {}, ""),
        ({POOL: folder("a", "b/", "cdmi_snapshots/")}, {}, ""),
        ({POOL: folder("b/")}, {}, "a is in its snapshot alone"),
        ({POOL: folder("a", "b/", "new")}, {}, "new is in it alone"),
        ({A: file(17)}, {}, "a in it is not what it was: it has 17 bytes, and not 16"),
        ({}, {A: b"y" * 16}, "a in it is not what it was: it begins with other bytes"),
        ({A: {"metadata": {}}}, {}, ""),
        ({POOL: {"metadata": {}}}, {}, ""),
        ({POOL: LUN, KEPT: LUN}, {}, ""),
        ({POOL: LUN, KEPT: {**LUN, "metadata": {"cdmi_assignedsize": "2048"}}}, {}, "it has 1024 bytes, and its snap"),
        ({POOL: LUN, KEPT: folder("x")}, {}, ""),
    ],
)
async def test_what_tells_that_a_container_is_not_as_its_snapshot(
    changes: dict[str, Any], heads: dict[str, bytes], said: str
) -> None:
    async with serving(Shelf(SAME | changes, heads)) as url, client_of(url) as client:
        why = await client.unlike(f"{url}pool/", "monday")
    assert why.startswith(said) and bool(why) == bool(said)


async def test_a_snapshot_that_is_not_there_any_more_tells_nothing() -> None:
    async with serving(Shelf({POOL: LUN})) as url, client_of(url) as client:
        assert await client.unlike(f"{url}pool/", "monday") == ""


async def test_children_that_only_one_can_read_tell_nothing() -> None:
    there = {place: members for place, members in SAME.items() if place != A}
    async with serving(Shelf(there)) as url, client_of(url) as client:
        assert await client.unlike(f"{url}pool/", "monday") == ""


SAYS = {"yes": {"cdmi_copy_container": "true"}, "no": {"cdmi_copy_container": "false"}, "nothing": {}}


@pytest.mark.parametrize(
    ("lun", "parent", "done"), [("no", "yes", True), ("no", "nothing", True), ("no", "", True), ("yes", "no", False)]
)
async def test_into_what_says_that_no_containers_are_copied_there_none_is(lun: str, parent: str, done: bool) -> None:
    """The parent of what is made says so; what a LUN says of itself is of no matter, for a restore as well."""
    at = {who: f"/cdmi_capabilities/container/{who}/" for who in ("lun", "parent")}
    there = {POOL: LUN | {"capabilitiesURI": at["lun"]}, KEPT: LUN, at["lun"]: {"capabilities": SAYS[lun]}}
    if parent:
        there |= {"/": folder("pool/") | {"capabilitiesURI": at["parent"]}}
        there |= {at["parent"]: {"capabilities": SAYS[parent]}}
    shelf = Shelf(there)
    async with serving(shelf) as url, client_of(url) as client:
        copied = client.copy(f"{url}pool/", f"{url}new", size=None, metadata={}, mark="m")
        if done:
            await copied
        else:
            with pytest.raises(Problem, match="says that no containers are copied into") as caught:
                await copied
            assert caught.value.code is Code.CDMI_REFUSED
        assert ("PUT" in shelf.asked) is done
        shelf.asked.clear()
        await client.restore(f"{url}pool/", "monday")
        assert {"PUT", "PATCH"} & {*shelf.asked}
