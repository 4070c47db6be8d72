"""The CDMI client: what the engine asks of CDMI servers, see `agent.model.Cdmi`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace as replaced

from agent.cdmi import content, copies, networks, objects, sources, uploads
from agent.cdmi.grants import Change, make
from agent.cdmi.resolve import resolve
from agent.cdmi.server import Server
from agent.cdmi.wire import Clock, Limits, Told, Wire, nobody
from agent.model import Making, Part, Reading, Resolved, Stat


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
        """See `agent.model.Cdmi`."""
        return await resolve(
            self._wire, source, servers=self._servers, protocols=self._protocols, resolver=self._resolver
        )

    async def grant(self, uri: str, key: str, *initiators: str) -> None:
        """See `agent.model.Cdmi`. An entry without `permissions` is open to anybody: nothing to do."""
        await make(self._wire, Change(sources.parse(uri, self._servers), key, initiators, present=True))

    async def revoke(self, uri: str, key: str, *initiators: str) -> None:
        """See `agent.model.Cdmi`."""
        await make(self._wire, Change(sources.parse(uri, self._servers), key, initiators, present=False))

    async def stat(self, source: str) -> Stat:
        """See `agent.model.Cdmi`."""
        return await objects.stat(self._wire, sources.parse(source, self._servers))

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> None:
        """See `agent.model.Cdmi`."""
        await objects.change(self._wire, sources.parse(source, self._servers), metadata)

    async def delete(self, uri: str) -> None:
        """See `agent.model.Cdmi`."""
        await objects.delete(self._wire, sources.parse(uri, self._servers))

    def place(self, destination: str) -> str:
        """See `agent.model.Cdmi`."""
        return replaced(sources.parse(destination, self._servers), slash=False).url

    def snapshot_place(self, source: str, name: str) -> str:
        """See `agent.model.Cdmi`."""
        return copies.snapshot_place(sources.parse(source, self._servers), name).url

    async def copy(self, source: str, destination: str, *, size: int | None) -> None:
        """See `agent.model.Cdmi`."""
        places = (sources.parse(one, self._servers) for one in (source, destination))
        await copies.copy(self._wire, *places, size=size)

    async def snapshot(self, source: str, name: str) -> None:
        """See `agent.model.Cdmi`."""
        await copies.snapshot(self._wire, sources.parse(source, self._servers), name)

    async def look(self, uri: str) -> Making:
        """See `agent.model.Cdmi`."""
        return await copies.look(self._wire, sources.parse(uri, self._servers))

    async def export_like(self, source: str, destination: str) -> None:
        """See `agent.model.Cdmi`."""
        places = (sources.parse(one, self._servers) for one in (source, destination))
        await copies.export_like(self._wire, *places)

    async def read(self, source: str, *, part: Part | None, tag: str, pause: content.Pause) -> Reading:
        """See `agent.model.Cdmi`."""
        return await content.read(self._wire, sources.parse(source, self._servers), part=part, tag=tag, pause=pause)

    async def write(
        self, destination: str, pieces: AsyncIterator[bytes], *, length: int | None, replace: bool, pause: content.Pause
    ) -> bool:
        """See `agent.model.Cdmi`."""
        place = sources.parse(destination, self._servers)
        return await uploads.write(self._wire, place, pieces, length=length, replace=replace, pause=pause)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()
