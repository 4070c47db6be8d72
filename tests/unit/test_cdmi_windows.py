"""Values by several connections at a time: in order, bounded, and one after the other where the server cannot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi import transfer
from agent.cdmi.client import CdmiClient
from agent.cdmi.windows import WINDOW, windows
from agent.model import Part
from attachers.problems import Code, Problem
from tests.cdmi_server.faults import Action, Fault
from tests.unit.test_cdmi_client import client_of, serving
from tests.unit.test_cdmi_content import VALUE, Odd, begin, bytes_of, read, scene, whole

LONG = VALUE * 6
AT_ONCE = 4


async def test_they_come_in_order_and_so_many_at_a_time() -> None:
    under_way = most = 0

    async def fetch(first: int, end: int) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(1 + (first // WINDOW * 7) % 5):
            await asyncio.sleep(0)
        under_way -= 1
        return f"{first}-{end} ".encode()

    async with aclosing(windows(fetch, 5, 5 + 9 * WINDOW + 1, at_once=AT_ONCE)) as arriving:
        got = b"".join([piece async for piece in arriving]).decode().split()
    starts = [5 + number * WINDOW for number in range(10)]
    ends = [*starts[1:], 5 + 9 * WINDOW + 1]
    assert got == [f"{first}-{end}" for first, end in zip(starts, ends, strict=True)] and most == AT_ONCE


async def test_one_that_fails_comes_after_all_before_it_and_ends_the_others() -> None:
    ended: list[int] = []
    before = asyncio.all_tasks()

    async def fetch(first: int, _end: int) -> bytes:
        if first == WINDOW:
            raise OSError("broken")
        try:
            if first > WINDOW:
                await asyncio.Event().wait()
        finally:
            ended.append(first)
        return b"x"

    got = []
    with pytest.raises(OSError, match="broken"):
        async with aclosing(windows(fetch, 0, 9 * WINDOW, at_once=3)) as arriving:
            async for piece in arriving:
                got.append(piece)
    assert got == [b"x"] and 2 * WINDOW in ended and asyncio.all_tasks() == before


@asynccontextmanager
async def parallel(state: Path, value: bytes = LONG, **metadata: str) -> AsyncIterator[tuple[Any, CdmiClient, str]]:
    async with (
        scene(state, value, **metadata) as (server, _, source),
        client_of(server.url, parallel_reads=AT_ONCE) as client,
    ):
        yield server, client, source


@pytest.mark.parametrize("hash", ["SHA256", ""])
@pytest.mark.parametrize("part", [None, Part(7, None), Part(3, 5 * WINDOW + 9)])
async def test_all_of_it_and_proved(tmp_path: Path, hash: str, part: Part | None) -> None:
    async with parallel(tmp_path, cdmi_value_hash=hash) as (_, client, source):
        wanted = LONG if part is None else LONG[part.first : len(LONG) if part.last is None else part.last + 1]
        assert await read(client, source, part) == wanted


async def test_connections_that_break_are_taken_up_one_by_one(tmp_path: Path) -> None:
    async with parallel(tmp_path) as (server, client, source):
        reading = await begin(client, source)
        server.faults.set("get-value", Fault(Action.CUT, times=6))
        assert await bytes_of(reading) == LONG
        assert server.faults.describe()["get-value"]["left"] == 0


async def test_what_changes_meanwhile_never_ends(tmp_path: Path) -> None:
    async with parallel(tmp_path, cdmi_value_hash="") as (server, client, source):
        reading, got = await begin(client, source), 0
        server.store.touch(server.store.find("/image"))
        with pytest.raises(Problem, match="has changed while it was read") as caught:
            async with aclosing(reading.pieces) as pieces:
                async for piece in pieces:
                    got += len(piece)
    assert caught.value.code is Code.CONFLICT and got < len(LONG)


async def test_a_server_that_knows_no_ranges_is_read_by_one_connection() -> None:
    asked: list[str | None] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Range"))
        return web.Response(body=LONG)

    async with (
        serving(Odd(answer, cdmi_size=str(len(LONG)))) as url,
        client_of(url, parallel_reads=AT_ONCE) as client,
    ):
        assert await read(client, f"{url}a") == LONG
    assert asked[-1] is None, "all of it, when a part of it was answered with all of it"


async def test_a_part_of_another_length_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part lies about itself, the next connection is asked for the rest, and told the same has no end."""
    monkeypatch.setattr(transfer, "TRIES", 1)

    def answer(request: web.Request) -> web.Response:
        first = int(request.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        body = LONG[first : first + WINDOW] if first == 0 else LONG[: WINDOW - 1]
        told = f"bytes {first}-{first + WINDOW - 1}/{len(LONG)}"
        return web.Response(status=206, body=body, headers={"Content-Range": told})

    async with (
        serving(Odd(answer, cdmi_size=str(len(LONG)))) as url,
        client_of(url, parallel_reads=AT_ONCE) as client,
    ):
        with pytest.raises(Problem) as caught:
            await read(client, f"{url}a")
    assert caught.value.code is Code.CDMI_REFUSED


async def test_a_reader_that_goes_away_ends_all_connections(tmp_path: Path) -> None:
    async with parallel(tmp_path) as (_, client, source):
        before = asyncio.all_tasks()
        reading = await begin(client, source)
        async with aclosing(reading.pieces) as pieces:
            await anext(pieces)
        assert {
            task for task in asyncio.all_tasks() - before if "windows" in repr(task) or "_window" in repr(task)
        } == set()
        untouched = await begin(client, source)
        await untouched.pieces.aclose()
        assert {task for task in asyncio.all_tasks() - before if "_window" in repr(task)} == set()


async def test_what_is_short_is_asked_for_once() -> None:
    seen = Odd(whole)
    async with serving(seen) as url, client_of(url, parallel_reads=AT_ONCE) as client:
        assert await read(client, f"{url}a") == b"0123456789"
    assert seen.ranges == [None]
