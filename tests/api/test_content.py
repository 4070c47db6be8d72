"""The bytes of objects over the socket: whole and in part, proved, and cut where they cannot be."""

import asyncio
import base64
import hashlib
import io
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from agent.api import content
from tests.api.conftest import Caller
from tests.api.engine import FakeEngine
from tests.api.test_openapi import validator

CONTENT = "/v1/objects/content?uri=cdmi%3A%2F%2Fs%2Fcdmi_objectid%2F45234"


async def get(caller: Caller, **headers: str) -> tuple[int, Any, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with caller.session.get(f"http://localhost{CONTENT}", headers=named) as response:
        return response.status, response.headers, await response.read()


async def test_all_of_it(caller: Caller, engine: FakeEngine) -> None:
    value = engine.objects.value
    status, headers, body = await get(caller)
    assert (status, body) == (200, value)
    assert (headers["Content-Type"], headers["Content-Length"]) == ("application/octet-stream", str(len(value)))
    digest = base64.b64encode(hashlib.sha256(value).digest()).decode()
    assert (headers["ETag"], headers["Repr-Digest"]) == (f'"{engine.objects.tag}"', f"sha-256=:{digest}:")


async def test_a_part_of_what_is_still_the_same(caller: Caller, engine: FakeEngine) -> None:
    value, tag = engine.objects.value, f'"{engine.objects.tag}"'
    for text, first in (("bytes=100-", 100), ("bytes=-50", len(value) - 50)):
        status, headers, body = await get(caller, Range=text, If_Range=tag)
        assert (status, body) == (206, value[first:])
        assert headers["Content-Range"] == f"bytes {first}-{len(value) - 1}/{len(value)}"
    for other in ('"' + "f" * 32 + '"', 'W/"x"', "Sun, 22 Nov 2026 00:00:00 GMT"):
        assert (await get(caller, Range="bytes=100-", If_Range=other))[::2] == (200, value), other


async def test_nothing_of_a_part(caller: Caller, engine: FakeEngine) -> None:
    status, headers, body = await get(caller, Range=f"bytes={len(engine.objects.value)}-")
    assert (status, headers["Content-Type"]) == (416, "application/problem+json; charset=utf-8") and b"Range" in body


@pytest.mark.parametrize("text", ["bytes=5", "bytes=9-5", "bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=a-b", ""])
async def test_a_malformed_range_is_refused(caller: Caller, text: str) -> None:
    status, _, body = await get(caller, Range=text)
    assert status == 422 and b"Range" in body


@pytest.mark.parametrize("at", [0, 4096, 150_000])
async def test_what_cannot_be_proved_is_cut_short_of_its_length(caller: Caller, engine: FakeEngine, at: int) -> None:
    engine.objects.breaks = [at]
    with pytest.raises(aiohttp.ClientError):
        await get(caller)
    assert (await get(caller))[0] == 200


async def test_a_reader_that_goes_away_is_let_go(
    caller: Caller, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no error of ours."""
    caplog.set_level(logging.INFO)
    engine.objects.value = bytes(32 << 20)
    async with caller.session.get(f"http://localhost{CONTENT}") as response:
        await response.content.read(10)
        response.close()
    async with asyncio.timeout(10):
        while engine.objects.reading:  # noqa: ASYNC110  # the fake tells nobody
            await asyncio.sleep(0)
        while not [one for one in caplog.records if "the reader went away" in one.message]:  # noqa: ASYNC110  # nor does the log
            await asyncio.sleep(0)
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_what_is_not_there(caller: Caller) -> None:
    answer = await caller.call("GET", "/v1/objects/content?uri=cdmi://s/missing")
    assert (answer.status, answer.code) == (404, "not-found")
    assert (await caller.call("GET", "/v1/objects/content")).code == "invalid-request"


async def put(caller: Caller, body: Any, path: str = CONTENT, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with caller.session.put(f"http://localhost{path}", data=body, headers=named) as response:
        return response.status, await response.json(content_type=None)


async def pieces(count: int, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"0123456789" * 1000
    if breaks:
        raise RuntimeError("the sender goes away")


@pytest.mark.parametrize("size", [0, 10, 1 << 20])
async def test_a_body_is_written(caller: Caller, engine: FakeEngine, size: int) -> None:
    status, view = await put(caller, io.BytesIO(bytes(size)))
    assert (status, len(engine.objects.value), engine.objects.length) == (201, size, size)
    validator("Object").validate(view)


async def test_a_body_of_unknown_length(caller: Caller, engine: FakeEngine) -> None:
    assert (await put(caller, pieces(30)))[0] == 201
    assert (len(engine.objects.value), engine.objects.length) == (300_000, None)


async def test_what_is_there_stays_or_is_replaced(caller: Caller, engine: FakeEngine) -> None:
    taken = "/v1/objects/content?uri=cdmi://s/taken"
    status, problem = await put(caller, b"x", taken, If_None_Match="*")
    assert (status, problem["code"]) == (409, "conflict")
    assert (await put(caller, b"x", taken))[0] == 200 and engine.objects.value == b"x"
    assert (await put(caller, b"x", taken, If_None_Match='"tag"'))[1]["detail"].startswith("If-None-Match")
    assert (await put(caller, b"x", Content_Encoding="gzip"))[1]["code"] == "bad-request"
    assert (await put(caller, b"x", "/v1/objects/content?uri=cdmi://s/refusing"))[1]["code"] == "cdmi-refused"


@pytest.mark.parametrize("length", [None, 600_000])
async def test_a_body_that_breaks_off_is_not_taken_for_whole(
    caller: Caller, engine: FakeEngine, length: int | None
) -> None:
    before = engine.objects.value
    headers = {} if length is None else {"Content_Length": str(length)}
    with pytest.raises((aiohttp.ClientError, RuntimeError)):
        await put(caller, pieces(30, breaks=True), **headers)
    assert (await caller.call("GET", "/v1/objects?uri=cdmi://s/x")).status == 200
    assert engine.objects.value == before


async def test_a_body_that_stops(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SILENT_S", 0.1)
    reader, writer = await asyncio.open_unix_connection(caller.path)
    writer.write(f"PUT {CONTENT} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234".encode())
    assert b"408" in await reader.readline()
    writer.close()
    await writer.wait_closed()
