"""Objects that are made, grown, moved and brought back on a server: what it is asked for, and proved to have done.

CDMI 1.1 clauses 8.2, 8.4, 9.2, 9.4; 2.0 clauses 8.2, 8.5, 9.2, 9.5. A LUN's size: `cdmi_assignedsize` (1.1 16.5).
"""

import json
from collections.abc import Mapping
from typing import Any

from agent.cdmi.answers import Answer, refused
from agent.cdmi.copies import check_new, id_made, spellings
from agent.cdmi.find import find, spelt
from agent.cdmi.members import CONTAINER, DATAOBJECT, Found, check_complete, kind_of, pending_of, size_of
from agent.cdmi.named import itself
from agent.cdmi.objects import MADE_BY_SERVERS
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.transfer import FIRST_PAUSE_S, LONGEST_PAUSE_S, TRIES, Pause
from agent.cdmi.wire import Wire
from attachers.problems import Code, Problem

SIZE = "cdmi_assignedsize"


async def create(wire: Wire, location: Location, *, kind: str, size: int | None, metadata: Mapping[str, str]) -> str:
    """Begin to make an object where nothing is: a LUN of `size` bytes, a container without, an empty data object.

    Returns the ID that the answer names; empty where it names none.
    """
    check_new(location, "uri")
    await _find_parent(wire, Location(location.server, location.names[:-1], True))
    body: dict[str, Any] = {"metadata": dict(metadata)}
    if kind == DATAOBJECT:
        body |= {"mimetype": "application/octet-stream", "value": ""}
    elif size is not None:
        body["metadata"][SIZE] = str(size)
    answer = await wire.create(location.server, spelt(location, kind).url, json.dumps(body).encode())
    return id_made(answer.check())


async def _find_parent(wire: Wire, parent: Location) -> None:
    """That there is a container to make something in; also, the version that the server speaks is known then."""
    above = await find(wire, parent)
    if kind_of(above.answer, above.members) != CONTAINER:
        what = f"uri: {shown(above.url, 300)} is a data object, and nothing can be in it"
        raise Problem(Code.INVALID_REQUEST, what, hint="give a path in a container")


async def resize(wire: Wire, location: Location, size: int, *, shrink: bool, pause: Pause, object_id: str = "") -> None:
    """Give a LUN, or a data object (growing alone), this size in bytes; read back. Raises `Problem`.

    `object_id`: the one that it has to have, where that was seen before.
    """
    found = await find(wire, location)
    object_id = itself(found, "uri", object_id)
    check_complete(found.answer, found.members)
    kind = kind_of(found.answer, found.members)
    had = size_of(found.members, kind)
    if had is None:
        what = f"uri: {shown(found.url, 300)} is no LUN and tells no size"
        raise Problem(Code.INVALID_REQUEST, what, hint="give a LUN or a data object")
    if had == size:
        return
    if size < had and (kind == DATAOBJECT or not shrink):
        hint = "a data object is never cut" if kind == DATAOBJECT else "to have what is beyond it thrown away: shrink"
        what = f"size: {size} is less than the {had} bytes that it has"
        raise Problem(Code.INVALID_REQUEST, what, hint=hint)
    answer = await (_last_byte(wire, found, size) if kind == DATAOBJECT else _assign(wire, found, size))
    answer.check()
    await _has(wire, found.location, size, pause, object_id)


async def _last_byte(wire: Wire, found: Found, size: int) -> Answer:
    """Write the last byte of what it shall be: gaps read as zeros."""
    body = json.dumps({"value": "AA=="}).encode()
    return await wire.update(found.location.server, found.url, body, fields=(f"value:{size - 1}-{size - 1}",))


async def _assign(wire: Wire, found: Found, size: int) -> Answer:
    """Another size in the metadata: the whole of it, and the one item's name, as `objects.change` does."""
    there = found.members["metadata"]
    kept = {name: value for name, value in there.items() if name not in MADE_BY_SERVERS}
    body = json.dumps({"metadata": kept | {SIZE: str(size)}}).encode()
    return await wire.update(found.location.server, found.url, body, fields=(f"metadata:{SIZE}",))


async def _has(wire: Wire, location: Location, size: int, pause: Pause, object_id: str) -> None:
    """Wait until it has the size, and the server is done. Raises `Problem` cdmi-refused where it does not come.

    A size that is told counts also while the server works on, as it does when it is asked for again: one that fills up
    what it has added may do so for hours. That it does so is told with the object.
    """
    found, pause_s = await find(wire, location), FIRST_PAUSE_S
    for _ in range(TRIES):
        check_complete(found.answer, found.members)
        if not pending_of(found.members):
            break
        await pause(pause_s)
        found, pause_s = await find(wire, location), min(2 * pause_s, LONGEST_PAUSE_S)
    itself(found, "uri", object_id)
    check_complete(found.answer, found.members)
    has = size_of(found.members, kind_of(found.answer, found.members))
    if has == size:
        return
    if pending := pending_of(found.members):
        what = f"{found.url} was to have {size} bytes: {pending}"
        raise refused(location.server, what, hint="repeat the request later: that it has the size is success then")
    what = f"{found.url} has {has} bytes after {size} were asked for"
    raise refused(location.server, what, hint="the server keeps its size: see its log, or clone it with a size")


async def move(wire: Wire, source: Location, destination: Location, object_id: str = "") -> None:
    """Begin to move an object (of that ID) to a place where nothing is, on the same server. Raises `Problem`."""
    if source.server != destination.server:
        what = f"destination: {destination.server.url} cannot take from {source.server.url}"
        raise Problem(Code.INVALID_REQUEST, what, hint="move within one server")
    check_new(destination, "destination")
    found = await find(wire, source)
    itself(found, "source", object_id)
    if not found.location.names:
        raise Problem(Code.INVALID_REQUEST, "source: the root cannot be moved", hint="move what is in it")
    url = spelt(destination, kind_of(found.answer, found.members)).url
    for uri in spellings(found):
        answer = await wire.create(destination.server, url, json.dumps({"move": uri}).encode())
        if answer.status not in (400, 404):
            break
    answer.check()


async def restore(wire: Wire, location: Location, snapshot: Location, object_id: str = "") -> None:
    """Begin to bring a container (of that ID) back to one of its snapshots, by a copy into it. Raises `Problem`."""
    found, kept = await find(wire, location), await find(wire, snapshot)
    itself(found, "uri", object_id)
    itself(kept, "name")
    if kind_of(found.answer, found.members) != CONTAINER:
        what = f"uri: {shown(found.url, 300)} is a data object, and has no snapshots"
        raise Problem(Code.INVALID_REQUEST, what, hint="give the container that the snapshot was taken of")
    sizes = [size_of(one.members, CONTAINER) for one in (found, kept)]
    if None not in sizes and sizes[0] != sizes[1]:
        what = f"name: the snapshot has {sizes[1]} bytes, and what it would be brought back into {sizes[0]}"
        raise Problem(Code.CONFLICT, what, hint="resize that first, or clone the snapshot")
    for uri in spellings(kept):
        body = json.dumps({"copy": uri}).encode()
        answer = await wire.update(location.server, found.url, body, fields=())
        if answer.status not in (400, 404):
            break
    answer.check()
