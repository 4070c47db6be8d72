"""The connection that brings a value: as aiohttp reads it, or taken over, so that the kernel can pour it out."""

import asyncio
import socket
from typing import Protocol

import aiohttp

from agent.model import Moved
from agent.splice import splice

PIECE = 256 << 10


class Stream(Protocol):
    """What a connection brings of a value."""

    async def read(self) -> bytes:
        """What is there next, empty at its end. Raises what aiohttp and sockets raise where it breaks."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Answered:
    """As aiohttp reads it. `silent_s`: how long it may bring nothing, after it was taken over."""

    def __init__(self, response: aiohttp.ClientResponse, *, silent_s: float) -> None:
        self._response = response
        self._silent_s = silent_s
        self._read = 0

    @property
    def ahead(self) -> int:
        """How many bytes are here already and not read yet."""
        return self._response.content.total_bytes - self._read

    async def read(self) -> bytes:
        """See `Stream`."""
        piece = await self._response.content.readany()
        self._read += len(piece)
        return piece

    def take_over(self) -> "Taken | None":
        """The connection itself; None unless it brings the value and nothing else: no TLS, no chunks."""
        response = self._response
        transport = response.connection.transport if response.connection else None
        if transport is None or transport.is_closing() or transport.get_extra_info("sslcontext") is not None:
            return None
        if response.content_length is None or "Transfer-Encoding" in response.headers:
            return None
        sock = transport.get_extra_info("socket").dup()
        sock.setblocking(False)
        ahead = response.content.read_nowait()
        response.close()  # which closes aiohttp's descriptor, and not the connection
        return Taken(sock, ahead, self._silent_s)

    def close(self) -> None:
        """See `Stream`."""
        self._response.close()


class Taken:
    """A connection of our own, behind the head of an answer and the bytes `ahead`."""

    def __init__(self, sock: socket.socket, ahead: bytes, silent_s: float) -> None:
        self._sock = sock
        self._ahead = ahead
        self._silent_s = silent_s

    async def pour(self, sink: socket.socket, count: int, moved: Moved) -> None:
        """Move `count` bytes into `sink`, those ahead first, fewer where it ends. Raises as `agent.splice.splice`."""
        ahead, self._ahead = self._ahead, b""
        await asyncio.get_running_loop().sock_sendall(sink, ahead)
        moved(len(ahead))
        await splice(self._sock, sink, count - len(ahead), silent_s=self._silent_s, moved=moved)

    async def read(self) -> bytes:
        """See `Stream`."""
        ahead, self._ahead = self._ahead, b""
        if ahead:
            return ahead
        async with asyncio.timeout(self._silent_s):
            return await asyncio.get_running_loop().sock_recv(self._sock, PIECE)

    def close(self) -> None:
        """See `Stream`."""
        self._sock.close()
