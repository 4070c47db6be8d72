"""Writing a data object from a stream, by plain HTTP: whole or not at all, and looked at afterwards.

A plain PUT of CDMI replaces the whole value at once (1.1 and 2.0 clause 6.4), so one that breaks off before its length
changes nothing. What a server makes of it nevertheless is looked at, and said; it is never deleted: the answer to a
plain PUT names no object, and another host may have put its own there meanwhile, which may begin as ours does.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from agent.cdmi import digests, read_back
from agent.cdmi.answers import refused
from agent.cdmi.copies import check_new
from agent.cdmi.find import find, spelt
from agent.cdmi.formats import HEAD_BYTES
from agent.cdmi.members import DATAOBJECT, Found, pending_of, size_of
from agent.cdmi.named import itself
from agent.cdmi.objects import metadata_of
from agent.cdmi.read_back import Written
from agent.cdmi.seen import readable, seen_of
from agent.cdmi.sources import Location
from agent.cdmi.transfer import FIRST_PAUSE_S, LONGEST_PAUSE_S, TRIES, Pause
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem


@dataclass(slots=True)
class Sent:
    """What was sent so far; `problem` ended it early, `whole`: it came to its end."""

    size: int = 0
    head: bytes = b""
    tail: bytes = b""
    digest: Any = field(default_factory=hashlib.sha256)
    problem: Problem | None = None
    whole: bool = False

    async def noted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces, counted and hashed."""
        try:
            async for piece in pieces:
                self.size += len(piece)
                self.head += piece[: HEAD_BYTES - len(self.head)]
                self.tail = (self.tail + piece[-HEAD_BYTES:])[-HEAD_BYTES:]
                self.digest.update(piece)
                yield piece
            self.whole = True
        except Problem as problem:
            self.problem = problem
            raise


async def write(
    wire: Wire, location: Location, pieces: AsyncIterator[bytes], *, length: int | None, replace: bool, pause: Pause
) -> bool:
    """See `agent.contract.Cdmi.write`."""
    before = await _there(wire, location)
    if before is None:
        check_new(location, "uri")
        if location.slash:
            what = "uri: a name with a slash at its end is a container's"
            raise Problem(Code.INVALID_REQUEST, what, hint="leave out the slash")
    elif not replace:
        what = f"uri: there is already something at {before.url}"
        raise Problem(Code.CONFLICT, what, hint="choose another place, or have it replaced")
    else:
        itself(before, "uri")
        readable(before)
    headers = {"Content-Type": "application/octet-stream"} | ({} if length is None else {"Content-Length": str(length)})
    sent = Sent()
    try:
        heard = await _send(wire, before, location, sent, sent.noted(pieces), headers)
        await _prove(wire, location, sent, pause, heard=heard)
    except Problem as problem:
        left = await _left_behind(wire, location, before)
        raise _told(sent.problem or problem, left) from problem
    return before is None


async def _send(
    wire: Wire, before: Found | None, place: Location, sent: Sent, pieces: AsyncIterator[bytes], headers: dict[str, str]
) -> bool:
    """Send it all. That the answer is lost when all was sent is no failure where all is there. Raises `Problem`.

    Returns whether the answer was heard.
    """
    url = before.url if before else spelt(place, DATAOBJECT).url
    try:
        (await wire.send(place.server, url, pieces, headers)).check()
        return True
    except Problem as problem:
        if problem.code is not Code.CDMI_UNREACHABLE or not sent.whole:
            raise
        now = await _there(wire, place)
        if now is None or size_of(now.members, DATAOBJECT) != sent.size or not await _begins(wire, now, sent):
            raise
        if before is not None and seen_of(before).is_still(seen_of(now)):
            raise  # what was there before may just look like it
        return False


async def _begins(wire: Wire, found: Found, sent: Sent) -> bool:
    """Whether what is there begins as what was sent."""
    head = await wire.head(found.location.server, found.url, HEAD_BYTES) if sent.head else b""
    return head is not None and sent.head[: len(head)] == head and bool(head) is bool(sent.head)


async def _there(wire: Wire, location: Location) -> Found | None:
    try:
        return await find(wire, location)
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return None
        raise


async def _prove(wire: Wire, location: Location, sent: Sent, pause: Pause, *, heard: bool) -> None:
    """That the server has what was sent: by its hash, else by what is read back. Raises `Problem` cdmi-refused.

    Of what no answer has called ours, all is read: another's may begin, and end, as ours does.
    """
    found, pause_s = await find(wire, location), FIRST_PAUSE_S
    for _ in range(TRIES):
        if not pending_of(found.members):
            break
        await pause(pause_s)
        found, pause_s = await find(wire, location), min(2 * pause_s, LONGEST_PAUSE_S)
    itself(found, "uri")
    readable(found)
    size, told = size_of(found.members, DATAOBJECT), digests.usable(metadata_of(found.members))
    if size not in (None, sent.size):
        what = f"{found.url} has {size} bytes after {sent.size} were written"
        raise refused(location.server, what, hint="see the CDMI server's log")
    if (told is None or told[0] != "sha256") and not heard:
        await read_back.prove_all(wire, location, sent.size, sent.digest.hexdigest(), pause)
    elif told is None or told[0] != "sha256":
        await read_back.prove(wire, location, Written(sent.size, sent.head, sent.tail), pause)
    elif told[1] != sent.digest.hexdigest():
        what = f"{found.url}: its sha256 is not that of what was written"
        raise refused(location.server, what, hint="it is damaged there, or on its way: write it again")


async def _left_behind(wire: Wire, location: Location, before: Found | None) -> str:
    """What a write that failed has left, in words."""
    try:
        now = await _there(wire, location)
        if before is not None:
            same = now is not None and seen_of(before).is_still(seen_of(now))
            return "" if same else "; what was there before is not as it was"
        if now is None:
            return ""
        return f"; what is at {now.url} now may be a part of it, or somebody else's: look at it before you delete it"
    except Problem as problem:
        return f"; what is there now could not be seen ({problem.detail})"


def _told(problem: Problem, left: str) -> Problem:
    return Problem(problem.code, f"{problem.detail}{left}", hint=problem.hint, step=problem.step, status=problem.status)
