"""The door before HTTP: how many connections a user and all users may have, and how long the first request may take."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from agent.api.peer import peer_of_socket
from attachers.problems import Code, Problem

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections of one user, connections of all (root is let in beyond, to have a look), and seconds for headers.

    A caller that waits for its attach keeps its connection, and one user may start all the machines of a host at once.
    """

    per_user: int = 128
    total: int = 256
    header_s: float = 5.0


class Door:
    """Makes the protocol of each connection: `handler` behind a check. Give it to `create_server`."""

    def __init__(self, handler: Callable[[], asyncio.Protocol], limits: Limits) -> None:
        self.handler = handler
        self.limits = limits
        self._inside: Counter[int] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """The protocol of one connection."""
        return _Guest(self)

    def let_in(self, uid: int) -> bool:
        """Count one more connection of this user, when there is room."""
        room = self._inside[uid] < self.limits.per_user and (uid == 0 or self._inside.total() < self.limits.total)
        self._inside[uid] += room
        return room

    def let_out(self, uid: int) -> None:
        """A connection has ended."""
        self._inside[uid] -= 1


class _Guest(asyncio.Protocol):
    """One connection; what comes on it goes to the handler, once it is let in."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._uid = -1
        self._inner: asyncio.Protocol | None = None
        self._tail = b""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        try:
            self._uid = peer_of_socket(transport.get_extra_info("socket")).uid
        except OSError:
            transport.abort()
            return
        if not self._door.let_in(self._uid):
            transport.write(_full())
            transport.close()
            return
        self._deadline = asyncio.get_running_loop().call_later(self._door.limits.header_s, transport.abort)
        self._inner = self._door.handler()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._deadline:
            self._tail = self._tail[-len(_END) + 1 :] + data
            if _END in self._tail:
                self._no_deadline()
        if self._inner:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner else None

    def pause_writing(self) -> None:
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_deadline()
        if self._inner:
            self._door.let_out(self._uid)
            self._inner.connection_lost(exc)

    def _no_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline, self._tail = None, b""


def _full() -> bytes:
    """The answer to one too many: nobody reads what it asks."""
    problem = Problem(Code.BUSY, "too many connections to cdmi-attachd", hint="try again in a second", status=503)
    body = json.dumps(problem.as_dict() | {"attachment": ""}).encode()
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class Site(web.SockSite):
    """A listening socket with a door."""

    limits = Limits()

    async def start(self) -> None:
        """Accept connections."""
        await web.BaseSite.start(self)
        handler = self._runner.server
        assert handler is not None
        self._server = await asyncio.get_running_loop().create_server(
            Door(handler, self.limits), sock=self._sock, backlog=self._backlog
        )
