"""From a source to the object and its exports, explained."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from agent.cdmi import networks, sources
from agent.cdmi.above import above, places
from agent.cdmi.answers import NOT_THIS_WAY, unreachable
from agent.cdmi.climb import Reader, View, climb
from agent.cdmi.exports import read_exports
from agent.cdmi.find import find
from agent.cdmi.members import (
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
from agent.cdmi.named import own_url
from agent.cdmi.place import Place
from agent.cdmi.server import Server
from agent.cdmi.text import shown
from agent.cdmi.wire import Wire
from agent.model import Resolved, SeenExport


async def resolve(
    wire: Wire, source: str, *, servers: Sequence[Server], protocols: Collection[str], resolver: networks.Resolver
) -> Resolved:
    """See `agent.contract.Cdmi.resolve`."""
    location = sources.parse(source, servers)
    server = location.server
    found = await find(wire, location)
    answer = found.answer
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
    name = name_of(found.members) or shown(location.names[-1] if location.names else "/", MAX_NAME)
    return Resolved(
        server=server.url,
        uri=own_url(found, kind, object_id),
        object_id=object_id,
        name=name,
        kind=kind,
        size=size,
        exports=(*own, *view.exports),
        above=tuple(view.above),
        pending=pending_of(found.members),
        version=answer.spoken,
        places=places(found),
        over=await above(wire, [found, *view.passed]),
    )


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
