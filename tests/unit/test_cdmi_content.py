"""Reading values: of servers of every version, over connections that break, and of servers that answer oddly."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.cdmi import transfer
from agent.cdmi.client import CdmiClient
from agent.cdmi.wire import Limits
from agent.model import Part, Reading
from attachers.problems import Code, Problem
from tests.cdmi_server.dialects import DIALECTS
from tests.cdmi_server.faults import Action, Fault
from tests.cdmi_server.runner import running_server
from tests.unit.test_cdmi_client import client_of, serving
from tests.unit.test_cdmi_matrix import lab, put

VALUE = bytes(range(256)) * 8192
DIGEST = hashlib.sha256(VALUE).hexdigest()


async def at_once(_seconds: float) -> None:
    """A pause that takes no time."""
    await asyncio.sleep(0)


async def begin(client: CdmiClient, source: str, part: Part | None = None, tag: str = "") -> Reading:
    return await client.read(source, part=part, tag=tag, pause=at_once)


async def bytes_of(reading: Reading) -> bytes:
    async with aclosing(reading.pieces) as pieces:
        return b"".join([piece async for piece in pieces])


async def read(client: CdmiClient, source: str, part: Part | None = None, tag: str = "") -> bytes:
    return await bytes_of(await begin(client, source, part, tag))


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_value_is_read_in_every_version(tmp_path: Path, name: str) -> None:
    async with lab(tmp_path, name) as here:
        source = f"{here.url}pool/one/disk.img"
        reading = await begin(here.client, source)
        assert (reading.first, reading.end, reading.total, reading.hash) == (0, 77, 77, None)
        assert await bytes_of(reading) == b"x" * 77
        again = await begin(here.client, source, Part(70, None), reading.tag)
        assert (again.first, again.tag) == (70, reading.tag) and await bytes_of(again) == b"x" * 7


@asynccontextmanager
async def scene(state: Path, value: bytes = VALUE, **metadata: str) -> AsyncIterator[tuple[Any, CdmiClient, str]]:
    async with running_server(state) as server, client_of(server.url) as client:
        told = {"cdmi_value_hash": "SHA256"} | metadata
        await put(server.url, "image", {"value": "", "metadata": told}, DIALECTS["1.1"])
        record = server.store.find("/image")
        assert record
        server.store.value_file(record).write_bytes(value)
        yield server, client, f"{server.url}image"


@pytest.mark.parametrize("value", [b"", b"x", VALUE])
async def test_all_of_it_is_proved_by_its_hash(tmp_path: Path, value: bytes) -> None:
    async with scene(tmp_path, value) as (_, client, source):
        reading = await begin(client, source)
        assert reading.hash == ("sha256", hashlib.sha256(value).hexdigest())
        assert await bytes_of(reading) == value


@pytest.mark.parametrize(
    ("part", "first", "end"),
    [
        (Part(0, 9), 0, 10),
        (Part(5, None), 5, len(VALUE)),
        (Part(None, 7), len(VALUE) - 7, len(VALUE)),
        (Part(None, 1 << 40), 0, len(VALUE)),
        (Part(10, 1 << 40), 10, len(VALUE)),
    ],
)
async def test_a_part_of_it(tmp_path: Path, part: Part, first: int, end: int) -> None:
    async with scene(tmp_path) as (_, client, source):
        reading = await begin(client, source, part)
        assert (reading.first, reading.end, reading.total) == (first, end, len(VALUE))
        assert await bytes_of(reading) == VALUE[first:end]


async def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    async with scene(tmp_path) as (_, client, source):
        with pytest.raises(Problem, match="Range: nothing of it") as caught:
            await begin(client, source, Part(len(VALUE), None))
    assert (caught.value.code, caught.value.status) == (Code.INVALID_REQUEST, 416)


async def test_connections_that_break_are_taken_up_where_they_broke(tmp_path: Path) -> None:
    async with scene(tmp_path) as (server, client, source):
        server.faults.set("get-value", Fault(Action.CUT, times=6))
        assert await read(client, source) == VALUE
        assert server.faults.describe()["get-value"]["left"] == 0


async def test_one_that_stays_away_is_said_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 3)
    async with scene(tmp_path) as (server, client, source):
        server.faults.set("get-value", Fault(Action.CUT, times=1))
        reading = await begin(client, source)
        server.faults.set("get-value", Fault(Action.RESET))
        with pytest.raises(Problem, match="3 times in a row") as caught:
            await bytes_of(reading)
    assert caught.value.code is Code.CDMI_UNREACHABLE


async def test_what_is_damaged_never_ends(tmp_path: Path) -> None:
    async with scene(tmp_path, x_hash="00" * 32) as (_, client, source):
        reading, got = await begin(client, source), 0
        with pytest.raises(Problem, match="the sha256 of what was read is not") as caught:
            async for piece in reading.pieces:
                got += len(piece)
        assert caught.value.code is Code.CDMI_REFUSED
        assert got < len(VALUE), "its last piece was held back"


@pytest.mark.parametrize("cut", [False, True])
async def test_what_changes_while_it_is_read_never_ends(tmp_path: Path, cut: bool) -> None:
    async with scene(tmp_path) as (server, client, source):
        if cut:
            server.faults.set("get-value", Fault(Action.CUT, times=1))
        reading = await begin(client, source)
        record = server.store.find("/image")
        server.store.touch(record)
        with pytest.raises(Problem, match="has changed while it was read") as caught:
            await bytes_of(reading)
        assert caught.value.code is Code.CONFLICT
        async with aclosing((await begin(client, source, Part(9, None), reading.tag)).pieces) as pieces:
            assert len(b"".join([piece async for piece in pieces])) == len(VALUE), "another object by now: all of it"


async def test_what_has_no_content(tmp_path: Path) -> None:
    async with lab(tmp_path, "1.1") as here:
        for name, code, word in (
            ("vol1", Code.UNSUPPORTED_ON_HOST, "is a LUN"),
            ("pool", Code.INVALID_REQUEST, "is a container"),
            ("nothing", Code.NOT_FOUND, "404"),
        ):
            with pytest.raises(Problem, match=word) as caught:
                await begin(here.client, here.url + name)
            assert caught.value.code is code and caught.value.hint


class Odd:
    """A server with one object of ten bytes; `answer` is how it answers to a plain GET."""

    def __init__(self, answer: Callable[[web.Request], web.StreamResponse], **metadata: str) -> None:
        self.metadata = {"cdmi_mtime": "2026-01-01T00:00:00Z", "cdmi_size": "10"} | metadata
        self.answer = answer
        self.ranges: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if "X-CDMI-Specification-Version" not in request.headers:
            self.ranges.append(request.headers.get("Range"))
            return self.answer(request)
        if request.path.endswith("/"):
            return web.Response(status=404)
        metadata = {name: value for name, value in self.metadata.items() if value}
        return web.json_response({"objectType": "application/cdmi-object", "objectID": "45234", "metadata": metadata})


def whole(_request: web.Request) -> web.Response:
    return web.Response(body=b"0123456789")


def part_without_its_place(request: web.Request) -> web.Response:
    return web.Response(status=206, body=b"56789") if "Range" in request.headers else whole(request)


@pytest.mark.parametrize("answer", [whole, part_without_its_place])
async def test_servers_that_know_no_ranges_or_do_not_say_which(answer: Any) -> None:
    async with serving(Odd(answer)) as url, client_of(url) as client:
        assert await read(client, f"{url}a", Part(5, None)) == b"56789"
        assert await read(client, f"{url}a", Part(5, 6)) == b"56" if answer is whole else True


async def test_a_size_that_only_http_tells() -> None:
    async with serving(Odd(whole, cdmi_size="")) as url, client_of(url) as client:
        assert await read(client, f"{url}a") == b"0123456789"


async def test_a_size_that_nothing_tells() -> None:
    def chunked(_request: web.Request) -> web.Response:
        response = web.Response(body=b"0123456789")
        response.enable_chunked_encoding()
        return response

    async with serving(Odd(chunked, cdmi_size="")) as url, client_of(url) as client:
        with pytest.raises(Problem, match="neither cdmi_size nor Content-Length"):
            await begin(client, f"{url}a")
    async with serving(Odd(chunked)) as url, client_of(url) as client:
        assert await read(client, f"{url}a") == b"0123456789"


def odd(status: int, body: bytes = b"0123456789", **headers: str) -> Callable[[web.Request], web.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.Response(status=status, body=body, headers=named)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (odd(200, b"0123"), "4 bytes, and not the 10"),
        (odd(206, b"01234", Content_Range="bytes 0-4/10"), "Content-Range bytes 0-4/10, and not bytes 5-9/10"),
        (odd(206, b"56789", Content_Range="bytes 5-9/11"), "and not bytes 5-9/10"),
        (odd(206, b"567", Content_Range=""), "Content-Range missing"),
        (odd(206, b"56789", Content_Range="bytes=5-9"), "Content-Range"),
        (odd(200, Content_Encoding="gzip"), "gzip"),
        (odd(200, Content_Range="bytes 5-9/10"), "10 bytes, and not"),
        (odd(403), "403"),
        (odd(416), "416"),
        (odd(503), "503"),
        (odd(204, b""), "204"),
        (odd(302, Location="http://169.254.169.254/x"), "leads away"),
    ],
)
async def test_answers_that_cannot_be_trusted(answer: Any, word: str) -> None:
    async with serving(Odd(answer)) as url, client_of(url) as client:
        with pytest.raises(Problem, match=word) as caught:
            await read(client, f"{url}a", Part(5, None))
    assert caught.value.detail.isprintable() and caught.value.hint


async def test_more_bytes_than_there_should_be_are_not_passed_on() -> None:
    def endless(_request: web.Request) -> web.Response:
        response = web.Response(body=b"0123456789" * 10_000)
        response.enable_chunked_encoding()
        return response

    async with serving(Odd(endless)) as url, client_of(url) as client:
        assert await read(client, f"{url}a") == b"0123456789"


async def test_a_server_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 2)
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "X-CDMI-Specification-Version" in request.headers:
            return await Odd(whole)(request)
        response = web.StreamResponse()
        response.content_length = 10
        await response.prepare(request)
        await response.write(b"01234" if "Range" not in request.headers else b"")
        await over.wait()
        return response

    async with serving(answer) as url, client_of(url, limits=Limits(read_s=1, total_s=5)) as client:
        with pytest.raises(Problem) as caught:
            await read(client, f"{url}a")
        over.set()
    assert caught.value.code is Code.CDMI_UNREACHABLE


async def test_back_pressure_and_a_bounded_buffer(tmp_path: Path) -> None:
    """A reader that does not read holds up the server: what is in between stays a few pieces."""
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        if "X-CDMI-Specification-Version" in request.headers:
            return await Odd(whole, cdmi_size=str(64 << 20))(request)
        response = web.StreamResponse()
        response.content_length = 64 << 20
        await response.prepare(request)
        for _ in range(64):
            await response.write(bytes(1 << 20))
            sent += 1 << 20
        return response

    async with serving(answer) as url, client_of(url) as client:
        reading = await begin(client, f"{url}a")
        async with aclosing(reading.pieces) as pieces:
            await anext(pieces)
            before = -1
            while sent != before:  # until it is held up
                before = sent
                await asyncio.sleep(0.05)
            assert sent < 32 << 20
            async for _ in pieces:
                pass
        assert sent == 64 << 20
