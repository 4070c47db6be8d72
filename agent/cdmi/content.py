"""The bytes of a data object, by plain HTTP (CDMI 1.1 and 2.0 clause 6.3), over as many connections as it takes.

CDMI has no ETag: that all pieces are of one and the same object is proved by its ID, size, time and hash before each
connection and at the end, when all of it was read by its hash as well. The last piece is held back until then, so that
whoever reads never takes for whole what is not. No more is in memory than a few pieces.
"""

import hashlib
import json
import logging
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from agent.cdmi import digests
from agent.cdmi.answers import Answer, refused, unreachable
from agent.cdmi.find import FIELDS, find
from agent.cdmi.members import (
    DATAOBJECT,
    Found,
    check_complete,
    kind_of,
    object_id_of,
    pending_of,
    size_of,
)
from agent.cdmi.objects import metadata_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.stream import Answered, Stream, Taken
from agent.cdmi.text import shown
from agent.cdmi.wire import MAX_ERROR_BODY, Wire
from agent.model import Moved, Part, Reading
from agent.splice import SourceError
from attachers.problems import Code, Problem

TRIES = 15
"""How often in a row a connection may bring nothing: with the pauses, about a minute."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
HELD = 64 << 10
"""Bytes at the end, at least, that are never poured: they are held back until everything is proved."""
Pause = Callable[[float], Awaitable[None]]
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells one content of an object from another: `size` in bytes, None where nothing tells it."""

    object_id: str
    size: int | None
    modified: str
    hash: tuple[str, str] | None

    @property
    def tag(self) -> str:
        """Another one for another content; empty where neither time nor hash is told."""
        if not self.modified and self.hash is None:
            return ""
        facts = json.dumps([self.object_id, self.size, self.modified, self.hash])
        return hashlib.sha256(facts.encode()).hexdigest()[:32]

    def is_still(self, later: "Seen") -> bool:
        """Whether the object looks the same later; a hash may come, or take its time."""
        mine, its = (one.hash if self.hash and later.hash else None for one in (self, later))
        return (self.object_id.casefold(), self.size, self.modified, mine) == (
            later.object_id.casefold(),
            later.size,
            later.modified,
            its,
        )


async def read(wire: Wire, location: Location, *, part: Part | None, tag: str, pause: Pause) -> Reading:
    """See `agent.contract.Cdmi.read`. Raises `Problem`; with status 416 where the object has no such part."""
    found = await find(wire, location)
    readable(found)
    seen = seen_of(found)
    source = Source(wire, found, seen, pause)
    total = seen.size if seen.size is not None else await source.measure()
    first, end = _span(None if tag and tag != seen.tag else part, total)
    await source.begin(first, end, total)
    return Reading(first, end, total, seen.tag, seen.hash, Held(source))


class Held:
    """The pieces of a source. Implements `agent.model.Pieces`: a generator that never began closes nothing."""

    def __init__(self, source: "Source") -> None:
        self._source = source
        self._pieces = source.pieces()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    def pour_into(self, sink: socket.socket, moved: Moved) -> None:
        """See `agent.model.Pieces`."""
        self._source.sink, self._source.moved = sink, moved

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._pieces.aclose()
        self._source.close()


def readable(found: Found) -> None:
    """Raises `Problem` unless it is a data object that the server has made."""
    check_complete(found.answer, found.members)
    kind = kind_of(found.answer, found.members)
    if kind != DATAOBJECT and size_of(found.members, kind) is not None:
        what = f"uri: {shown(found.url, 300)} is a LUN, and CDMI has no way to its blocks but its exports"
        raise Problem(
            Code.UNSUPPORTED_ON_HOST, what, hint="attach it (--ro to read), and copy from or to the link: dd, qemu-img"
        )
    if kind != DATAOBJECT:
        what = f"uri: {shown(found.url, 300)} is a container, and has no content of its own"
        raise Problem(Code.INVALID_REQUEST, what, hint="give a data object in it")
    if pending := pending_of(found.members):
        raise Problem(Code.BUSY, f"uri: {pending}", hint="wait until the server has made it")


def seen_of(found: Found) -> Seen:
    """What it looks like now. Raises `Problem` cdmi-refused where it is another one than was asked for."""
    metadata = metadata_of(found.members)
    return Seen(
        object_id=object_id_of(found.location, found.answer, found.members),
        size=size_of(found.members, DATAOBJECT),
        modified=metadata.get("cdmi_mtime", ""),
        hash=digests.usable(metadata),
    )


def _span(part: Part | None, total: int) -> tuple[int, int]:
    """From where to where (without it). Raises `Problem` (status 416) where nothing of the part is there."""
    if part is None:
        return 0, total
    if part.first is None:
        first, end = max(0, total - (part.last or 0)), total
    else:
        first, end = part.first, total if part.last is None else min(part.last + 1, total)
    if first >= end:
        what = f"Range: nothing of it is in an object of {total} bytes"
        raise Problem(Code.INVALID_REQUEST, what, hint=f"ask for bytes from 0 to {max(total - 1, 0)}", status=416)
    return first, end


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
        if first < end:
            await self._open()

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
            self._skip = self._offset(response)
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

    def _offset(self, response: aiohttp.ClientResponse) -> int:
        """How many bytes come before those that were asked for. Raises `Problem` where that, or the size, is not sure.

        Real servers answer a range with 200 and all of it, or with 206 and no Content-Range (cdmi.md 6).
        """
        wanted, length = self.end - self.at, response.content_length
        if response.status == 200:
            if length in (None, self.total) and "Content-Range" not in response.headers:
                return self.at
            raise self._odd(f"{length} bytes, and not the {self.total} of the object")
        told = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if match and (int(match[1]), int(match[2]) + 1) == (self.at, self.end) and match[3] in ("*", str(self.total)):
            return 0
        if not told and length == wanted:
            return 0
        raise self._odd(f"Content-Range {told or 'missing'}, and not bytes {self.at}-{self.end - 1}/{self.total}")

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

    def close(self) -> None:
        """Let go of the connection of the moment."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
