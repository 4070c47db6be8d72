"""Raw bytes as a server's answer to the whole client: headers and bodies, through the HTTP parser of the library."""

import asyncio
import itertools
from contextlib import suppress

from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.cdmi.wire import Limits
from attachers.problems import Problem
from tests.fuzz.grow import Source

HEADS = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 302 Found\r\nLocation: /cdmi/pool/",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
    b"HTTP/1.0 404",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
    b"HTTP/1.1 200 OK\r\nX-CDMI-Specification-Version: 1.1.1",
)
QUICK = Limits(connect_s=5, read_s=5, total_s=5, write_s=5)
MOST = 8000


class Answers:
    """A server that answers the same bytes to everything, and a client of it; made when first used."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._raw = b""
        self._server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0))
        self._url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/cdmi/"
        server = Server(self._url, allow_http=True, spec_version="1.1.1")
        clock = itertools.count(0, 1000)  # a server that failed is asked again at once
        self._client = CdmiClient([server], protocols=("iscsi",), limits=QUICK, clock=lambda: float(next(clock)))

    def run(self, data: bytes) -> None:
        """Let the client resolve a source of this server. Raises whatever is no `Problem`."""
        source = Source(data)
        head = HEADS[source.pick(len(HEADS))] if source.pick(4) else source.text().encode("utf-8", "replace")
        rest = source.rest()
        self._raw = head + b"\r\nConnection: close\r\n\r\n" + rest if len(rest) % 3 else head + rest
        try:
            self._loop.run_until_complete(self._client.resolve(f"{self._url}cdmi_objectid/1/"))
        except Problem as problem:
            assert problem.detail.isprintable() and len(problem.detail) < MOST

    def close(self) -> None:
        """End the server and the client."""
        self._server.close()
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(self._server.wait_closed())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._raw)
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
