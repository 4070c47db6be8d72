"""What an object is known by, and every container above it: addresses and IDs, so that each is found in any spelling.

An address is a URL without the slash at its end; an ID is in lower case. Of servers that leave something open there are
more of them than one: whoever looks for an object here is to find it rather once too often.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from agent.cdmi.answers import DONE, GONE
from agent.cdmi.members import CONTAINER, Found, kind_of, parents, path_name
from agent.cdmi.select import select
from agent.cdmi.sources import BY_ID, OBJECT_ID, Location
from agent.cdmi.wire import Wire
from attachers.problems import Problem

MAX_ABOVE = 32
FIELDS = ("objectType", "objectID", "objectName", "parentURI", "parentID")


def key_of(location: Location) -> str:
    """An address as it is compared: the same for a container's spelling and a data object's."""
    return location.url.rstrip("/")


def places(found: Found) -> tuple[str, ...]:
    """The addresses by path that the object is known to have; none where it was asked for by ID, and says none."""
    at = found.location
    asked = () if at.object_id is not None else (at,)
    told: tuple[Location, ...] = ()
    with suppress(Problem):  # what it says is refused where it matters: see `climb`
        if name := path_name(found):
            told = tuple(Location(at.server, (*one.names, name), False) for one in _told_parents(found))
    return tuple(sorted({key_of(one) for one in (*asked, *told)} or _root(found)))


def _told_parents(found: Found) -> tuple[Location, ...]:
    """Where the object itself says that its container is, by path."""
    if found.members.get("parentURI") in (None, ""):
        return ()
    return tuple(one for one in parents(found) if one.object_id is None)


def _root(found: Found) -> set[str]:
    """What was asked for by ID and names neither itself nor what it is in may be the root."""
    if found.members.get("parentURI") in (None, "") and found.members.get("objectName") in (None, "", "/"):
        return {key_of(Location(found.location.server, (), True))}
    return set()


async def above(wire: Wire, way: Sequence[Found]) -> tuple[str, ...]:
    """The addresses and IDs of all containers above the first of `way`; the others are those that were read already.

    What cannot be read is left out, but for the paths, which are known from what is below it.
    """
    known = {key for found in way for key in _over(found)} | {_id(found) for found in way[1:]}
    with suppress(Problem, TimeoutError):
        async with asyncio.timeout(wire.limits.total_s):
            await _climb(wire, way, known)
    return tuple(sorted(known - {""}))


async def _climb(wire: Wire, way: Sequence[Found], known: set[str]) -> None:
    """On from where `way` ends, to just below the root."""
    here, been = way[-1], {found.url for found in way}
    for _ in range(MAX_ABOVE):
        up = await _parent(wire, [one for one in parents(here) if one.names])
        if up is None or up.url in been:
            return
        been.add(up.url)
        known |= {_id(up), key_of(up.location), *_over(up)}
        here = up


async def _parent(wire: Wire, candidates: Sequence[Location]) -> Found | None:
    for location in candidates:
        answer = await select(wire, location.server, location.url, FIELDS)
        if answer.status in DONE:
            members = answer.members()
            return Found(location, answer, members) if kind_of(answer, members) == CONTAINER else None
        if answer.status not in GONE:
            return None
    return None


def _over(found: Found) -> set[str]:
    """The containers above, as far as the object itself tells them: each part of its path, and the last one's ID."""
    ends = {place for one in _parents(found) for place in _prefixes(one)}
    return {*ends, _text_id(found.members.get("parentID"))}


def _parents(found: Found) -> tuple[Location, ...]:
    """Where the container above may be, by the path that was asked for as well as by what the object says."""
    at = found.location
    asked = () if at.object_id is not None or not at.names else (Location(at.server, at.names[:-1], True),)
    with suppress(Problem):
        return (*asked, *parents(found))
    return asked


def _prefixes(location: Location) -> set[str]:
    names = location.names
    by_id = {names[1].casefold()} if names[:1] == (BY_ID,) and len(names) > 1 else set()
    first = 2 if by_id else 0
    return by_id | {key_of(Location(location.server, names[:end], True)) for end in range(first, len(names) + 1)}


def _id(found: Found) -> str:
    return _text_id(found.members.get("objectID"))


def _text_id(value: object) -> str:
    return value.casefold() if isinstance(value, str) and OBJECT_ID.fullmatch(value) else ""
