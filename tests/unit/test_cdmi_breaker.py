"""A server that does not answer is left alone for a while, and tried by one request at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from agent.cdmi.breaker import FAILURES, REST_S
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.cdmi.wire import Limits
from attachers.problems import Code, Problem
from tests.unit.test_cdmi_client import BODY, LOCAL, serving


class Away:
    """A server that breaks every connection while it is `away`, and can be held while it thinks."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()
        self.status = 200
        self.now = 0.0
        self.codes: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.go.wait()
        if self.away and request.transport:
            request.transport.close()
        return web.json_response(BODY, status=self.status)

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Ask"]:
        async with serving(self.answer) as url:
            server = Server(url, allow_http=True, storage_networks=LOCAL)
            client = CdmiClient(
                [server],
                protocols=("iscsi",),
                limits=Limits(),
                told=lambda _, code: self.codes.append(code),
                clock=lambda: self.now,
            )
            yield Ask(client, f"{url}cdmi_objectid/45234")
            await client.close()


class Ask:
    def __init__(self, client: CdmiClient, source: str) -> None:
        self.client, self.source = client, source

    async def __call__(self) -> Problem | None:
        try:
            await self.client.resolve(self.source)
        except Problem as problem:
            assert problem.code is Code.CDMI_UNREACHABLE
            return problem
        return None


async def test_it_is_not_asked_again_until_it_had_some_rest() -> None:
    server = Away()
    async with server.client() as ask:
        for _ in range(FAILURES):
            problem = await ask()
            assert problem is not None and "not asked" not in problem.detail
        asked = server.asked
        for _ in range(20):
            problem = await ask()
            assert problem is not None and problem.status == 502
            assert f"not asked, since the last {FAILURES} requests were in vain" in problem.detail
            assert "it is tried again in 10 s" in problem.detail
            assert problem.hint
        assert server.asked == asked
        server.now += REST_S
        problem = await ask()
        assert problem is not None and "not asked" not in problem.detail
        assert server.asked > asked


async def test_one_tries_whether_it_is_back_and_opens_the_way_for_all() -> None:
    server = Away()
    async with server.client() as ask:
        for _ in range(FAILURES):
            await ask()
        server.away = False
        problem = await ask()
        assert problem is not None, "still resting"
        server.now += REST_S
        asked = server.asked
        server.go.clear()
        probe = asyncio.create_task(ask())
        while server.asked == asked:
            await asyncio.wait({probe}, timeout=0.01)
        problem = await ask()
        assert problem is not None and "one request is trying it now" in problem.detail
        assert server.asked == asked + 1
        server.go.set()
        assert await probe is None
        assert await asyncio.gather(*(ask() for _ in range(10))) == [None] * 10


async def test_a_try_in_vain_begins_another_rest() -> None:
    server = Away()
    async with server.client() as ask:
        for _ in range(FAILURES):
            await ask()
        server.now += REST_S
        tried = await ask()
        rested = await ask()
    assert tried is not None and "not asked" not in tried.detail
    assert rested is not None and f"the last {FAILURES + 1} requests" in rested.detail


async def test_a_try_that_is_cancelled_is_none() -> None:
    server = Away()
    async with server.client() as ask:
        for _ in range(FAILURES):
            await ask()
        server.now += REST_S
        server.go.clear()
        asked = server.asked
        probe = asyncio.create_task(ask())
        while server.asked == asked:
            await asyncio.wait({probe}, timeout=0.01)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        server.away = False
        server.go.set()
        assert await ask() is None


async def test_whatever_it_answers_it_is_there() -> None:
    server = Away()
    server.away, server.status = False, 503
    async with server.client() as ask:
        for _ in range(3 * FAILURES):
            with pytest.raises(AssertionError):
                await ask()
        server.status = 200
        assert await ask() is None
    assert server.codes.count("503") == 3 * FAILURES


async def test_failures_have_to_be_in_a_row() -> None:
    server = Away()
    async with server.client() as ask:
        for number in range(3 * FAILURES):
            server.away = number % FAILURES != 0
            await ask()
        server.away = False
        assert await ask() is None
