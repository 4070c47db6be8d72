"""From a data object to the file behind it: the containers above, in the spellings of all versions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from agent.cdmi.choose import choose
from agent.cdmi.client import CdmiClient
from agent.cdmi.climb import MAX_CLIMB
from agent.cdmi.server import Server
from agent.cdmi.wire import Limits
from agent.model import Resolved
from attachers.problems import Code, Problem
from tests.unit.test_cdmi_client import LOCAL, serving
from tests.unit.test_cdmi_nfs_export import V2_0

EXPORT = {"1": V2_0 | {"path": "127.0.0.7:/srv/images"}}
IMAGE: dict[str, Any] = {
    "objectType": "application/cdmi-object",
    "objectID": "IMAGE",
    "objectName": "disk.img",
    "parentURI": "/pool/one/",
    "metadata": {"cdmi_size": "4096"},
}
TREE: dict[str, dict[str, Any]] = {
    "": {"objectName": "", "exports": {}},
    "pool/": {"objectID": "POOL", "objectName": "pool/", "parentURI": "/", "exports": EXPORT},
    "pool/one/": {"objectID": "ONE", "objectName": "one/", "parentURI": "/pool/", "exports": {}},
    "pool/one/disk.img": IMAGE,
}
PLAN = {"server": "127.0.0.7", "export": "/srv/images", "path": "one/disk.img", "version": "4"}


class Tree:
    """A CDMI server of a few objects, by path and by ID, that is asked and remembers it."""

    def __init__(self, root: str = "", changes: dict[str, dict[str, Any]] | None = None) -> None:
        self.root = root
        self.objects = {path: body | (changes or {}).get(body.get("objectID", ""), {}) for path, body in TREE.items()}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        path = unquote(request.raw_path.partition("?")[0]).removeprefix("/").removeprefix(self.root)
        self.asked.append(path)
        wanted = path.removeprefix("cdmi_objectid/").removesuffix("/")
        if path != wanted and path.startswith("cdmi_objectid/"):
            found = [p for p, body in self.objects.items() if body.get("objectID") == wanted]
            path = found[0] if found and found[0].endswith("/") == path.endswith("/") else "none"
        if path not in self.objects:
            return web.Response(status=404)
        body = {name: value for name, value in self.objects[path].items() if value is not None}
        return web.json_response(body)


@asynccontextmanager
async def client_for(tree: Tree, **values: Any) -> AsyncIterator[tuple[CdmiClient, str]]:
    async with serving(tree.answer) as origin:
        url = origin + tree.root
        limits = values.pop("limits", None)
        server = Server(url, allow_http=True, storage_networks=LOCAL, **values)
        client = CdmiClient([server], protocols=("iscsi", "nfs"), limits=limits)
        try:
            yield client, url
        finally:
            await client.close()


async def resolved(tree: Tree, source: str = "cdmi_objectid/IMAGE", **values: Any) -> Resolved:
    async with client_for(tree, **values) as (client, url):
        found = await client.resolve(url + source)
        assert all(container.uri.startswith(url) for container in found.above)
        return found


def plan_of(found: Resolved) -> dict[str, Any]:
    plan = dict(choose(found, ("iscsi", "nfs")).plan or {})
    assert (plan.pop("size"), plan.pop("object_id")) == (4096, "IMAGE")
    return plan


@pytest.mark.parametrize("source", ["cdmi_objectid/IMAGE", "pool/one/disk.img"])
async def test_the_nearest_container_with_an_nfs_export_is_found(source: str) -> None:
    found = await resolved(Tree(), source)
    assert plan_of(found) == PLAN
    assert [container.says for container in found.above] == [
        "has no exports (or its ACL hides them)",
        "is the nearest container with a usable NFS export",
    ]
    assert found.exports[0].at.endswith("/pool/")


async def test_what_is_found_by_its_path_is_not_asked_for_again() -> None:
    tree = Tree()
    await resolved(tree, "pool/one/disk.img")
    assert tree.asked == ["pool/one/disk.img/", "pool/one/disk.img", "pool/one/", "pool/"]


@pytest.mark.parametrize("root", ["", "cdmi/", "cdmi/2.0.0/"])
@pytest.mark.parametrize("parent", ["/{root}pool/one/", "/pool/one/", "pool/one/", "pool/one", "cdmi_objectid/ONE/"])
async def test_parents_are_relative_to_the_root_or_not(root: str, parent: str) -> None:
    assert plan_of(await resolved(Tree(root, {"IMAGE": {"parentURI": parent.format(root=root)}}))) == PLAN


async def test_a_parent_may_be_a_whole_url() -> None:
    tree = Tree("cdmi/")
    async with client_for(tree) as (client, url):
        tree.objects["pool/one/disk.img"]["parentURI"] = f"{url}pool/one/"
        assert plan_of(await client.resolve(f"{url}cdmi_objectid/IMAGE")) == PLAN


async def test_without_parent_and_name_the_path_in_the_source_tells() -> None:
    nothing = {"parentURI": None, "objectName": None}
    tree = Tree(changes={"IMAGE": nothing, "ONE": nothing})
    assert plan_of(await resolved(tree, "pool/one/disk.img")) == PLAN


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"IMAGE": {"parentURI": None}}, "names no parentURI"),
        ({"IMAGE": {"objectName": None}}, "has no objectName"),
        ({"IMAGE": {"objectName": "../../etc/shadow"}}, "is a path"),
        ({"IMAGE": {"objectName": ".."}}, "is a path"),
        ({"IMAGE": {"parentURI": "/pool/../one/"}}, "a name '..' in it"),
        ({"IMAGE": {"parentURI": "/pool/%2e%2E/one/"}}, "a name '..' in it"),
        ({"IMAGE": {"parentURI": "/pool/%2fetc/"}}, "a name '/etc' in it"),
        ({"IMAGE": {"parentURI": "/pool/%00/"}}, "a name '\\x00' in it"),
        ({"IMAGE": {"parentURI": "/pool/\n/"}}, "a control character"),
        ({"IMAGE": {"parentURI": "/pool/?x"}}, "a query"),
        ({"IMAGE": {"parentURI": "http://169.254.169.254/pool/one/"}}, "leads away from this server"),
        ({"IMAGE": {"parentURI": "//elsewhere.example/pool/one/"}}, "leads away from this server"),
        ({"IMAGE": {"parentURI": "file:///etc/"}}, "leads away from this server"),
        ({"IMAGE": {"parentURI": "http://[/"}}, "is no URI"),
        ({"IMAGE": {"parentURI": 7}}, "is no URI"),
        ({"IMAGE": {"parentURI": "/" + "a" * 5000}}, "is no URI"),
        ({"IMAGE": {"parentURI": "/nowhere/"}}, "was answered with 404"),
        ({"IMAGE": {"parentURI": "/pool/one/disk.img"}}, "was answered with 404"),
        ({"ONE": {"objectType": "application/cdmi-object"}}, "is named as a container, and is none"),
        ({"ONE": {"completionStatus": "Error: no space"}}, "could not be made"),
        ({"ONE": {"parentURI": "/pool/one/"}}, "leads in a circle"),
        ({"ONE": {"exports": "x"}}, "is not an object of export entries"),
    ],
)
async def test_a_way_up_that_ends_is_explained(changes: dict[str, dict[str, Any]], word: str) -> None:
    found = await resolved(Tree(changes=changes))
    assert word in found.above[-1].says
    with pytest.raises(Problem) as caught:
        choose(found, ("iscsi", "nfs"))
    assert caught.value.code is Code.NO_USABLE_EXPORT
    assert word in caught.value.detail
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"IMAGE": {"objectName": "other.img"}}, "the object IMAGE is not at one/other.img below it"),
        ({"IMAGE": {"parentURI": "/pool/"}}, "the object IMAGE is not at disk.img below it"),
        ({"ONE": {"objectName": "two/"}}, "the object IMAGE is not at two/disk.img below it"),
    ],
)
async def test_a_path_that_is_not_the_objects_is_not_used(changes: dict[str, dict[str, Any]], word: str) -> None:
    tree = Tree(changes=changes)
    tree.objects["pool/one/other.img"] = IMAGE | {"objectID": "OTHER"}
    tree.objects["pool/disk.img"] = IMAGE | {"objectID": "OTHER"}
    found = await resolved(tree)
    assert not any(entry.usable for entry in found.exports)
    assert word in found.exports[0].reason
    with pytest.raises(Problem, match=word):
        choose(found, ("nfs",))


async def test_an_object_without_an_id_has_to_be_where_it_was_found() -> None:
    tree = Tree(changes={"IMAGE": {"objectID": None}})
    found = await resolved(tree, "pool/one/disk.img")
    assert found.exports[0].usable
    tree.objects["pool/one/disk.img"]["parentURI"] = "/pool/"
    found = await resolved(tree, "pool/one/disk.img")
    assert "the object has no objectID" in found.exports[0].reason


async def test_an_export_that_cannot_be_used_does_not_end_the_climb() -> None:
    exports = {"a": V2_0 | {"protocol": "NFSv3"}, "Network/iSCSI": {"portals": ["127.0.0.1"]}}
    found = await resolved(Tree(changes={"ONE": {"exports": exports}}))
    assert plan_of(found) == PLAN
    assert [(entry.key, entry.usable) for entry in found.exports] == [
        ("a", False),
        ("Network/iSCSI", False),
        ("1", True),
    ]
    assert "NFS version 3" in found.exports[0].reason
    assert "as a whole, and not this object" in found.exports[1].reason
    assert found.above[0].says == "has no NFS export that can be used"


async def test_the_server_of_an_export_without_one_is_configured_or_the_cdmi_host() -> None:
    tree = Tree(changes={"POOL": {"exports": {"1": V2_0}}})
    assert plan_of(await resolved(tree))["server"] == "127.0.0.1"
    assert plan_of(await resolved(tree, nfs_server="127.0.0.9"))["server"] == "127.0.0.9"


async def test_a_climb_is_bounded() -> None:
    tree = Tree()
    for depth in range(MAX_CLIMB + 5):
        tree.objects["d/" * (depth + 1)] = {"objectName": "d/", "exports": {}}
    tree.objects["d/" * (MAX_CLIMB + 5) + "disk.img"] = IMAGE | {"parentURI": None}
    found = await resolved(tree, "d/" * (MAX_CLIMB + 5) + "disk.img")
    assert len(found.above) == MAX_CLIMB + 1
    assert f"is {MAX_CLIMB} containers above" in found.above[-1].says


async def test_a_climb_that_takes_too_long_is_given_up() -> None:
    over = asyncio.Event()

    class Slow(Tree):
        async def answer(self, request: web.Request) -> web.Response:
            if request.path.endswith("/pool/"):
                await over.wait()
            return await super().answer(request)

    async with client_for(Slow(), limits=Limits(total_s=0.2)) as (client, url):
        with pytest.raises(Problem) as caught:
            await client.resolve(f"{url}cdmi_objectid/IMAGE")
        over.set()
    assert (caught.value.code, caught.value.status) == (Code.CDMI_UNREACHABLE, 504)


async def test_fields_are_asked_for_and_the_whole_where_that_is_refused() -> None:
    queries: list[str] = []

    class Picky(Tree):
        async def answer(self, request: web.Request) -> web.Response:
            queries.append(request.query_string)
            return web.Response(status=406) if request.query_string else await super().answer(request)

    assert plan_of(await resolved(Picky())) == PLAN
    assert any("exports" in query for query in queries)
