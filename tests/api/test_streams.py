"""Events as lines that survive a reconnect, and metrics that move as the daemon works."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from agent.metrics import Metrics
from tests.api.conftest import Caller
from tests.api.engine import FakeEngine


async def lines(caller: Caller, path: str, count: int) -> list[dict[str, Any]]:
    """The first events of a stream; the connection is dropped after them."""
    async with caller.session.get(f"http://localhost{path}") as response:
        assert response.status == 200 and response.headers["Content-Type"].startswith("application/x-ndjson")
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                line = await response.content.readline()
                if line.strip():
                    found.append(json.loads(line))
        return found


async def test_events_survive_a_reconnect_without_loss(engine: FakeEngine, caller: Caller) -> None:
    for number in range(3):
        engine.events.tell("a", "step-began", what=f"step {number}")
    first = await lines(caller, "/v1/events", 2)
    for number in range(3, 6):
        engine.events.tell("a", "step-began", what=f"step {number}")
    rest = await lines(caller, f"/v1/events?since={first[-1]['seq']}", 4)
    assert [event["what"] for event in first + rest] == [f"step {number}" for number in range(6)]


async def test_a_stream_brings_what_happens_while_it_is_open(engine: FakeEngine, caller: Caller) -> None:
    reading = asyncio.create_task(lines(caller, "/v1/attachments/b/events", 1))
    async with asyncio.timeout(10):
        while not reading.done():
            engine.events.tell("a", "phase", phase="attaching")
            engine.events.tell("b", "phase", phase="attached")
            await asyncio.sleep(0)
    assert (await reading)[0]["attachment"] == "b"


async def test_without_following_the_stream_ends(engine: FakeEngine, caller: Caller) -> None:
    engine.events.tell("a", "phase", phase="attached")
    answer = await caller.call("GET", "/v1/events?follow=0")
    assert [json.loads(line)["phase"] for line in answer.text.splitlines()] == ["attached"]


@pytest.mark.parametrize("query", ["since=x", "since=-1", "follow=2", "colour=red"])
async def test_a_malformed_query_is_refused(caller: Caller, query: str) -> None:
    answer = await caller.call("GET", f"/v1/events?{query}")
    assert (answer.status, answer.code) == (422, "invalid-request")


async def test_metrics_are_prometheus_text(caller: Caller) -> None:
    async with caller.session.get("http://localhost/metrics") as response:
        assert response.status == 200 and response.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_metrics_move() -> None:
    metrics = Metrics("1.2.3")
    metrics.watch(lambda: [("attached", ("running", "blocked")), ("attached", ("running",)), ("failed", ())])
    metrics.operation("attach", "iscsi", "ok")
    metrics.operation("attach", "iscsi", "wrong-device")
    metrics.step("Login", 0.3, "ok")
    metrics.commit(0.002)
    metrics.request("https://server/cdmi/", "200")
    metrics.stuck(2)
    text = metrics.text().decode()
    for line in (
        'cdmi_attach_operations_total{kind="attach",protocol="iscsi",result="ok"} 1.0',
        "cdmi_attach_identity_mismatch_total 1.0",
        'cdmi_attach_step_seconds_bucket{le="0.5",result="ok",step="Login"} 1.0',
        'cdmi_attach_cdmi_requests_total{code="200",server="https://server/cdmi/"} 1.0',
        'cdmi_attach_attachments{phase="attached"} 2.0',
        'cdmi_attach_paths{state="running"} 2.0',
        "cdmi_attach_stragglers 2.0",
        'cdmi_attach_build_info{version="1.2.3"} 1.0',
    ):
        assert line in text, text


async def test_a_reader_who_is_gone_is_not_kept(engine: FakeEngine, caller: Caller) -> None:
    with pytest.raises(asyncio.TimeoutError):
        timeout = aiohttp.ClientTimeout(total=0.2)
        async with caller.session.get("http://localhost/v1/events", timeout=timeout) as response:
            await response.content.readline()
    engine.events.tell("a", "phase", phase="attached")
    assert (await caller.call("GET", "/v1/attachments")).status == 200
