"""What is above an object: known in every spelling, whichever way it was asked for."""

from typing import Any

import pytest

from tests.unit.test_cdmi_climb import TREE, Tree, client_for

PATHS, IDS = ("", "pool", "pool/one"), {"pool", "one"}
LUN: dict[str, Any] = {
    "objectType": "application/cdmi-container",
    "objectID": "LUN",
    "objectName": "lun/",
    "parentURI": "/pool/one/",
    "metadata": {"cdmi_assignedsize": "4096"},
    "exports": {},
}


def keys(url: str) -> set[str]:
    return {f"{url}{path}".rstrip("/") for path in PATHS} | IDS


def tree(changes: dict[str, dict[str, Any]] | None = None, *, root: str = "cdmi/") -> Tree:
    made = Tree(root, changes)
    made.objects["pool/one/lun/"] = LUN | (changes or {}).get("LUN", {})
    return made


@pytest.mark.parametrize("source", ["pool/one/disk.img", "cdmi_objectid/IMAGE", "pool/one/lun/", "cdmi_objectid/LUN/"])
@pytest.mark.parametrize("parent", ["/{root}pool/one/", "/pool/one/", "pool/one/", "{url}pool/one/"])
async def test_all_that_is_above_is_known_by_path_and_by_id(source: str, parent: str) -> None:
    scene = tree()
    async with client_for(scene) as (client, url):
        for name in ("pool/one/disk.img", "pool/one/lun/"):
            scene.objects[name] = scene.objects[name] | {"parentURI": parent.format(root="cdmi/", url=url)}
        found = await client.resolve(url + source)
        assert keys(url) <= set(found.over)
        assert not found.keys & set(found.over), "nothing is above itself"
        assert found.places, "and the object by its path"


@pytest.mark.parametrize("source", ["pool/one/disk.img", "cdmi_objectid/IMAGE", "pool/one/lun", "cdmi_objectid/LUN"])
async def test_an_object_has_the_same_places_in_every_spelling(source: str) -> None:
    async with client_for(tree()) as (client, url):
        resolved, found = await client.resolve(url + source), await client.stat(url + source)
        name = "disk.img" if "img" in source or "IMAGE" in source else "lun"
        assert f"{url}pool/one/{name}" in resolved.places and f"{url}pool/one/{name}" in found.places
        assert resolved.keys == found.keys


async def test_a_parent_that_is_told_by_its_id_alone() -> None:
    changes: dict[str, dict[str, Any]] = {
        "LUN": {"parentURI": "/cdmi_objectid/ONE/"},
        "ONE": {"parentID": "POOL", "parentURI": None},
    }
    async with client_for(tree(changes)) as (client, url):
        assert set((await client.resolve(f"{url}cdmi_objectid/LUN")).over) >= IDS
        assert keys(url) <= set((await client.resolve(f"{url}pool/one/lun")).over) | {f"{url}".rstrip("/")}


@pytest.mark.parametrize("what", [{"parentURI": "/pool/two/"}, {"parentURI": 7}, {"parentURI": "/../"}])
async def test_what_is_above_cannot_be_read(what: dict[str, Any]) -> None:
    """The path that was asked for is known all the same, and nothing else fails for it."""
    async with client_for(tree({"LUN": what})) as (client, url):
        found = await client.resolve(f"{url}pool/one/lun")
        assert {f"{url}{path}".rstrip("/") for path in PATHS} <= set(found.over)


async def test_a_circle_is_left() -> None:
    async with client_for(tree({"POOL": {"parentURI": "/pool/one/"}, "LUN": {}})) as (client, url):
        assert set((await client.resolve(f"{url}cdmi_objectid/LUN")).over) >= IDS


async def test_the_root_is_the_root_by_its_id_as_well() -> None:
    scene = tree()
    scene.objects[""] = TREE[""] | {"objectID": "ROOT", "objectType": "application/cdmi-container"}
    async with client_for(scene) as (client, url):
        assert (await client.stat(url)).places == (url.rstrip("/"),)
