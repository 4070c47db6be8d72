"""A value on its way from its server: where we are in it, the connections of the moment, and the proof at its end.

CDMI has no ETag: that all pieces are of one and the same object is proved by its ID, size, time and hash before each
connection and at the end, when all of it was read by its hash as well. The last piece is held back until then.
"""

import hashlib
import logging
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from agent.cdmi.answers import Answer, refused, unreachable
from agent.cdmi.find import FIELDS
from agent.cdmi.members import Found
from agent.cdmi.seen import Seen, seen_of
from agent.cdmi.select import select
from agent.cdmi.stream import Answered, Stream, Taken
from agent.cdmi.text import shown
from agent.cdmi.windows import WINDOW, windows
from agent.cdmi.wire import MAX_ERROR_BODY, Wire
from agent.model import Moved
from agent.splice import SourceError
from attachers.problems import Code, Problem

TRIES = 15
"""How often in a row a connection may bring nothing: with the pauses, about a minute."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
HELD = 64 << 10
"""Bytes at the end, at least, that are never poured: they are held back until everything is proved."""
_BROKEN = (Problem, aiohttp.ClientError, HttpProcessingError, EOFError, OSError, TimeoutError)
Pause = Callable[[float], Awaitable[None]]
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Source:
    """One object that is being read: where we are in it, and the connection of the moment."""

    wire: Wire
    found: Found
    seen: Seen
    pause: Pause
    at: int = 0
    end: int = 0
    total: int = 0
    sink: socket.socket | None = None
    moved: Moved | None = None
    _stream: Stream | None = None
    _windows: AsyncGenerator[bytes, None] | None = None
    _ahead: bytes = b""
    _skip: int = 0
    _digest: Any = field(default=None)

    async def measure(self) -> int:
        """The object's size as HTTP tells it. Raises `Problem` where nothing does: its end could not be told."""
        response = await self._get({})
        response.close()
        if response.content_length is None:
            what = f"{self.found.url}: neither cdmi_size nor Content-Length tells how large it is"
            raise refused(self.found.location.server, what, hint="an answer cut short could not be told from a whole")
        return response.content_length

    async def begin(self, first: int, end: int, total: int) -> None:
        """Ask for the bytes. Raises `Problem` where they are not answered with."""
        self.at, self.end, self.total = first, end, total
        if self.seen.hash and (first, end) == (0, total):
            self._digest = hashlib.new(self.seen.hash[0], usedforsecurity=False)
        if first < end and not await self._begin_windows():
            await self._open()

    async def _begin_windows(self) -> bool:
        """Ask for several parts at a time, where that is configured. Whether the server can: the first part is here."""
        at_once = self.found.location.server.parallel_reads
        if at_once == 1 or self.end - self.at <= WINDOW:
            return False
        self._windows = windows(self._window, self.at, self.end, at_once=at_once)
        try:
            self._ahead = await anext(self._windows)
        except _BROKEN as error:
            log.info("%s gives no parts: %s", self.found.url, error or type(error).__name__)
            self._windows = None
        return self._windows is not None

    async def _window(self, first: int, end: int) -> bytes:
        response = await self._get({"Range": f"bytes={first}-{end - 1}"})
        async with response:
            if response.status != 206:
                raise self._odd(f"{response.status}, and not with a part")
            self._offset(response, first, end)
            return await response.content.readexactly(end - first)

    async def _all_windows(self) -> AsyncGenerator[bytes, None]:
        """What comes in windows, to the end or until one breaks."""
        if self._windows is None:
            return
        async with aclosing(self._windows):
            yield self._kept(self._ahead)
            self._ahead = b""
            try:
                async for piece in self._windows:
                    yield self._kept(piece)
            except _BROKEN as error:
                log.info("%s broke at byte %d of %d: %s", self.found.url, self.at, self.end, error)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes; see `agent.model.Reading`."""
        held = b""
        try:
            async with aclosing(self._all()) as arriving:
                async for piece in arriving:
                    if held:
                        yield held
                    held = piece
                    if taken := self._take_over():
                        yield held
                        held = b""
                        await self._pour(taken)
            await self._prove()
            if held:
                yield held
        finally:
            self.close()

    async def _all(self) -> AsyncGenerator[bytes, None]:
        pause_s, left = FIRST_PAUSE_S, TRIES
        async with aclosing(self._all_windows()) as arriving:
            async for piece in arriving:
                yield piece
        while self.at < self.end:
            before = self.at
            async with aclosing(self._arriving()) as arriving:
                async for piece in arriving:
                    yield piece
            if self.at > before:
                pause_s, left = FIRST_PAUSE_S, TRIES
            while self.at < self.end and self._stream is None:
                if not left:
                    reason = f"{self.found.url} breaks off at byte {self.at} of {self.end}, {TRIES} times in a row"
                    raise unreachable(self.found.location.server, reason, status=502)
                await self.pause(pause_s)
                pause_s, left = min(2 * pause_s, LONGEST_PAUSE_S), left - 1
                await self._resume()

    async def _arriving(self) -> AsyncGenerator[bytes, None]:
        """What this connection brings, to its end or until it breaks."""
        try:
            while self._stream and self.at < self.end and (piece := await self._stream.read()):
                if kept := self._kept(piece):
                    yield kept
        except (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError) as error:
            log.info("%s broke at byte %d of %d: %s", self.found.url, self.at, self.end, error or type(error).__name__)
        finally:
            self.close()

    def _take_over(self) -> Taken | None:
        """The connection, where nobody needs to see what it brings; its last bytes are always seen."""
        unseen = self.sink is not None and self._digest is None and not self._skip
        if not (unseen and isinstance(self._stream, Answered) and self.end - self.at > self._stream.ahead + HELD):
            return None
        taken = self._stream.take_over()
        self._stream = taken or self._stream
        return taken

    async def _pour(self, taken: Taken) -> None:
        """All but the end straight from the connection into the sink; what breaks is told by the next read of it."""
        assert self.sink and self.moved
        try:
            await taken.pour(self.sink, self.end - self.at - HELD, self._poured)
        except SourceError as error:
            log.info("%s broke at byte %d of %d: %s", self.found.url, self.at, self.end, error)
            self.sink = None

    def _poured(self, count: int) -> None:
        assert self.moved
        self.at += count
        self.moved(count)

    def _kept(self, piece: bytes) -> bytes:
        """What of a piece was asked for: a server that knows no ranges begins at the beginning."""
        if self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        piece = piece[: self.end - self.at]
        self.at += len(piece)
        if self._digest is not None:
            self._digest.update(piece)
        return piece

    async def _resume(self) -> None:
        """Go on where it broke, in the same object; what cannot be reached now is tried again."""
        try:
            await self._check_same()
            await self._open()
        except Problem as problem:
            if problem.code is not Code.CDMI_UNREACHABLE:
                raise
            log.info("%s", problem.detail)

    async def _open(self) -> None:
        part = (self.at, self.end) != (0, self.total)
        response = await self._get({"Range": f"bytes={self.at}-{self.end - 1}"} if part else {})
        try:
            self._skip = self._offset(response, self.at, self.end)
        except Problem:
            response.close()
            raise
        self._stream = Answered(response, silent_s=self.wire.limits.read_s)

    async def _get(self, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """The head of a success that is sent as it is. Raises `Problem`."""
        server = self.found.location.server
        response = await self.wire.begin(server, self.found.url, headers)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if response.status in (200, 206) and encoding == "identity":
            return response
        try:
            body = await response.content.read(MAX_ERROR_BODY) if response.status >= 300 else b""
        except (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError):
            body = b""
        response.close()
        if response.status >= 500:
            reason = f"{response.status} to GET {self.found.url}"
            raise unreachable(server, reason, status=502)
        Answer(server, f"GET {self.found.url}", self.found.url, response.status, body).check()
        what = f"{self.found.url} is answered with {response.status} in {encoding}, which was not asked for"
        raise refused(server, what, hint="see the CDMI server's log")

    def _offset(self, response: aiohttp.ClientResponse, first: int, end: int) -> int:
        """How many bytes come before those that were asked for. Raises `Problem` where that, or the size, is not sure.

        Real servers answer a range with 200 and all of it, or with 206 and no Content-Range (cdmi.md 6).
        """
        length = response.content_length
        if response.status == 200:
            if length in (None, self.total) and "Content-Range" not in response.headers:
                return first
            raise self._odd(f"{length} bytes, and not the {self.total} of the object")
        told = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if match and (int(match[1]), int(match[2]) + 1) == (first, end) and match[3] in ("*", str(self.total)):
            return 0
        if not told and length == end - first:
            return 0
        raise self._odd(f"Content-Range {told or 'missing'}, and not bytes {first}-{end - 1}/{self.total}")

    def _odd(self, how: str) -> Problem:
        what = f"{self.found.url} is answered with {shown(how)}"
        return refused(self.found.location.server, what, hint="nothing of it can be trusted: see the CDMI server's log")

    async def _prove(self) -> None:
        """That what was read is the object, whole and unchanged. Raises `Problem` cdmi-refused, conflict."""
        if self._digest is not None and self.seen.hash and self._digest.hexdigest() != self.seen.hash[1]:
            name, wanted = self.seen.hash
            what = f"{self.found.url}: the {name} of what was read is not the server's {wanted[:16]}..."
            raise refused(self.found.location.server, what, hint="it is damaged there, or on its way: read it again")
        await self._check_same()

    async def _check_same(self) -> None:
        location, url = self.found.location, self.found.url
        answer = await select(self.wire, location.server, url, FIELDS, needed=("metadata",))
        now = seen_of(Found(location, answer, answer.members()))
        if not self.seen.is_still(now):
            what = f"uri: {shown(url, 300)} has changed while it was read"
            raise Problem(Code.CONFLICT, what, hint="read it again, when nobody writes to it")

    async def aclose(self) -> None:
        """Let go of all connections."""
        self.close()
        if self._windows is not None:
            await self._windows.aclose()

    def close(self) -> None:
        """Let go of the connection of the moment."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
