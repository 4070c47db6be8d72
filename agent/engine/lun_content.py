"""The bytes of a LUN: CDMI leads to them by its exports alone, so that it is attached, read-only, for as long as they
are read.

The helper reads the disk into memory that we show it, a window at a time, two of them in turn: no worker waits for a
slow reader, and no more than these two windows are in memory.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from agent.cdmi.content import span
from agent.engine.desk import Desk
from agent.model import Access, Moved, Outcome, Part, Reading, Request
from agent.shown_memory import Memory, made
from attachers.base import Host
from attachers.problems import Code, Problem
from attachers.sights import BLOCK, BlocksQuery, BlocksSight

WINDOW = 4 << 20
PIECE = 256 << 10
log = logging.getLogger(__name__)
Attach = Callable[..., Awaitable[tuple[Outcome, dict[str, Any]]]]
Detach = Callable[..., Awaitable[bool]]


class LunContent:
    """Reads LUNs. `attach` and `detach` are the engine's own."""

    def __init__(self, desk: Desk, attach: Attach, detach: Detach) -> None:
        self._desk = desk
        self._attach = attach
        self._detach = detach

    @asynccontextmanager
    async def read(self, source: str, part: Part | None) -> AsyncIterator[Reading]:
        """Its bytes, while the block runs. Raises `Problem`, with status 416 where there is no such part."""
        request = Request(
            f"content-{secrets.token_hex(16)}", source, access=Access.RO, protocols=self._desk.settings.protocols
        )
        try:
            device = await self._bring_up(request)
            first, end = span(part, device["size"])
            pieces = Blocks(self._desk.host, device["wwid"], first, end, lambda: self._finish(request, device))
            yield Reading(first, end, device["size"], "", None, pieces)
        finally:
            await self._take_down(request.name)

    async def _bring_up(self, request: Request) -> dict[str, Any]:
        _, view = await self._attach(request, wait_s=None)
        device: dict[str, Any] | None = view["device"]
        if not device or not view["verified"] or not device["wwid"] or device["kind"] != "block":
            what = f"uri: {request.source} has no logical unit name to prove its disk by"
            raise Problem(Code.UNSUPPORTED_ON_HOST, what, hint="let the export tell logical_unit_name")
        return device

    async def _finish(self, request: Request, device: dict[str, Any]) -> None:
        """Prove it, and have it gone before the last piece goes out: whoever has that may want to attach it."""
        await self._prove(request, device)
        await self._take_down(request.name)

    async def _prove(self, request: Request, device: dict[str, Any]) -> None:
        """That it is the same disk still. Raises `Problem`."""
        now = await self._bring_up(request)
        if (now["wwid"], now["size"]) != (device["wwid"], device["size"]):
            raise Problem(Code.CONFLICT, f"{request.source} has changed while it was read", hint="read it again")

    async def _take_down(self, name: str) -> None:
        """By a task of the engine's, whether somebody waits or not; what is left is shown, and tried again."""
        try:
            await asyncio.shield(self._detach(name, force=False))
        except Problem as problem:
            log.error("%s stays attached: %s", name, problem.detail)


class Blocks:
    """The bytes of a published disk, `first` up to, without, `end`. Implements `agent.model.Pieces`.

    `finish` is called, and has to end, before the last piece goes out.
    """

    def __init__(self, host: Host, wwid: str, first: int, end: int, finish: Callable[[], Awaitable[None]]) -> None:
        self._host = host
        self._wwid = wwid
        self._span = (first, end)
        self._finish = finish
        self._pieces = self._all()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    def pour_into(self, sink: socket.socket, moved: Moved) -> None:
        """They come one by one."""

    async def aclose(self) -> None:
        """See `agent.model.Pieces`."""
        await self._pieces.aclose()

    async def _all(self) -> AsyncGenerator[bytes, None]:
        first, end = self._span
        held = b""
        async with aclosing(self._windows(first, end)) as windows:
            async for window, begin, stop in windows:
                for place in range(begin, stop, PIECE):
                    if held:
                        yield held
                    held = bytes(window[place : min(place + PIECE, stop)])
        await self._finish()
        if held:
            yield held

    async def _windows(self, first: int, end: int) -> AsyncGenerator[tuple[memoryview, int, int], None]:
        """Memory, and from where to where in it is what was asked for; the next is read meanwhile.

        It ends when the helper has: whoever comes next may want the disk gone.
        """
        starts = range(first - first % BLOCK, end, WINDOW)
        with made(WINDOW) as one, made(WINDOW) as other:
            turns = (one, other)
            reading = self._begin(one, starts[0], end)
            try:
                for number, start in enumerate(starts):
                    await asyncio.wait({reading})
                    reading.result()
                    if number + 1 < len(starts):
                        reading = self._begin(turns[(number + 1) % 2], starts[number + 1], end)
                    yield turns[number % 2].view, max(first - start, 0), min(end - start, WINDOW)
            finally:
                await asyncio.wait({reading})
                reading.exception()

    def _begin(self, memory: Memory, start: int, end: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._read(memory, start, min(end - start, WINDOW)))

    async def _read(self, memory: Memory, start: int, count: int) -> None:
        whole = -(-count // BLOCK) * BLOCK
        query = BlocksQuery(self._wwid, start, whole, os.getpid(), memory.fd, memory.inode)
        seen = await self._host.observe(query)
        assert isinstance(seen, BlocksSight)
        if seen.count < count:
            what = f"{self._wwid} ends at byte {start + seen.count}: it has become smaller"
            raise Problem(Code.CONFLICT, what, hint="read it again, when nobody changes it")
