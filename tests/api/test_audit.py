"""Who did what: a line and an event for every change that was asked for, and whose attachments one may change."""

import logging
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agent.api.app import create_app
from agent.api.audit import CHANGES, named
from agent.api.peer import Peer
from agent.api.routes import ROUTES
from agent.caller import Caller
from tests.api.engine import FakeEngine

GROUP, ADMINS = 4242, 4343
OWNER = Peer(pid=7, uid=1000, gid=1000, groups=frozenset({GROUP}))
ADMIN = Peer(pid=8, uid=1001, gid=GROUP, groups=frozenset({ADMINS}))
ROOT = Peer(pid=9, uid=0, gid=0)
SOURCE = {"source": "cdmi://my.cdmi-server.tld/cdmi_objectid/45234"}
OBJECT = "uri=cdmi://my.cdmi-server.tld/images/one"
OF_ATTACHMENTS: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "/v1/attachments/one", SOURCE),
    ("PUT", "/v1/attachments/one/domains/guest", {"target": "sda"}),
    ("DELETE", "/v1/attachments/one/domains/guest", None),
    ("POST", "/v1/attachments/one/resize", None),
    ("DELETE", "/v1/attachments/one", None),
)


def client(engine: FakeEngine, peer: Peer) -> Any:
    """A client that the daemon takes for this peer."""
    app = create_app(engine, group_gid=GROUP, admins_gid=ADMINS, peer_of=lambda request: peer)
    return TestClient(TestServer(app))


def told(engine: FakeEngine) -> list[dict[str, Any]]:
    """The events of kind operation, without their numbers and times."""
    found = [event for event in engine.events.since(0) if event["kind"] == "operation"]
    return [{key: value for key, value in event.items() if key not in ("seq", "at", "kind")} for event in found]


def test_what_changes_something_is_audited_and_nothing_else_is() -> None:
    reads = {route.op for route in ROUTES if route.method == "GET"}
    assert {route.op for route in ROUTES} - reads - {"resolve"} == set(CHANGES)


@pytest.mark.parametrize(("peer", "admin"), [(OWNER, False), (ADMIN, True), (ROOT, True)])
async def test_the_engine_is_told_who_asks_for_each_change(peer: Peer, admin: bool) -> None:
    engine = FakeEngine()
    async with client(engine, peer) as caller:
        for method, path, body in OF_ATTACHMENTS:
            assert (await caller.request(method, path, json=body)).status < 300, path
    assert engine.callers == [Caller(peer.uid, peer.pid, admin=admin)] * len(OF_ATTACHMENTS)


async def test_a_deed_a_repetition_and_a_refusal_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine = FakeEngine()
    async with client(engine, OWNER) as caller:
        await caller.put("/v1/attachments/one", json=SOURCE)
        engine.in_use.add("one")
        await caller.delete("/v1/attachments/one")
        engine.in_use.clear()
        await caller.delete("/v1/attachments/one")
        await caller.delete("/v1/attachments/one")
        await caller.put("/v1/attachments/one", json={"source": 5})
    by = {"attachment": "one", "uid": 1000, "pid": 7}
    attach = by | {"operation": "attach", "what": f"attach name=one source={SOURCE['source']}"}
    detach = by | {"operation": "detach", "what": "detach name=one"}
    assert told(engine) == [
        attach | {"outcome": "done"},
        detach | {"outcome": "refused", "code": "in-use"},
        detach | {"outcome": "done"},
        detach | {"outcome": "already so"},
        attach | {"what": "attach name=one source=5", "outcome": "refused", "code": "invalid-request"},
    ]
    lines = [record.getMessage() for record in caplog.records if record.name == "agent.api.audit"]
    assert lines[1] == "detach name=one: refused (in-use), by user 1000 (pid 7)" and len(lines) == 5
    fields = [vars(record) for record in caplog.records if record.name == "agent.api.audit"]
    assert {(f["CDMI_UID"], f["CDMI_PID"]) for f in fields} == {("1000", "7")}
    assert fields[0]["MESSAGE_ID"] != fields[1]["MESSAGE_ID"]


async def test_what_goes_on_after_the_answer_is_under_way() -> None:
    engine = FakeEngine()
    engine.hold()
    async with client(engine, OWNER) as caller:
        assert (await caller.put("/v1/attachments/one?wait=0", json=SOURCE)).status == 202
    engine.release()
    await engine.settle()
    assert [event["outcome"] for event in told(engine)] == ["under way"]


async def test_a_defect_is_told_as_a_failure() -> None:
    engine = FakeEngine(crash="no bytes left")
    async with client(engine, OWNER) as caller:
        assert (await caller.put("/v1/attachments/one", json=SOURCE)).status == 500
    assert [(event["outcome"], event["code"]) for event in told(engine)] == [("failed", "internal")]


async def test_objects_have_no_attachment_but_an_address() -> None:
    engine = FakeEngine()
    async with client(engine, OWNER) as caller:
        await caller.delete(f"/v1/objects?{OBJECT}")
    (event,) = told(engine)
    assert (event["attachment"], event["what"]) == ("", "delete uri=cdmi://my.cdmi-server.tld/images/one")


@pytest.mark.parametrize("route", ["/v1/attachments/none", f"/v1/objects?{OBJECT}"])
async def test_what_is_not_there_is_said_and_is_a_problem_for_who_insists(route: str) -> None:
    engine = FakeEngine()
    join = "&" if "?" in route else "?"
    async with client(engine, OWNER) as caller:
        await caller.delete(route)  # an object is there the first time
        absent = await caller.delete(route)
        assert (absent.status, absent.headers["X-Nothing-To-Do"]) == (204, "1")
        refused = await caller.delete(f"{route}{join}must_exist=1")
        assert (refused.status, (await refused.json())["code"]) == (404, "not-found")
        assert (await caller.delete(f"{route}{join}must_exist=yes")).status == 422


def test_no_password_of_an_address_is_told() -> None:
    assert named({"uri": "https://one:secret@host/x"}) == {"uri": "https://...@host/x"}
    assert len(named({"source": "a" * 10_000})["source"]) == 300
    assert named({"name": "x\ny"}) == {"name": "x\\ny"}
