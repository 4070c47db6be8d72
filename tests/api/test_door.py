"""Connections that bring nothing, too many of them, and bodies that grow: none keeps the daemon from the others."""

import asyncio
import json
import os
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from agent.api.app import create_app
from agent.api.door import Limits
from agent.api.serve import serve
from tests.api.conftest import Caller
from tests.api.engine import FakeEngine

SOON_S = 20.0
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(path: Path, *, header_s: float) -> AsyncIterator[Path]:
    """A daemon's socket, with small limits."""
    limits = Limits(per_user=3, total=2, header_s=header_s)
    app = create_app(FakeEngine(), group_gid=None)
    runner = await serve(app, path, group_gid=None, environ={}, limits=limits)
    yield path
    await runner.cleanup()


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """One that is soon tired of waiting."""
    async with serving(tmp_path / "api.sock", header_s=0.2) as socket:
        yield socket


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Path]:
    """One that waits, however busy the machine is."""
    async with serving(tmp_path / "api.sock", header_s=SOON_S) as socket:
        yield socket


class Guest:
    """A connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, data: bytes) -> str:
        """The first line of what comes back; empty when it is hung up."""
        self.writer.write(data)
        async with asyncio.timeout(SOON_S):
            return (await self.reader.readline()).decode().strip()

    async def close(self) -> None:
        self.writer.close()


async def enter(path: Path, stack: AsyncExitStack) -> Guest:
    guest = Guest(*await asyncio.open_unix_connection(path))
    stack.push_async_callback(guest.close)
    return guest


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\n", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n"])
async def test_who_brings_no_request_is_hung_up_on(path: Path, said: bytes) -> None:
    async with AsyncExitStack() as stack:
        guest = await enter(path, stack)
        assert await guest.says(said) == ""


async def test_who_brought_one_may_stay(path: Path) -> None:
    async with AsyncExitStack() as stack:
        guest = await enter(path, stack)
        for part in (GET[:9], GET[9:-2], GET[-2:]):
            guest.writer.write(part)
            await guest.writer.drain()
        assert await guest.says(b"") == "HTTP/1.1 200 OK"
        later = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.4, later.set_result, None)
        await later
        guest.writer.write(GET)
        async with asyncio.timeout(SOON_S):
            assert b"HTTP/1.1 200 OK" in await guest.reader.readuntil(b"HTTP/1.1 200 OK")


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone is let in beyond the limit of all users")
async def test_of_one_user_only_so_many_come_in_and_room_comes_back(patient: Path) -> None:
    async with AsyncExitStack() as stack:
        guests = [await enter(patient, stack) for _ in range(3)]
        assert [await guest.says(GET) for guest in guests] == ["HTTP/1.1 200 OK"] * 3
        refused = await enter(patient, stack)
        assert await refused.says(b"") == "HTTP/1.1 503 Service Unavailable"
        rest = (await refused.reader.read()).decode()
        assert json.loads(rest.partition("\r\n\r\n")[2])["code"] == "busy"
        await guests[0].close()
        await guests[0].writer.wait_closed()
        async with asyncio.timeout(SOON_S):
            while await (await enter(patient, stack)).says(GET) != "HTTP/1.1 200 OK":
                pass


async def test_a_body_that_would_grow_is_not_unpacked(caller: Caller) -> None:
    bomb = zlib.compress(b'"' + b"x" * (200 << 20), 9)
    assert len(bomb) > 64 * 1024
    bomb = bomb[: 60 * 1024]
    begun = time.process_time()
    async with caller.session.put(
        "http://localhost/v1/attachments/vm1", data=bomb, headers={"Content-Encoding": "deflate"}, compress=None
    ) as response:
        assert (response.status, (await response.json())["detail"]) == (400, "the body is encoded")
    assert time.process_time() - begun < 0.1
