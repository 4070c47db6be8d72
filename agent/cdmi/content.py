"""The bytes of a data object, by plain HTTP (CDMI 1.1 and 2.0 clause 6.3), over as many connections as it takes.

Whoever reads never takes for whole what is not, and no more is in memory than a few pieces: see `agent.cdmi.transfer`.
"""

import socket
from collections.abc import AsyncIterator

from agent.cdmi.find import find
from agent.cdmi.seen import readable, seen_of
from agent.cdmi.sources import Location
from agent.cdmi.transfer import Pause, Source
from agent.cdmi.wire import Wire
from agent.model import Moved, Part, Reading
from attachers.problems import Code, Problem


async def read(wire: Wire, location: Location, *, part: Part | None, tag: str, pause: Pause) -> Reading:
    """See `agent.contract.Cdmi.read`. Raises `Problem`; with status 416 where the object has no such part."""
    found = await find(wire, location)
    readable(found)
    seen = seen_of(found)
    source = Source(wire, found, seen, pause)
    total = seen.size if seen.size is not None else await source.measure()
    first, end = span(None if tag and tag != seen.tag else part, total)
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
        await self._source.aclose()


def span(part: Part | None, total: int) -> tuple[int, int]:
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
