"""What changes something is sent once, on every release of aiohttp: a server of our own sees each request's bytes."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from agent.cdmi.client import CdmiClient
from agent.cdmi.wire import Limits
from attachers.problems import Code, Problem
from tests.unit.test_cdmi_client import client_of

VALUE = bytes(range(256)) * 8192
STEP = 64 << 10
LARGEST = 1 << 22
Work = Callable[[CdmiClient, str], Coroutine[None, None, object]]


@dataclass
class Fickle:
    """An HTTP server, byte by byte, whose first change loses its connection: after some of it, or without an answer.

    It has the data object `/a` and the root, and takes every further request as it comes.
    """

    after: int
    value: bytes = b"precious"
    changes: list[str] = field(default_factory=list)
    over: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.over.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                (method, path, _), *lines = (line.split(" ", 2) for line in raw.decode().strip().split("\r\n"))
                headers = {name.rstrip(":").lower(): " ".join(rest) for name, *rest in lines}
                if method != "GET":
                    self.changes.append(method)
                    if len(self.changes) == 1:
                        await reader.read(self.after) if self.after else await _body(reader, headers)
                        return _reset(writer)
                    self.value = await _body(reader, headers) if method == "PUT" else b""
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                else:
                    writer.write(self._read(path, headers))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _read(self, path: str, headers: dict[str, str]) -> bytes:
        if path.partition("?")[0] not in ("/", "/a"):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        if "x-cdmi-specification-version" not in headers:
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.value), self.value)
        container = path.partition("?")[0] == "/"
        kind = "application/cdmi-container" if container else "application/cdmi-object"
        body = json.dumps({"objectType": kind, "objectID": "45234", "metadata": {}, "children": []}).encode()
        said = f"X-CDMI-Specification-Version: 1.1.1\r\nContent-Length: {len(body)}"
        return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{said}\r\n\r\n".encode() + body


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    whole = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        whole += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return whole


def _reset(writer: asyncio.StreamWriter) -> None:
    """As a server that dies, or a balancer that has lost it, ends a connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def serving(fickle: Fickle) -> AsyncIterator[str]:
    server = await asyncio.start_server(fickle.begin, "127.0.0.1", 0, limit=LARGEST)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        if fickle.over:
            await asyncio.wait(fickle.over)


async def pieces() -> AsyncIterator[bytes]:
    for place in range(0, len(VALUE), STEP):
        yield VALUE[place : place + STEP]


async def at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("length", [len(VALUE), None], ids=["known", "chunked"])
@pytest.mark.parametrize("after", [100_000, 0], ids=["in the middle", "before its answer"])
async def test_a_value_is_sent_once(length: int | None, after: int) -> None:
    """aiohttp 3.10 to 3.13 repeat a PUT, with what is left of a body that they have sent: the object was emptied."""
    fickle = Fickle(after)
    async with serving(fickle) as url, client_of(url) as client:
        with pytest.raises(Problem) as caught:
            await client.write(f"{url}a", pieces(), length=length, replace=True, pause=at_once)
    assert caught.value.code is Code.CDMI_UNREACHABLE
    assert (fickle.changes, fickle.value) == (["PUT"], b"precious")


@pytest.mark.parametrize(
    ("method", "work"),
    [
        ("DELETE", lambda client, url: client.delete(f"{url}a", pause=at_once)),
        ("PUT", lambda client, url: client.copy(f"{url}a", f"{url}b", size=None, metadata={}, mark="m")),
        ("PUT", lambda client, url: client.create(f"{url}b", kind="dataobject", size=0, metadata={}, mark="m")),
        ("PUT", lambda client, url: client.change(f"{url}a", {"colour": "red"})),
        ("PUT", lambda client, url: client.snapshot(url, "monday")),
    ],
    ids=["delete", "copy", "create", "metadata", "snapshot"],
)
async def test_what_makes_changes_or_deletes_an_object_is_asked_for_once(method: str, work: Work) -> None:
    """A second time it could meet what somebody else has put there meanwhile."""
    fickle = Fickle(0)
    async with serving(fickle) as url, client_of(url, limits=Limits(write_s=5)) as client:
        with pytest.raises(Problem) as caught:
            await work(client, url)
    assert caught.value.code is Code.CDMI_UNREACHABLE and fickle.changes == [method]
