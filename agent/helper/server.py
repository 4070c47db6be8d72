"""The helper's server: connections of the daemon, many requests on each, and the news that the host changed."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from agent import wire
from agent.helper.verbs import Asked, answer, asked
from agent.listening import credentials
from attachers.base import Host
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
MOST_REQUESTS = 256
"""How many requests may be under way on one connection."""
NEWS_S = 60.0
"""How long to wait for the host to change before waiting again."""


class HelperServer:
    """Answers requests for a host. A client that goes away cancels nothing that it has begun."""

    def __init__(self, host: Host, *, uids: frozenset[int]) -> None:
        self._host = host
        self._uids = uids
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self, sock: socket.socket) -> None:
        """Accept connections on a bound Unix stream socket."""
        self._server = await asyncio.start_unix_server(self._connected, sock=sock)

    async def stop(self, *, limit_s: float) -> None:
        """Accept nothing more, let what is under way come to its end for so long, then hang up. Undoes nothing."""
        self._stopping = True
        if self._server:
            self._server.close()
        if self._requests:
            await asyncio.wait(self._requests, timeout=limit_s)
        left = self._requests | self._connections
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid, _ = credentials(writer.get_extra_info("socket"))
        if uid not in self._uids:
            log.warning("refused process %d of user %d", pid, uid)
            await _send(writer, _refusal(None, Problem(Code.FORBIDDEN, "this socket is for cdmi-attachd only")))
            return
        news = asyncio.create_task(self._tell_news(writer))
        try:
            await self._read(reader, writer, pid)
        except Problem as problem:
            log.warning("process %d: %s", pid, problem.detail)
            await _send(writer, _refusal(None, problem))
        except OSError as error:
            log.info("process %d: %s", pid, error)
        finally:
            news.cancel()
            await asyncio.gather(news, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int) -> None:
        """Begin every request as it comes. Raises `Problem` when the stream is of no use any more."""
        mine: set[asyncio.Task[None]] = set()
        while (message := await wire.read_frame(reader)) is not None:
            request = asked(message, pid=pid)
            if len(mine) >= MOST_REQUESTS or self._stopping:
                code, text = (Code.UNAVAILABLE, "stopping") if self._stopping else (Code.BUSY, "too many requests")
                await _send(writer, _refusal(request.id, Problem(code, f"the helper: {text}", hint="try again")))
                continue
            task = asyncio.create_task(_respond(self._host, request, writer))
            for tasks in (mine, self._requests):
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _tell_news(self, writer: asyncio.StreamWriter) -> None:
        told = self._host.changes
        while await _send(writer, {"changes": told, "alarms": self._host.alarms}):
            while self._host.changes == told:
                await self._host.changed(told, timeout_s=NEWS_S)
            told = self._host.changes


async def _respond(host: Host, request: Asked, writer: asyncio.StreamWriter) -> None:
    message = await answer(host, request)
    try:
        await _send(writer, message)
    except Problem as problem:  # the answer is too long
        await _send(writer, _refusal(request.id, problem))


async def _send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> bool:
    """Send a message; whether the client is still there."""
    frame = wire.pack(message)
    with suppress(OSError):
        if not writer.is_closing():
            writer.write(frame)
            await writer.drain()
            return True
    return False


def _refusal(number: int | None, problem: Problem) -> dict[str, Any]:
    return {"id": number, "problem": wire.encode(problem)}
