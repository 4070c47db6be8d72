"""That a container is as its snapshot is, as far as their server tells, once it calls a restore done.

CDMI knows no restore: it is a copy into what is there, and four of seven servers that were run pass over `copy` and say
yes (cdmi.md 6b). Of a LUN no server tells the bytes: there only the size can be compared.
"""

from agent.cdmi.copied import differ
from agent.cdmi.find import find
from agent.cdmi.members import CONTAINER, Found, size_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem

MOST = 16
"""How many of the data objects in a container are compared with those in its snapshot."""


async def unlike(wire: Wire, location: Location, snapshot: Location) -> str:
    """What tells that a container is not as its snapshot is, in words; empty where nothing does. Raises `Problem`.

    A snapshot that is not there any more tells nothing: some servers use it up.
    """
    here = await find(wire, location)
    try:
        kept = await find(wire, snapshot)
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return ""
        raise
    sizes = [size_of(one.members, CONTAINER) for one in (here, kept)]
    if None not in sizes and sizes[0] != sizes[1]:
        return f"it has {sizes[0]} bytes, and its snapshot {sizes[1]}"
    if sizes != [None, None]:
        return ""
    there, wanted = await _children(wire, here), await _children(wire, kept)
    if there is None or wanted is None:
        return ""
    if odd := sorted(there ^ wanted):
        return f"{shown(odd[0], 200)} is in {'it' if odd[0] in there else 'its snapshot'} alone"
    for name in sorted(one for one in wanted if not one.endswith("/"))[:MOST]:
        if why := await _child_differs(wire, location, snapshot, name):
            return f"{shown(name, 200)} in it is not what it was: {why}"
    return ""


async def _children(wire: Wire, found: Found) -> frozenset[str] | None:
    """The names of what is in it, but for what CDMI itself keeps there; None where that is not told."""
    children = found.members.get("children")
    if children is None:
        answer = await select(wire, found.location.server, found.url, ("children",))
        children = answer.members().get("children")
    if not isinstance(children, list) or not all(isinstance(name, str) for name in children):
        return None
    return frozenset(name for name in children if not name.startswith("cdmi_"))


async def _child_differs(wire: Wire, location: Location, snapshot: Location, name: str) -> str:
    """What tells that the child is another one than in the snapshot; what cannot be read tells nothing."""
    places = (Location(one.server, (*one.names, name), False) for one in (snapshot, location))
    try:
        before, now = [await find(wire, place) for place in places]
        return await differ(wire, before, now)
    except Problem as problem:
        if problem.code is Code.CDMI_UNREACHABLE:
            raise
        return ""
