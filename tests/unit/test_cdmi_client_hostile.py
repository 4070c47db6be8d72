"""Conversations with servers that lead astray, break off, fall silent, or answer what no CDMI server would."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from agent.cdmi.wire import Limits
from attachers.problems import Code, Problem
from tests.unit.test_cdmi_client import BODY, ENTRY, Handler, answering, client_of, problem_of, serving

QUICK = Limits(connect_s=0.2, read_s=0.2, total_s=0.4, write_s=0.4, names_s=0.2)


@asynccontextmanager
async def saying(raw: bytes, *, hold: bool = False) -> AsyncIterator[str]:
    """A server that answers the first bytes of every request with these, and then closes, or holds the connection."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(raw)
        await writer.drain()
        if hold:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def http(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


# Redirects.


@pytest.mark.parametrize("status", [301, 302])
@pytest.mark.parametrize("absolute", [True, False])
async def test_redirects_within_the_server_are_followed(status: int, absolute: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path != "/pool/vol1/":
            place = f"http://{request.host}/pool/vol1/" if absolute else "/pool/vol1/"
            return web.Response(status=status, headers={"Location": place})
        return web.json_response(BODY)

    async with serving(answer) as url, client_of(url) as client:
        assert (await client.resolve(f"{url}cdmi_objectid/45234")).object_id == "45234"


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1:1/x",
        "https://localhost/x",
        "//elsewhere.example/x",
        "file:///etc/shadow",
        "http://169.254.169.254/latest/",
        "http://one@localhost:{port}/",
        "http://localhost:{port}x/",
        "",
        "/a b",
        "http://[",
        "/" + "a" * 3000,
    ],
)
async def test_redirects_elsewhere_are_refused(place: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": place.format(port=request.url.port)})

    async with serving(answer) as url:
        problem = await problem_of(url)
    assert (problem.code, problem.status) == (Code.CDMI_REFUSED, 502)
    assert "redirect" in problem.detail


async def test_a_redirect_out_of_the_root_is_refused() -> None:
    async with serving(answering(b"", status=302, headers={"Location": "/login"})) as url:
        assert "leads away" in (await problem_of(f"{url}cdmi/")).detail


async def test_redirects_come_to_an_end() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=301, headers={"Location": f"{request.path}x/"})

    async with serving(answer) as url:
        assert "more than 3 redirects" in (await problem_of(url)).detail
    assert len(asked) == 4


# Broken and hostile bodies.

BOMB = gzip.compress(b" " * (64 << 20))


@pytest.mark.parametrize(
    ("handler", "word"),
    [
        (answering(b"<html>\x00\xff not JSON"), "no CDMI object"),
        (answering(b""), "no CDMI object"),
        (answering(b"[" * 50_000), "nested"),
        (answering(b'{"a":[' + b"1," * 100_000 + b"1]}"), "more than 65536 values"),
        (answering(b'{"a":' * 40 + b"1" + b"}" * 40), "nested"),
        (answering(b'{"objectID":"1","objectID":"2"}'), "twice"),
        (answering(b'{"a":NaN}'), "NaN"),
        (answering(b'{"a":"' + b"x" * (2 << 20) + b'"}'), "more than 1048576 bytes"),
        (answering(BOMB, headers={"Content-Encoding": "gzip"}), "gzip-encoded"),
        (answering({**BODY, "objectID": "45235"}), "asked for the object 45234 and answered with '45235'"),
        (answering({**BODY, "objectID": "../45234"}), "is no ID"),
        (answering({k: v for k, v in BODY.items() if k != "objectID"}), "is no ID"),
        (answering({**BODY, "objectType": "application/cdmi-queue"}), "neither container nor data object"),
        (answering({**BODY, "completionStatus": "Error: no space"}), "Error: no space"),
        (answering({**BODY, "exports": "x"}), "exports"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(handler: Handler, word: str) -> None:
    async with serving(handler) as url:
        problem = await problem_of(url)
    assert (problem.code, problem.status) == (Code.CDMI_REFUSED, 502)
    assert word in problem.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n{}",
        http(b'{"objectID": "45', length=1000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_broken_answer_is_a_failed_connection(raw: bytes) -> None:
    async with saying(raw) as url:
        problem = await problem_of(url)
    assert (problem.code, problem.status) == (Code.CDMI_UNREACHABLE, 502)
    assert url in problem.detail


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\n", http(b'{"objectID": "45', length=1000)])
async def test_a_silent_server_is_given_up(raw: bytes) -> None:
    async with saying(raw, hold=True) as url:
        problem = await problem_of(url, limits=QUICK)
    assert (problem.code, problem.status) == (Code.CDMI_UNREACHABLE, 504)


async def test_an_answer_that_trickles_is_given_up() -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        gap = asyncio.Event()
        try:
            while True:
                await response.write(b" ")
                try:
                    await asyncio.wait_for(gap.wait(), 0.02)
                except TimeoutError:
                    continue
        except ConnectionError:
            return response

    async with serving(trickle) as url:
        problem = await problem_of(url, limits=QUICK)
    assert (problem.code, problem.status) == (Code.CDMI_UNREACHABLE, 504)
    assert "no complete answer within 0.4 s" in problem.detail


async def test_a_change_may_take_longer_than_a_read_and_no_read_waits_for_it() -> None:
    """As with arrays that map LUNs one after the other: one turn of each kind, and a read is given up meanwhile."""
    limits = Limits(read_s=2, total_s=3, write_s=60, concurrency=1)  # the other reads have to succeed within it
    writing, mapped = asyncio.Event(), asyncio.Event()
    permissions: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PUT":
            writing.set()
            await mapped.wait()
            permissions[:] = (await request.json())["exports"]["Network/iSCSI"]["permissions"]
            return web.Response(status=204)
        if "silent" in request.path:
            await mapped.wait()
        exports = {"Network/iSCSI": ENTRY | {"permissions": permissions}}
        return web.json_response(BODY | {"exports": exports}, headers={"X-CDMI-Specification-Version": "1.1.1"})

    async with serving(answer) as url, client_of(url, limits=limits) as client:
        source = f"{url}cdmi_objectid/45234"
        uri = (await client.resolve(source)).uri
        granting = asyncio.create_task(client.grant(uri, "Network/iSCSI", "iqn.2026-01.org.example:host"))
        await writing.wait()
        assert (await client.resolve(source)).object_id == "45234"
        with pytest.raises(Problem, match=r"Timeout|no complete answer"):
            await client.resolve(f"{url}silent/")
        assert not granting.done()
        mapped.set()
        await granting
    assert permissions == ["iqn.2026-01.org.example:host"]


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        problem = await problem_of(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert (problem.code, problem.status) == (Code.CDMI_UNREACHABLE, 502)


async def test_a_name_that_does_not_exist() -> None:
    problem = await problem_of("http://nowhere.invalid/")
    assert problem.code is Code.CDMI_UNREACHABLE
