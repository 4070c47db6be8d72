"""Attachments through the socket: what callers may rely on."""

import asyncio
import os
from typing import Any

import aiohttp
import pytest

from agent.model import Present, Request
from tests.api.conftest import Caller
from tests.api.engine import FakeEngine, link


async def test_put_makes_it_so_once(caller: Caller, engine: FakeEngine) -> None:
    first, again = await caller.attach(), await caller.attach()
    assert (first.status, again.status) == (201, 200)
    assert first.headers["Location"] == "/v1/attachments/one-42-0"
    assert first.json == again.json
    assert first.json["link"] == link("one-42-0")
    assert engine.requests["one-42-0"] == Request("one-42-0", "cdmi://my.cdmi-server.tld/cdmi_objectid/45234")


async def test_a_file_is_asked_of_nfs_alone(caller: Caller, engine: FakeEngine) -> None:
    await caller.attach(present="file", protocols=["iscsi", "nfs", "fc"])
    asked = engine.requests["one-42-0"]
    assert (asked.present, asked.protocols) == (Present.FILE, ("nfs",))


async def test_put_knows_who_asks(caller: Caller, engine: FakeEngine) -> None:
    await caller.attach()
    assert engine.callers[0].uid == os.getuid()


async def test_put_that_waits_too_short_is_told_where_to_look(caller: Caller, engine: FakeEngine) -> None:
    engine.hold()
    pending = await caller.attach(query="?wait=0")
    assert pending.status == 202
    assert pending.json["phase"] == "attaching"
    engine.release()
    await engine.settle()
    assert (await caller.call("GET", pending.headers["Location"])).json["phase"] == "attached"


async def test_a_caller_that_goes_away_cancels_nothing(caller: Caller, engine: FakeEngine) -> None:
    engine.hold()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(caller.path))) as impatient:
        with pytest.raises(asyncio.TimeoutError):
            body = {"source": "cdmi://my.cdmi-server.tld/cdmi_objectid/45234"}
            timeout = aiohttp.ClientTimeout(total=0.05)
            await impatient.put("http://localhost/v1/attachments/one-42-0", json=body, timeout=timeout)
    engine.release()
    assert (await caller.attach()).json["phase"] == "attached"


async def test_list_view_and_detach(caller: Caller) -> None:
    await caller.attach("b")
    await caller.attach("a")
    listed = await caller.call("GET", "/v1/attachments")
    assert [view["name"] for view in listed.json["attachments"]] == ["a", "b"]
    gone = await caller.call("DELETE", "/v1/attachments/a")
    assert (gone.status, gone.text) == (204, "")
    assert (await caller.call("DELETE", "/v1/attachments/a")).status == 204
    missing = await caller.call("GET", "/v1/attachments/a")
    assert (missing.status, missing.code) == (404, "not-found")
    assert missing.json["attachment"] == "a"


async def test_problems_of_the_engine_pass_through(caller: Caller, engine: FakeEngine) -> None:
    await caller.attach()
    engine.in_use.add("one-42-0")
    busy = await caller.call("DELETE", "/v1/attachments/one-42-0")
    assert (busy.status, busy.code) == (409, "in-use")
    assert "qemu-system-x86" in busy.json["detail"]
    other = await caller.attach(source="cdmi://my.cdmi-server.tld/other")
    assert (other.status, other.code) == (409, "conflict")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"format": "qcow2"}, "format=qcow2"),
    ],
)
async def test_what_later_versions_can_do_is_refused_clearly(
    caller: Caller, engine: FakeEngine, fields: dict[str, Any], word: str
) -> None:
    answer = await caller.attach(**fields)
    assert (answer.status, answer.code) == (501, "unsupported-on-host")
    assert answer.json["detail"].startswith(word)
    assert answer.json["hint"]
    assert engine.requests == {}


async def test_resize_answers_with_the_attachment(caller: Caller) -> None:
    await caller.attach()
    bodies: list[dict[str, Any] | None] = [None, {}]
    for body in bodies:
        answer = await caller.call("POST", "/v1/attachments/one-42-0/resize", body)
        assert (answer.status, answer.json["name"]) == (200, "one-42-0")
    assert (await caller.call("POST", "/v1/attachments/one-42-0/resize", {"size": 5})).code == "invalid-request"
    assert (await caller.call("POST", "/v1/attachments/nobody/resize")).code == "not-found"


async def test_force_says_who_asked_for_it(caller: Caller, engine: FakeEngine) -> None:
    assert (await caller.call("DELETE", "/v1/attachments/a?force=0")).status == 204
    assert not engine.forced
    assert (await caller.call("DELETE", "/v1/attachments/a?force=1")).status == 204
    assert [(by.uid, by.pid) for by in engine.forced] == [(os.getuid(), os.getpid())]
    assert (await caller.call("DELETE", "/v1/attachments/a?force=2")).status == 422


async def test_the_number_of_a_request(caller: Caller, engine: FakeEngine) -> None:
    assert (await caller.call("DELETE", "/v1/attachments/a?generation=7")).status == 204
    assert engine.numbers == [7]
    for wrong in ("-1", "1.5", "x", "", str(2**63), "\u0661"):
        assert (await caller.call("DELETE", f"/v1/attachments/a?generation={wrong}")).status == 422, wrong


async def test_a_list_of_those_that_begin_so(caller: Caller) -> None:
    for name in ("one-4-0", "one-42-0", "one-42-1"):
        await caller.attach(name)
    listed = await caller.call("GET", "/v1/attachments?prefix=one-42-")
    assert [view["name"] for view in listed.json["attachments"]] == ["one-42-0", "one-42-1"]
    assert (await caller.call("GET", "/v1/attachments?prefix=..%2F")).status == 422
    assert len((await caller.call("GET", "/v1/attachments?prefix=")).json["attachments"]) == 3


async def test_what_is_there_for_a_while_is_confirmed(caller: Caller, engine: FakeEngine) -> None:
    assert (await caller.attach(lease_s=600)).json["lease"] == {"seconds": 600, "ends": None}
    path = "/v1/attachments/one-42-0/confirm"
    answer = await caller.call("POST", f"{path}?generation=3")
    assert (answer.status, answer.json["lease"], engine.numbers) == (200, None, [3])
    assert (await caller.call("POST", path, {"lease_s": 5})).status == 422
    assert (await caller.call("POST", "/v1/attachments/nobody/confirm")).status == 404
    for wrong in (0, 0.5, 8 * 86400, "600"):
        assert (await caller.attach("b", lease_s=wrong)).status == 422, wrong


async def test_resolve_host_and_health(caller: Caller, engine: FakeEngine) -> None:
    resolved = await caller.call("POST", "/v1/resolve", {"source": "cdmi://s/x"})
    assert (resolved.status, resolved.json["exports"][0]["used"]) == (200, True)
    assert (await caller.call("POST", "/v1/resolve", {"source": "cdmi://s/missing"})).code == "not-found"
    assert (await caller.call("GET", "/v1/host")).json["hostname"] == "host1"
    assert (await caller.call("GET", "/healthz")).status == 200
    engine.reasons.append("the helper does not answer")
    sick = await caller.call("GET", "/healthz")
    assert (sick.status, sick.json["reasons"]) == (503, ["the helper does not answer"])


async def test_a_domain_gets_the_disk_and_gives_it_back(caller: Caller) -> None:
    path = "/v1/attachments/one-42-0/domains/one-42"
    assert (await caller.call("PUT", path, {"target": "sda"})).code == "not-found"
    await caller.attach()
    given = await caller.call("PUT", path, {"target": "sda", "bus": "virtio"})
    assert given.status == 200 and given.json["domains"] == [{"name": "one-42", "target": "sda", "state": "given"}]
    for wrong, code in (({}, 422), ({"target": "nvme0"}, 422), ({"target": "sda", "x": 1}, 422)):
        assert (await caller.call("PUT", path, wrong)).status == code
    assert (await caller.call("PUT", path, {"target": "sda", "persistent": True})).status == 501
    assert [(await caller.call("DELETE", path)).status for _ in range(2)] == [204, 204]
    assert (await caller.call("GET", "/v1/attachments/one-42-0")).json["domains"] == []


async def test_what_is_attached_to_be_read_is_handed_to_no_domain(caller: Caller) -> None:
    """It goes as soon as it has been read; a name of that kind says so."""
    path = "/v1/attachments/content-0123456789abcdef0123456789abcdef/domains/one-42"
    refused = await caller.call("PUT", path, {"target": "sda"})
    assert (refused.status, refused.code) == (422, "invalid-request") and "name: content-" in refused.json["detail"]
