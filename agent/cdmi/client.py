"""The CDMI client: what the engine asks of CDMI servers, see `agent.contract.Cdmi`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace as replaced

from agent.cdmi import (
    changes,
    content,
    copied,
    copies,
    deleting,
    exporting,
    fences,
    networks,
    objects,
    restored,
    rooms,
    sources,
    unexporting,
    uploads,
    users,
)
from agent.cdmi.grants import Change, make
from agent.cdmi.resolve import resolve
from agent.cdmi.server import Server
from agent.cdmi.transfer import Pause
from agent.cdmi.wire import Clock, Limits, Told, Wire, nobody
from agent.model import Making, Part, Reading, Resolved, Room, Stat
from agent.uses import Fenced, Users


class CdmiClient:
    """Talks to the configured servers and to no others; makes its connections when they are needed.

    `protocols` are those enabled on this host. Nothing is cached but connections: each call reads anew.
    `told` is told of every request: its server, and the HTTP status or `unreachable`. `clock` tells monotonic seconds,
    for how long a server that is away is left alone.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        protocols: Sequence[str],
        resolver: networks.Resolver | None = None,
        limits: Limits | None = None,
        told: Told = nobody,
        clock: Clock | None = None,
    ) -> None:
        self._servers = tuple(servers)
        self._protocols = tuple(protocols)
        self._resolver = resolver or networks.look_up
        self._wire = Wire(limits or Limits(), told=told, clock=clock)

    async def resolve(self, source: str) -> Resolved:
        """See `agent.contract.Cdmi`."""
        return await resolve(
            self._wire, source, servers=self._servers, protocols=self._protocols, resolver=self._resolver
        )

    async def grant(self, uri: str, key: str, *initiators: str) -> None:
        """See `agent.contract.Cdmi`. An entry without `permissions` is open to anybody: nothing to do."""
        await make(self._wire, Change(sources.parse(uri, self._servers), key, initiators, present=True))

    async def revoke(self, uri: str, key: str, *initiators: str) -> None:
        """See `agent.contract.Cdmi`."""
        await make(self._wire, Change(sources.parse(uri, self._servers), key, initiators, present=False))

    async def stat(self, source: str) -> Stat:
        """See `agent.contract.Cdmi`."""
        return await objects.stat(self._wire, sources.parse(source, self._servers))

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> None:
        """See `agent.contract.Cdmi`."""
        await objects.change(self._wire, sources.parse(source, self._servers), metadata)

    async def delete(self, uri: str, *, pause: Pause, object_id: str = "", reference: bool | None = None) -> None:
        """See `agent.contract.Cdmi`."""
        location = sources.parse(uri, self._servers)
        await deleting.delete(self._wire, location, pause=pause, object_id=object_id, reference=reference)

    def place(self, destination: str) -> str:
        """See `agent.contract.Cdmi`."""
        return replaced(sources.parse(destination, self._servers), slash=False).url

    def snapshot_place(self, source: str, name: str) -> str:
        """See `agent.contract.Cdmi`."""
        return copies.snapshot_place(sources.parse(source, self._servers), name).url

    async def copy(
        self, source: str, destination: str, *, size: int | None, metadata: Mapping[str, str], mark: str
    ) -> str:
        """See `agent.contract.Cdmi`."""
        places = (sources.parse(one, self._servers) for one in (source, destination))
        return await copies.copy(self._wire, *places, size=size, metadata=metadata, mark=mark)

    async def snapshot(self, source: str, name: str) -> None:
        """See `agent.contract.Cdmi`."""
        await copies.snapshot(self._wire, sources.parse(source, self._servers), name)

    async def look(self, uri: str) -> Making:
        """See `agent.contract.Cdmi`."""
        return await copies.look(self._wire, sources.parse(uri, self._servers))

    async def prove_copy(self, source: str, destination: str, *, size: int | None, object_id: str) -> None:
        """See `agent.contract.Cdmi`."""
        here, there = (sources.parse(one, self._servers) for one in (source, destination))
        await copied.prove(self._wire, here, there, size=size, object_id=object_id)

    async def export_like(self, source: str, destination: str, *, object_id: str = "") -> None:
        """See `agent.contract.Cdmi`."""
        here, there = (sources.parse(one, self._servers) for one in (source, destination))
        await copies.export_like(self._wire, here, there, object_id)

    async def create(self, place: str, *, kind: str, size: int | None, metadata: Mapping[str, str], mark: str) -> str:
        """See `agent.contract.Cdmi`."""
        location = sources.parse(place, self._servers)
        return await changes.create(self._wire, location, kind=kind, size=size, metadata=copies.marked(metadata, mark))

    async def resize(self, uri: str, size: int, *, shrink: bool, pause: Pause, object_id: str = "") -> None:
        """See `agent.contract.Cdmi`."""
        location = sources.parse(uri, self._servers)
        await changes.resize(self._wire, location, size, shrink=shrink, pause=pause, object_id=object_id)

    async def move(self, source: str, destination: str, *, object_id: str = "") -> None:
        """See `agent.contract.Cdmi`."""
        here, there = (sources.parse(one, self._servers) for one in (source, destination))
        await changes.move(self._wire, here, there, object_id)

    async def restore(self, uri: str, name: str, *, object_id: str = "") -> None:
        """See `agent.contract.Cdmi`."""
        location = sources.parse(uri, self._servers)
        await changes.restore(self._wire, location, copies.snapshot_place(location, name), object_id)

    async def unlike(self, uri: str, name: str) -> str:
        """See `agent.contract.Cdmi`."""
        location = sources.parse(uri, self._servers)
        return await restored.unlike(self._wire, location, copies.snapshot_place(location, name))

    async def offers(self, uri: str) -> Mapping[str, str]:
        """See `agent.contract.Cdmi`."""
        offered = await exporting.offers(self._wire, sources.parse(uri, self._servers))
        return {protocol: key for protocol, key in offered.items() if protocol in self._protocols}

    async def export(self, uri: str, key: str, protocol: str) -> tuple[str, bool]:
        """See `agent.contract.Cdmi`."""
        return await exporting.export(self._wire, sources.parse(uri, self._servers), key, protocol)

    async def unexport(self, uri: str, key: str, *initiators: str) -> None:
        """See `agent.contract.Cdmi`."""
        await unexporting.unexport(self._wire, sources.parse(uri, self._servers), key, initiators)

    async def fence(self, uri: str, names: Sequence[str]) -> tuple[Fenced, ...]:
        """See `agent.contract.Cdmi`."""
        return await fences.fence(self._wire, sources.parse(uri, self._servers), tuple(names))

    async def users(self, uri: str) -> Users:
        """See `agent.contract.Cdmi`."""
        return await users.users(self._wire, sources.parse(uri, self._servers))

    async def capacity(self, source: str) -> Room:
        """See `agent.contract.Cdmi`."""
        return await rooms.capacity(self._wire, sources.parse(source, self._servers))

    async def read(self, source: str, *, part: Part | None, tag: str, pause: Pause) -> Reading:
        """See `agent.contract.Cdmi`."""
        return await content.read(self._wire, sources.parse(source, self._servers), part=part, tag=tag, pause=pause)

    async def write(
        self, destination: str, pieces: AsyncIterator[bytes], *, length: int | None, replace: bool, pause: Pause
    ) -> bool:
        """See `agent.contract.Cdmi`."""
        place = sources.parse(destination, self._servers)
        return await uploads.write(self._wire, place, pieces, length=length, replace=replace, pause=pause)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()
