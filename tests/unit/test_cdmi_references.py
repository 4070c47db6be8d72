"""References, and other redirects: what is named is changed or deleted, and never what it leads to."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi import deleting
from agent.cdmi.answers import DanglingError
from agent.cdmi.client import CdmiClient
from attachers.problems import Code, Problem
from tests.unit.test_cdmi_client import at_once, client_of, serving

GOLDEN, POOL = "00007ED90010D891022876A8DE0BC0FD", "00007E7F00104BE66AB53A9572F9F51E"
IMAGE, LINK, LUN = "/images/golden.img", "/vms/link", "/vol1/"


@dataclass
class Tree:
    """A server of CDMI 1.1 with a data object, a LUN, and references to them; `moved`: IDs lead to their paths.

    `deaf`: how a DELETE goes wrong: "nothing" is deleted, or the "target" of a reference, or "both".
    `later`: how many looks find what was deleted there still; a DELETE is then answered with 202.
    `odd`: the statuses of the looks at it meanwhile, 0: the connection breaks; then `tomb` is that of what is gone.
    """

    objects: dict[str, str] = field(default_factory=lambda: {IMAGE: GOLDEN, LUN: POOL})
    references: dict[str, str] = field(default_factory=lambda: {LINK: IMAGE, "/vms/lun/": LUN, "/vms/gone": "/none"})
    moved: bool = False
    deaf: str = ""
    later: int = 0
    odd: list[int] = field(default_factory=list)
    tomb: int = 404
    going: str = ""
    log: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        place = request.path
        for path, object_id in self.objects.items():
            if place.rstrip("/") == f"/cdmi_objectid/{object_id}":
                if self.moved:
                    return self._to(request, path)
                place = path
        if request.method != "GET":
            self.log.append(f"{request.method} {request.path}")
        if request.method == "DELETE":
            return self._delete(place)
        if place == self.going:
            if self.odd:
                return self._fail(request, self.odd.pop(0))
            self._go_on(place)
        if place in self.references:
            return self._to(request, self.references[place])
        if place not in self.objects:
            return web.Response(status=self.tomb if place.rstrip("/") == self.going.rstrip("/") else 404)
        return self._get(request, place) if request.method == "GET" else web.Response(status=204)

    def _to(self, request: web.Request, path: str) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://{request.host}{path}"})

    def _fail(self, request: web.Request, status: int) -> web.Response:
        if not status and request.transport:
            request.transport.abort()
        return web.Response(status=status or 503)

    def _go_on(self, place: str) -> None:
        self.later -= 1
        if self.later <= 0:
            self.references.pop(place, self.objects.pop(place, None))

    def _delete(self, place: str) -> web.Response:
        there = place in self.objects or place in self.references
        if self.later:
            self.going = place
            return web.Response(status=202)
        target = self.references.get(place, place)
        if self.deaf in ("target", "both"):
            self.objects.pop(target, None)
        if self.deaf in ("", "both"):
            self.references.pop(place, self.objects.pop(place, None))
        return web.Response(status=204 if there else 404)

    def _get(self, request: web.Request, place: str) -> web.Response:
        if "X-CDMI-Specification-Version" not in request.headers:
            return web.Response(body=b"\0" * 512)
        kind, size = ("container", "cdmi_assignedsize") if place.endswith("/") else ("object", "cdmi_size")
        body: dict[str, Any] = {"objectType": f"application/cdmi-{kind}", "objectID": self.objects[place]}
        body |= {"objectName": place.rstrip("/").rpartition("/")[2], "metadata": {size: "512"}, "children": []}
        return web.Response(body=json.dumps(body).encode(), headers={"X-CDMI-Specification-Version": "1.1.1"})


async def piece() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(("name", "target"), [("vms/link", IMAGE), ("vms/lun", LUN), ("vms/lun/", LUN)])
async def test_a_reference_is_deleted_and_what_it_leads_to_stays(name: str, target: str) -> None:
    tree = Tree()
    async with serving(tree) as url, client_of(url) as client:
        seen = await client.stat(url + name)
        assert seen.reference and seen.object_id == tree.objects[target]
        await client.delete(url + name, object_id=seen.object_id, reference=True, pause=at_once)
        await client.delete(url + name, pause=at_once)
    assert tree.log == [f"DELETE {name if name == 'vms/link' else 'vms/lun/'}".replace(" ", " /")]
    assert set(tree.objects) == {IMAGE, LUN} and len(tree.references) == 2


async def test_a_reference_to_nothing_is_deleted_too() -> None:
    tree = Tree()
    async with serving(tree) as url, client_of(url) as client:
        with pytest.raises(DanglingError, match="is a reference, and what it leads to is not there"):
            await client.stat(f"{url}vms/gone")
        await client.delete(f"{url}vms/gone", pause=at_once)
    assert "/vms/gone" not in tree.references and set(tree.objects) == {IMAGE, LUN}


CHANGES: dict[str, Callable[[CdmiClient, str], Awaitable[object]]] = {
    "move": lambda client, url: client.move(f"{url}vms/link", f"{url}new"),
    "move onto one": lambda client, url: client.look(f"{url}vms/link"),
    "grow": lambda client, url: client.resize(f"{url}vms/link", 1024, shrink=False, pause=at_once),
    "shrink": lambda client, url: client.resize(f"{url}vms/lun", 256, shrink=True, pause=at_once),
    "restore": lambda client, url: client.restore(f"{url}vms/lun", "monday"),
    "snapshot": lambda client, url: client.snapshot(f"{url}vms/lun", "monday"),
    "metadata": lambda client, url: client.change(f"{url}vms/link", {"a": "b"}),
    "write": lambda client, url: client.write(f"{url}vms/link", piece(), length=1, replace=True, pause=at_once),
    "export": lambda client, url: client.export_like(f"{url}vol1", f"{url}vms/lun"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_nothing_is_changed_through_a_reference(change: Callable[[CdmiClient, str], Awaitable[object]]) -> None:
    tree = Tree(objects={IMAGE: GOLDEN, LUN: POOL, "/vms/lun/cdmi_snapshots/monday/": "45234"})
    async with serving(tree) as url, client_of(url) as client:
        with pytest.raises(Problem, match=r"/vms/(link|lun/) is a reference to .*(golden.img|vol1/)") as caught:
            await change(client, url)
    assert caught.value.code is Code.CONFLICT and not tree.log, "and nothing was asked for"


@pytest.mark.parametrize(("name", "word"), [("link", "is a reference to"), ("gone", "is a reference, and what")])
async def test_where_a_reference_is_there_is_something(name: str, word: str) -> None:
    tree = Tree()
    async with serving(tree) as url, client_of(url) as client:
        with pytest.raises(Problem, match=word):
            await client.look(f"{url}vms/{name}")
        with pytest.raises(Problem, match=word):
            await client.write(f"{url}vms/{name}", piece(), length=1, replace=True, pause=at_once)
    assert not tree.log


@pytest.mark.parametrize("moved", [False, True])
async def test_an_id_that_leads_to_its_path_is_no_reference(moved: bool) -> None:
    tree = Tree(moved=moved)
    async with serving(tree) as url, client_of(url) as client:
        found = await client.stat(f"{url}cdmi_objectid/{GOLDEN}")
        assert (found.reference, found.object_id) == ("", GOLDEN)
        await client.delete(found.uri, object_id=GOLDEN, reference=False, pause=at_once)
    assert set(tree.objects) == {LUN} and len(tree.references) == 3


@pytest.mark.parametrize(
    ("deaf", "name", "word"),
    [
        ("nothing", "images/golden.img", rf"golden.img \({GOLDEN}\) is still there after a DELETE \(204\)"),
        ("nothing", "vms/link", r"vms/link is still there after a DELETE \(204\)"),
        ("nothing", "vms/gone", r"vms/gone is still there after a DELETE \(204\)"),
        ("target", "vms/link", "a reference, and what it led to is gone instead"),
        ("both", "vms/link", "a reference, and what it led to went with it"),
    ],
)
async def test_a_server_that_deletes_something_else_is_told_of(deaf: str, name: str, word: str) -> None:
    async with serving(Tree(deaf=deaf)) as url, client_of(url) as client:
        with pytest.raises(Problem, match=word) as caught:
            await client.delete(url + name, pause=at_once)
    assert caught.value.code is Code.CDMI_REFUSED


@pytest.mark.parametrize("name", ["images/golden.img", "vms/link", "vms/gone", f"cdmi_objectid/{GOLDEN}", "vol1"])
async def test_what_is_only_to_be_deleted_is_waited_for(name: str) -> None:
    tree = Tree(later=4)
    async with serving(tree) as url, client_of(url) as client:
        await client.delete(url + name, pause=at_once)
        assert tree.later <= 0 and len(tree.objects) + len(tree.references) == 4
    assert len(tree.log) == 1, "asked for once"


@pytest.mark.parametrize("name", ["images/golden.img", "vms/link", "vms/gone", "vol1"])
@pytest.mark.parametrize("odd", [[503], [409, 500, 403], [0]])
async def test_a_look_that_fails_meanwhile_is_no_end_of_the_waiting(name: str, odd: list[int]) -> None:
    tree = Tree(later=2, odd=odd, tomb=410)
    async with serving(tree) as url, client_of(url) as client:
        await client.delete(url + name, pause=at_once)
        assert not tree.odd and len(tree.log) == 1 and len(tree.objects) + len(tree.references) == 4
        await client.delete(url + name, pause=at_once)  # of which only 410 is left
    assert len(tree.log) == 1


async def test_what_cannot_be_seen_until_the_end_is_told_with_what_the_last_look_said() -> None:
    tree = Tree(later=1, odd=[503] * 1000)
    async with serving(tree) as url, client_of(url) as client:
        with pytest.raises(Problem, match=r"not seen to be gone: .*answered 503") as caught:
            await client.delete(url + IMAGE[1:], pause=at_once)
    assert (caught.value.code, caught.value.status) == (Code.CDMI_REFUSED, 504)


async def test_it_is_waited_for_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long each look takes."""
    monkeypatch.setattr(deleting, "WITHIN_S", 0.0)
    tree = Tree(later=1000)
    async with serving(tree) as url, client_of(url) as client:
        with pytest.raises(Problem, match="still there"):
            await client.delete(url + IMAGE[1:], pause=at_once)
    assert tree.later == 1000 - 2


@pytest.mark.parametrize(
    ("name", "named"), [("images/golden.img", f"golden.img ({GOLDEN})"), ("vms/link", "link"), ("vms/gone", "gone")]
)
async def test_what_was_only_to_be_deleted_and_stays_is_told_of(name: str, named: str) -> None:
    async with serving(Tree(later=1000)) as url, client_of(url) as client:
        said = f"/{named} is still there after a DELETE (202, accepted, and not done)"
        with pytest.raises(Problem, match=re.escape(said)) as caught:
            await client.delete(url + name, pause=at_once)
    assert (caught.value.code, caught.value.status) == (Code.CDMI_REFUSED, 504)
    assert "repeat the request later" in caught.value.hint


async def test_what_took_the_place_of_what_was_seen_is_neither_deleted_nor_changed() -> None:
    tree = Tree()
    async with serving(tree) as url, client_of(url) as client:
        tree.objects[IMAGE] = "45235"
        for work in (
            client.delete(url + IMAGE[1:], object_id=GOLDEN, pause=at_once),
            client.move(url + IMAGE[1:], f"{url}new", object_id=GOLDEN),
            client.resize(url + IMAGE[1:], 1024, shrink=False, pause=at_once, object_id=GOLDEN),
        ):
            with pytest.raises(Problem, match=f"is 45235 by now, and not {GOLDEN}") as caught:
                await work
            assert caught.value.code is Code.CONFLICT
        tree.references, tree.objects[LINK] = {}, GOLDEN
        with pytest.raises(Problem, match="was a reference, or is one by now"):
            await client.delete(url + LINK[1:], object_id=GOLDEN, reference=True, pause=at_once)
    assert not tree.log


async def test_a_change_that_is_redirected_to_another_object_is_refused() -> None:
    """What was an object when it was looked at is a reference when it is changed."""
    looks: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        looks.append(f"{request.method} {request.path}")
        if request.method == "GET":
            return await Tree()(request)
        return web.Response(status=302, headers={"Location": f"http://{request.host}/vol2/"})

    async with serving(answer) as url, client_of(url) as client:
        with pytest.raises(Problem, match=r"is redirected to .*vol2/.*, which may be another"):
            await client.resize(f"{url}vol1", 1024, shrink=False, pause=at_once)
    assert not [look for look in looks if "vol2" in look]
