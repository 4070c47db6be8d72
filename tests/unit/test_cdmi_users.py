"""Who may use an object: what its exports say, and those of what is in it."""

from typing import Any

import pytest

from agent.uses import Permitted, Users
from attachers.problems import Code, Problem
from tests.unit.test_cdmi_climb import Tree, client_for

LUN: dict[str, Any] = {
    "objectType": "application/cdmi-container",
    "objectID": "LUN",
    "metadata": {"cdmi_assignedsize": "4096"},
    "children": [],
}
A, B = "iqn.2026-01.org.example:a", "iqn.2026-01.org.example:b"


async def users(source: str, **objects: dict[str, Any]) -> tuple[Users, Tree, str]:
    tree = Tree()
    tree.objects |= {path.replace("__", "/"): body for path, body in objects.items()}
    async with client_for(tree) as (client, url):
        return await client.users(url + source), tree, url


@pytest.mark.parametrize(
    ("exports", "names", "anybody"),
    [
        ({}, (), ()),
        ({"Network/iSCSI": {"permissions": [A, B]}}, (A, B), ()),
        ({"Network/iSCSI": {"permissions": A}, "Network/FC": {"permissions": [B, A]}}, (A, B), ()),
        ({"Network/iSCSI": {"permissions": []}}, (), ()),
        ({"Network/iSCSI": {}}, (), ("Network/iSCSI",)),
        ({"1": {"type": "NFSv4", "rw_hosts": ["h1"], "root_hosts": ["h1", "h2"], "ro_hosts": []}}, ("h1", "h2"), ()),
        ({"1": {"type": "NFSv4", "path": "/srv"}, "occi": {}}, (), ("1",)),
    ],
)
async def test_what_exports_say(exports: dict[str, Any], names: tuple[str, ...], anybody: tuple[str, ...]) -> None:
    told, _, _ = await users("lun/", lun__=LUN | {"exports": exports})
    assert (told.names, told.anybody, told.unread) == (names, anybody, "")


async def test_a_list_that_is_none_is_refused_not_taken_for_empty() -> None:
    with pytest.raises(Problem, match=r"permissions of .* is no list of names") as caught:
        await users("lun/", lun__=LUN | {"exports": {"Network/iSCSI": {"permissions": {"a": 1}}}})
    assert caught.value.code is Code.CDMI_REFUSED


async def test_what_is_in_a_container_counts_however_deep() -> None:
    inner = LUN | {"exports": {"Network/iSCSI": {"permissions": [A]}}}
    objects = {"top__": {"children": ["deep/", "file"]}, "top__deep__": {"children": ["lun/"]}}
    told, _, url = await users("top/", **objects, top__deep__lun__=inner)
    assert told.permitted == (Permitted(f"{url}top/deep/lun/", "Network/iSCSI", (A,)),) and not told.unread


@pytest.mark.parametrize(
    ("top", "word"),
    [({"objectID": "TOP"}, "does not say what is in it"), ({"children": "x"}, "does not say what is in it")],
)
async def test_what_cannot_be_looked_at_is_said(top: dict[str, Any], word: str) -> None:
    told, _, _ = await users("top/", top__=top)
    assert word in told.unread


async def test_a_container_that_is_gone_by_then_uses_nothing() -> None:
    told, _, _ = await users("top/", top__={"children": ["gone/"]})
    assert (told.permitted, told.unread) == ((), "")


@pytest.mark.parametrize("said", [True, False])
async def test_snapshots_are_named_also_where_the_field_is_left_out(said: bool) -> None:
    uris = {"snapshots": ["/lun/cdmi_snapshots/monday/", "/lun/cdmi_snapshots/tuesday"]} if said else {}
    told, _, _ = await users("lun/", lun__=LUN | uris, lun__cdmi_snapshots__={"children": ["monday/", "tuesday/"]})
    assert told.snapshots == ("monday", "tuesday")


async def test_a_data_object_has_no_snapshots_and_is_asked_for_none() -> None:
    told, tree, _ = await users("pool/one/disk.img")
    assert told == Users() and not any("snapshots" in path for path in tree.asked)
