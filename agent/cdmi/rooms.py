"""How much room a container has: CDMI has no field for what is free, so that this is what the server lets conclude.

All that there is: the quota that is configured for the server, else the size that the container is shown with
(`cdmi_assignedsize`, 1.1 clause 16.5). Used: what it says that it takes (`cdmi_size`), else the sum of what is in it.
"""

import asyncio

from agent.cdmi.answers import DONE
from agent.cdmi.find import FIELDS, find
from agent.cdmi.members import CONTAINER, DATAOBJECT, Found, kind_of, object_id_of, size_of
from agent.cdmi.objects import metadata_of
from agent.cdmi.select import select
from agent.cdmi.sources import Location, names_of
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Room
from attachers.problems import Code, Problem

MOST = 1000
"""How many objects in a container are looked at."""


async def capacity(wire: Wire, location: Location) -> Room:
    """See `agent.contract.Cdmi.capacity`. Raises `Problem`."""
    found = await find(wire, location)
    object_id_of(location, found.answer, found.members)
    if kind_of(found.answer, found.members) != CONTAINER:
        what = f"uri: {shown(found.url, 300)} is a data object"
        raise Problem(Code.INVALID_REQUEST, what, hint="give the container that it is in")
    quota = location.server.quota
    total = size_of(found.members, CONTAINER) if quota is None else quota
    by = "no quota is configured" if total is None else "cdmi_assignedsize" if quota is None else "quota of [[server]]"
    text = metadata_of(found.members).get("cdmi_size", "")
    if text.isascii() and text.isdigit() and len(text) < 19:
        return Room(int(text), total, f"{by}, cdmi_size")
    used, how = await _sum(wire, found)
    return Room(used, total, f"{by}, {how}")


async def _sum(wire: Wire, found: Found) -> tuple[int | None, str]:
    """The sizes of what is in it, LUNs as they are assigned; not of what is in containers in it."""
    server = found.location.server
    members = found.members
    if "children" not in members:
        members = (await select(wire, server, found.url, ("children",))).members()
    names = members.get("children")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None, "it does not say what is in it"
    if len(names) > MOST:
        return None, f"more than {MOST} objects are in it"
    turns = asyncio.Semaphore(wire.limits.concurrency)

    async def size(name: str) -> int:
        async with turns:
            return await _size(wire, found.location, name)

    return sum(await asyncio.gather(*map(size, names))), f"the sum of {len(names)} objects"


async def _size(wire: Wire, location: Location, name: str) -> int:
    """Of one child; 0 of one that tells none, or is gone meanwhile."""
    kind = CONTAINER if name.endswith("/") else DATAOBJECT
    try:
        (plain,) = names_of(name.rstrip("/?"))
    except ValueError:
        return 0
    place = Location(location.server, (*location.names, plain), kind == CONTAINER)
    answer = await select(wire, location.server, place.url, FIELDS, needed=("metadata",))
    if answer.status not in DONE:
        return 0
    return size_of(answer.members(), kind) or 0
