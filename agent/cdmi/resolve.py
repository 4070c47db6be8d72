"""From a source to the object and its exports, explained."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from agent.cdmi import networks, sources
from agent.cdmi.answers import DONE, NOT_THIS_WAY, Answer, TooLargeError, unreachable
from agent.cdmi.climb import Reader, View, climb
from agent.cdmi.exports import read_exports
from agent.cdmi.members import (
    CONTAINER,
    DATAOBJECT,
    MAX_NAME,
    Found,
    check_complete,
    kind_of,
    name_of,
    object_id_of,
    pending_of,
    size_of,
)
from agent.cdmi.place import Place
from agent.cdmi.select import select
from agent.cdmi.server import Server
from agent.cdmi.sources import Location
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Resolved, SeenExport

FIELDS = (
    "objectType",
    "objectID",
    "objectName",
    "parentURI",
    "completionStatus",
    "percentComplete",
    "metadata",
    "exports",
)


async def resolve(
    wire: Wire, source: str, *, servers: Sequence[Server], protocols: Collection[str], resolver: networks.Resolver
) -> Resolved:
    """See `agent.model.Cdmi.resolve`."""
    location = sources.parse(source, servers)
    server = location.server
    answer = await _find(wire, location)
    found = Found(location, answer, answer.members())
    check_complete(answer, found.members)
    kind = kind_of(answer, found.members)
    object_id = object_id_of(location, answer, found.members)
    size = size_of(found.members, kind)
    nfs_servers = (server.nfs_server or server.host,)
    place = Place(size=size or 0, object_id=object_id, nfs_servers=nfs_servers)

    async def read(exports: object, place: Place) -> tuple[SeenExport, ...]:
        entries = read_exports(exports, protocols=protocols, place=place)
        return await networks.pinned(entries, server, resolver=resolver, names_s=wire.limits.names_s)

    own = await read(await _exports(wire, found, kind), place)
    view = await _climb(wire, found, place, read) if kind == DATAOBJECT else View(found.url)
    at = sources.by_id(server, object_id, slash=kind == CONTAINER) if object_id else _spelt(location, kind)
    name = name_of(found.members) or shown(location.names[-1] if location.names else "/", MAX_NAME)
    return Resolved(
        server=server.url,
        uri=at.url,
        object_id=object_id,
        name=name,
        kind=kind,
        size=size,
        exports=(*own, *view.exports),
        above=tuple(view.above),
        pending=pending_of(found.members),
        version=answer.spoken,
    )


async def _find(wire: Wire, location: Location) -> Answer:
    """The object as a container (what a LUN is), else as a data object, by its fields, lest its value come along.

    A value is also what some servers answer to a container's spelling of a data object; and where a container has so
    many children that it cannot be read as a whole, its fields can.
    """
    server = location.server
    try:
        answer = await wire.get(server, _spelt(location, CONTAINER).url)
    except TooLargeError:
        return await select(wire, server, location.url, FIELDS)
    if answer.status in DONE:
        return answer if answer.is_object() else await select(wire, server, location.url, FIELDS)
    if location.slash or answer.status not in NOT_THIS_WAY:
        return answer
    return await select(wire, server, _spelt(location, DATAOBJECT).url, FIELDS)


def _spelt(location: Location, kind: str) -> Location:
    return replace(location, slash=kind == CONTAINER)


async def _exports(wire: Wire, found: Found, kind: str) -> Any:
    """The field `exports`: of the whole object, or asked for by name where a container's answer lacks it."""
    if "exports" in found.members or kind == DATAOBJECT:
        return found.members.get("exports")
    alone = await wire.get(found.answer.server, found.url, fields=("exports",))
    return None if alone.status in NOT_THIS_WAY else alone.members().get("exports")


async def _climb(wire: Wire, found: Found, place: Place, read: Reader) -> View:
    limit_s = wire.limits.total_s
    try:
        async with asyncio.timeout(limit_s):
            return await climb(wire, found, place=place, read=read)
    except TimeoutError:
        reason = f"the containers above {found.url} were not read within {limit_s:g} s"
        raise unreachable(found.answer.server, reason, status=504) from None
