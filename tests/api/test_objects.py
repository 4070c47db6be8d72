"""The routes of objects over the socket: what they take, and what they refuse."""

from typing import Any

import pytest

from agent.uses import CAREFUL, Despite
from tests.api.conftest import Caller
from tests.api.engine import FakeEngine
from tests.api.test_openapi import validator

URI = "/v1/objects?uri=cdmi%3A%2F%2Fs%2Fcdmi_objectid%2F45234"


async def test_an_object_is_looked_at_changed_and_deleted(caller: Caller, engine: FakeEngine) -> None:
    looked = await caller.call("GET", URI)
    assert looked.status == 200
    validator("Object").validate(looked.json)
    changed = await caller.call("PATCH", URI, {"metadata": {"colour": "red", "note": None}})
    assert (changed.status, changed.json["metadata"]) == (200, {"colour": "red"})
    assert (await caller.call("DELETE", URI)).status == 204
    assert engine.objects.deleted == ["cdmi://s/cdmi_objectid/45234"]


async def test_what_is_attached_stays(caller: Caller, engine: FakeEngine) -> None:
    engine.objects.attached = True
    answer = await caller.call("DELETE", URI)
    assert (answer.status, answer.code) == (409, "in-use")


async def test_what_is_not_there(caller: Caller) -> None:
    assert (await caller.call("GET", "/v1/objects?uri=cdmi://s/missing")).code == "not-found"


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", "uri"),
        ("?uri=", "uri"),
        ("?uri=file:///etc/shadow", "uri"),
        ("?uri=cdmi://one:geheim@s/x", "uri"),
        ("?uri=cdmi://s/a%0Ab", "uri"),
        ("?uri=" + "x" * 2100, "uri"),
        ("?uri=cdmi://s/x&force=1", "force"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
async def test_the_uri_is_checked(caller: Caller, engine: FakeEngine, method: str, query: str, word: str) -> None:
    answer = await caller.call(method, f"/v1/objects{query}", {"metadata": {"a": "b"}} if method == "PATCH" else None)
    assert (answer.status, answer.code) == (422, "invalid-request")
    assert word in answer.json["detail"] and "geheim" not in answer.text
    assert engine.objects.deleted == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "metadata"),
        ({"metadata": {}}, "1 to 64 items"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": "x" * 5000}}, "metadata.a"),
        ({"metadata": {"cdmi_size": "1"}}, "not beginning with cdmi_"),
        ({"metadata": {"CDMI_acl": None}}, "not beginning with cdmi_"),
        ({"metadata": {"a;exports": "x"}}, "a name of"),
        ({"metadata": {"a:b": "x"}}, "a name of"),
        ({"metadata": {"": "x"}}, "a name of"),
        ({"metadata": {str(n): "x" for n in range(65)}}, "1 to 64 items"),
        ({"metadata": {"a": "b"}, "exports": {}}, "exports"),
    ],
)
async def test_metadata_is_checked_as_the_schema_says(caller: Caller, body: Any, word: str) -> None:
    answer = await caller.call("PATCH", URI, body)
    assert (answer.status, answer.code) == (422, "invalid-request")
    assert word in answer.json["detail"]
    assert not validator("ObjectChange").is_valid(body)


CLONE = {"source": "cdmi://s/a", "destination": "cdmi://s/b"}


async def test_a_clone_is_done_or_under_way(caller: Caller, engine: FakeEngine) -> None:
    done = await caller.call("POST", "/v1/objects/clone", CLONE | {"size": 4096, "metadata": {"owner": "vm 5"}})
    assert (done.status, done.json["state"]) == (201, "done")
    assert engine.operations.asked == [("cdmi://s/a", "cdmi://s/b", 4096, {"owner": "vm 5"}, 60.0)]
    late = await caller.call("POST", "/v1/objects/clone", CLONE | {"wait_s": 0})
    assert (late.status, late.json["state"]) == (202, "running")
    looked = await caller.call("GET", late.headers["Location"])
    assert (looked.status, looked.json) == (200, late.json)
    for answer in (done, late, looked):
        validator("Operation").validate(answer.json)


async def test_a_snapshot(caller: Caller, engine: FakeEngine) -> None:
    answer = await caller.call("POST", "/v1/objects/snapshot", {"uri": "cdmi://s/a", "name": "monday", "wait_s": 5})
    assert (answer.status, answer.json["uri"]) == (201, "cdmi://s/a/cdmi_snapshots/monday/")
    assert engine.operations.asked == [("cdmi://s/a", "monday", 5.0)]


async def test_what_is_taken_and_what_is_not_known(caller: Caller) -> None:
    taken = await caller.call("POST", "/v1/objects/clone", CLONE | {"destination": "cdmi://s/taken"})
    assert (taken.status, taken.code) == (409, "conflict")
    assert (await caller.call("GET", "/v1/operations/op99")).code == "not-found"


@pytest.mark.parametrize(
    ("route", "body", "word"),
    [
        ("clone", {"source": "cdmi://s/a"}, "destination"),
        ("clone", CLONE | {"destination": "file:///etc"}, "destination"),
        ("clone", CLONE | {"size": 0}, "size"),
        ("clone", CLONE | {"size": "1G"}, "size"),
        ("clone", CLONE | {"wait_s": -1}, "wait_s"),
        ("clone", CLONE | {"metadata": {"cdmi_size": "1"}}, "metadata"),
        ("clone", CLONE | {"metadata": {"owner": None}}, "metadata.owner"),
        ("clone", CLONE | {"colour": 1}, "colour"),
        ("snapshot", {"uri": "cdmi://s/a"}, "name"),
        ("snapshot", {"uri": "cdmi://s/a", "name": "../x"}, "name"),
        ("snapshot", {"uri": "cdmi://s/a", "name": "a b"}, "name"),
        ("snapshot", {"uri": "x", "name": "a"}, "uri"),
    ],
)
async def test_their_bodies_are_checked(caller: Caller, route: str, body: Any, word: str) -> None:
    answer = await caller.call("POST", f"/v1/objects/{route}", body)
    assert (answer.status, answer.code) == (422, "invalid-request")
    assert word in answer.json["detail"]


IQN = "iqn.2026-01.org.example:dead"
ASKED: list[tuple[str, str, dict[str, Any], tuple[Any, ...]]] = [
    ("", "CreateRequest", {"uri": "cdmi://s/a"}, ("cdmi://s/a", "container", None, {}, 60.0)),
    (
        "",
        "CreateRequest",
        {"uri": "cdmi://s/a", "size": 4096, "metadata": {"colour": "red"}, "wait_s": 1},
        ("cdmi://s/a", "container", 4096, {"colour": "red"}, 1.0),
    ),
    ("", "CreateRequest", {"uri": "cdmi://s/a", "kind": "dataobject"}, ("cdmi://s/a", "dataobject", 0, {}, 60.0)),
    ("/move", "MoveRequest", {"source": "cdmi://s/a", "destination": "cdmi://s/b"}, ("cdmi://s/a", "cdmi://s/b", 60.0)),
    ("/restore", "RestoreRequest", {"uri": "cdmi://s/a", "name": "monday"}, ("cdmi://s/a", "monday", 60.0)),
]


@pytest.mark.parametrize(("route", "schema", "body", "asked"), ASKED)
async def test_what_takes_long_is_asked_for(
    caller: Caller, engine: FakeEngine, route: str, schema: str, body: dict[str, Any], asked: tuple[Any, ...]
) -> None:
    validator(schema).validate(body)
    answer = await caller.call("POST", f"/v1/objects{route}", body)
    assert (answer.status, answer.json["state"]) == (201, "done")
    validator("Operation").validate(answer.json)
    assert engine.operations.asked == [asked]


async def test_another_size(caller: Caller, engine: FakeEngine) -> None:
    answer = await caller.call("POST", "/v1/objects/resize", {"uri": "cdmi://s/a", "size": 4096})
    assert (answer.status, answer.json["size"]) == (200, 4096)
    validator("Object").validate(answer.json)
    await caller.call("POST", "/v1/objects/resize", {"uri": "cdmi://s/a", "size": 512, "shrink": True})
    assert engine.objects.asked == [("cdmi://s/a", 4096, False), ("cdmi://s/a", 512, True)]


KNOWN = {"even_if_permitted_to_others": True, "object_id": "45234"}
DESPITE = Despite(permitted=True, object_id="45234")


@pytest.mark.parametrize(
    ("route", "schema", "body"),
    [
        ("/move", "MoveRequest", {"source": "cdmi://s/a", "destination": "cdmi://s/b"}),
        ("/restore", "RestoreRequest", {"uri": "cdmi://s/a", "name": "monday"}),
        ("/resize", "ResizeRequest", {"uri": "cdmi://s/a", "size": 512, "shrink": True}),
    ],
)
async def test_what_others_may_use_is_changed_on_an_explicit_word(
    caller: Caller, engine: FakeEngine, route: str, schema: str, body: dict[str, Any]
) -> None:
    validator(schema).validate(body | KNOWN)
    for given, wanted in ((body, CAREFUL), (body | KNOWN, DESPITE)):
        assert (await caller.call("POST", f"/v1/objects{route}", given)).status in (200, 201)
        assert (engine.objects.despite + engine.operations.despite)[-1] == wanted
    for name, value in (("even_if_permitted_to_others", "yes"), ("object_id", "../x"), ("with_snapshots", True)):
        answer = await caller.call("POST", f"/v1/objects{route}", body | {name: value})
        assert answer.code == "invalid-request" and name in answer.json["detail"]


async def test_a_delete_and_a_replace_take_the_word_in_the_query(caller: Caller, engine: FakeEngine) -> None:
    every = "&even_if_permitted_to_others=1&with_snapshots=1&object_id=45234"
    for more, wanted in (("", CAREFUL), ("&with_snapshots=0", CAREFUL), (every, Despite(True, True, "45234"))):
        assert (await caller.call("DELETE", URI + more)).status == 204
        assert engine.objects.despite[-1] == wanted
    content = URI.replace("objects?", "objects/content?")
    assert (await caller.call("PUT", f"{content}&even_if_permitted_to_others=1", raw=b"x")).status == 201
    assert engine.objects.despite[-1] == Despite(permitted=True)
    for more in ("&even_if_permitted_to_others=yes", "&with_snapshots=2", "&object_id=a%20b"):
        assert (await caller.call("DELETE", URI + more)).code == "invalid-request"


async def test_a_fence_of_an_object_that_was_looked_at(caller: Caller, engine: FakeEngine) -> None:
    body = {"uri": "cdmi://s/a", "host": IQN, "object_id": "45234"}
    validator("FenceRequest").validate(body)
    assert (await caller.call("POST", "/v1/objects/fence", body)).status == 200
    assert engine.objects.despite == [Despite(object_id="45234")]


async def test_who_may_use_an_object_is_told_when_asked_for(caller: Caller) -> None:
    answer = await caller.call("GET", f"{URI}&users=1")
    validator("Object").validate(answer.json)
    assert answer.json["snapshots"] == ["monday", "tuesday"] and answer.json["others"]
    assert "others" not in (await caller.call("GET", URI)).json


@pytest.mark.parametrize("host", [IQN, [IQN], ["20:00:00:00:00:00:00:10", "2000000000000011"], "eui.0123456789abcdef"])
async def test_a_host_is_fenced_off(caller: Caller, engine: FakeEngine, host: Any) -> None:
    body = {"uri": "cdmi://s/a", "host": host}
    validator("FenceRequest").validate(body)
    answer = await caller.call("POST", "/v1/objects/fence", body)
    assert answer.status == 200
    validator("Fenced").validate(answer.json)
    assert engine.objects.asked == [("cdmi://s/a", (host,) if isinstance(host, str) else tuple(host))]


async def test_how_much_room_there_is(caller: Caller) -> None:
    answer = await caller.call("GET", "/v1/capacity?uri=cdmi://s/a/")
    assert (answer.status, answer.json["used"], answer.json["total"]) == (200, 10 << 30, None)
    validator("Capacity").validate(answer.json)
    assert (await caller.call("GET", "/v1/capacity")).code == "invalid-request"


@pytest.mark.parametrize(
    ("route", "body", "word"),
    [
        ("", {}, "uri"),
        ("", {"uri": "cdmi://s/a", "kind": "queue"}, "kind"),
        ("", {"uri": "cdmi://s/a", "size": 511}, "size"),
        ("", {"uri": "cdmi://s/a", "size": -1, "kind": "dataobject"}, "size"),
        ("", {"uri": "cdmi://s/a", "metadata": {"cdmi_assignedsize": "1"}}, "metadata"),
        ("", {"uri": "cdmi://s/a", "metadata": {"a": None}}, "metadata.a"),
        ("", {"uri": "cdmi://s/a", "metadata": []}, "metadata"),
        ("", {"uri": "cdmi://s/a", "exports": {}}, "exports"),
        ("/move", {"source": "cdmi://s/a"}, "destination"),
        ("/move", {"source": "cdmi://s/a", "destination": "/b"}, "destination"),
        ("/restore", {"uri": "cdmi://s/a", "name": "a/b"}, "name"),
        ("/resize", {"uri": "cdmi://s/a"}, "size"),
        ("/resize", {"uri": "cdmi://s/a", "size": 0}, "size"),
        ("/resize", {"uri": "cdmi://s/a", "size": 1, "shrink": "yes"}, "shrink"),
        ("/fence", {"uri": "cdmi://s/a"}, "host"),
        ("/fence", {"uri": "cdmi://s/a", "host": ""}, "host"),
        ("/fence", {"uri": "cdmi://s/a", "host": []}, "host"),
        ("/fence", {"uri": "cdmi://s/a", "host": [IQN, "x y"]}, "host[1]"),
        ("/fence", {"uri": "cdmi://s/a", "host": "10.0.0.1"}, "host"),
        ("/fence", {"uri": "cdmi://s/a", "host": [IQN] * 33}, "host"),
    ],
)
async def test_bodies_of_what_changes_objects_are_checked(
    caller: Caller, engine: FakeEngine, route: str, body: Any, word: str
) -> None:
    answer = await caller.call("POST", f"/v1/objects{route}", body)
    assert (answer.status, answer.code) == (422, "invalid-request")
    assert answer.json["detail"].startswith(word)
    assert engine.objects.asked == [] and engine.operations.asked == []
