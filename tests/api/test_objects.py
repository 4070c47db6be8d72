"""The routes of objects over the socket: what they take, and what they refuse."""

from typing import Any

import pytest

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
    done = await caller.call("POST", "/v1/objects/clone", CLONE | {"size": 4096})
    assert (done.status, done.json["state"]) == (201, "done")
    assert engine.operations.asked == [("cdmi://s/a", "cdmi://s/b", 4096, 60.0)]
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
