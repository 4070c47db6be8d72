"""What was written, read back: its size, its beginning and its end, where no hash of the server's proves all of it.

Servers that say 201 have been seen to store less, more (with every byte above 0x7f replaced), or nothing of a value.
"""

import hashlib
from contextlib import aclosing
from dataclasses import dataclass

from agent.cdmi.answers import refused
from agent.cdmi.content import read
from agent.cdmi.formats import HEAD_BYTES
from agent.cdmi.sources import Location
from agent.cdmi.transfer import Pause
from agent.cdmi.wire import Wire
from agent.model import Part
from attachers.problems import Problem

NO_SUCH_PART = 416


@dataclass(frozen=True, slots=True)
class Written:
    """What was sent: its size in bytes, its first and its last `HEAD_BYTES` of them."""

    size: int
    head: bytes
    tail: bytes


async def prove(wire: Wire, location: Location, written: Written, pause: Pause) -> None:
    """That it is there. Raises `Problem` cdmi-refused where it is not, or cannot be read."""
    if written.size <= HEAD_BYTES:
        return await _compare(wire, location, written, None, written.head, pause)
    head = Part(0, HEAD_BYTES - 1)
    await _compare(wire, location, written, head, written.head, pause)
    tail = Part(written.size - HEAD_BYTES, written.size - 1)
    await _compare(wire, location, written, tail, written.tail, pause)


async def prove_all(wire: Wire, location: Location, size: int, sha256: str, pause: Pause) -> None:
    """That all of it is there. Raises as `prove`."""
    reading = await read(wire, location, part=None, tag="", pause=pause)
    digest = hashlib.sha256()
    async with aclosing(reading.pieces) as pieces:
        async for piece in pieces:
            digest.update(piece)
    if reading.total != size or digest.hexdigest() != sha256:
        what = f"the answer was lost, and what is at {location.url} is not what was written"
        raise refused(location.server, what, hint="look at it (cdmi-attach stat): another host may have written there")


async def _compare(
    wire: Wire, location: Location, written: Written, part: Part | None, wanted: bytes, pause: Pause
) -> None:
    try:
        reading = await read(wire, location, part=part, tag="", pause=pause)
    except Problem as problem:
        if problem.status != NO_SUCH_PART:
            raise
        what = f"{location.url} has fewer than the {written.size} bytes that were written"
        raise refused(location.server, what, hint="see the CDMI server's log") from problem
    async with aclosing(reading.pieces) as pieces:
        if reading.total != written.size:
            what = f"{location.url} has {reading.total} bytes after {written.size} were written"
            raise refused(location.server, what, hint="see the CDMI server's log")
        there = b"".join([piece async for piece in pieces])
    if there != wanted:
        what = f"{location.url} has other bytes from byte {reading.first} on than were written"
        raise refused(location.server, what, hint="it is damaged there, or on its way: see the CDMI server's log")
