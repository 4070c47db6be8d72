"""Objects on the servers, as callers work with them beside attachments: look, change, delete."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict
from typing import Any

from agent.cdmi.answers import DanglingError
from agent.contract import Cdmi
from agent.engine.attached import attached, refuse_attached
from agent.engine.desk import Desk
from agent.engine.in_hand import alone, held, refuse_making
from agent.engine.lun_content import LunContent
from agent.engine.others import is_us, others_among, refuse_others
from agent.engine.pause import pauses
from agent.engine.touched import refuse_touched
from agent.model import IsLunError, Part, Reading, Stat
from agent.uses import CAREFUL, Despite
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
STREAMS = 8
"""How many objects are read or written at a time; more wait for their turn."""


class Objects:
    """Implements `agent.model.Objects`. What is attached here is not taken away from under its users."""

    def __init__(self, desk: Desk, luns: LunContent) -> None:
        self._desk = desk
        self._luns = luns
        self._under_way: dict[asyncio.Future[None], Cdmi] = {}
        self._streams = asyncio.Semaphore(STREAMS)

    async def stat(self, source: str) -> dict[str, Any]:
        """See `agent.model.Objects`."""
        return self._view(source, await self._desk.cdmi.stat(source))

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> dict[str, Any]:
        """See `agent.model.Objects`.

        All items are written back, the size of a LUN among them: under the lock, so that it is the size that it has.
        """
        async with held(self._desk, source):
            await self._desk.cdmi.change(source, metadata)
        return await self.stat(source)

    async def users(self, source: str) -> dict[str, Any]:
        """See `agent.model.Objects`."""
        view, users = await self.stat(source), await self._desk.cdmi.users(source)
        others = await others_among(self._desk, users.names)
        return view | {"others": others, "anybody": users.anybody, "snapshots": users.snapshots}

    async def delete(self, source: str, *, despite: Despite = CAREFUL) -> bool:
        """See `agent.model.Objects`."""
        try:
            async with self._using() as cdmi:
                await self._delete(cdmi, source, despite)
        except Problem as problem:
            if problem.code is not Code.NOT_FOUND:
                raise
            return False
        return True

    async def _delete(self, cdmi: Cdmi, source: str, despite: Despite) -> None:
        """Delete an object under its lock; a reference without, which is that of the object that it leads to."""
        waits = pauses(self._desk.host)
        try:
            async with held(self._desk, source, object_id=despite.object_id) as found:
                if not found.reference:
                    async with alone(self._desk, found, field="source"):
                        await refuse_others(self._desk, source, field="source", despite=despite, goes=True)
                        log.info("delete %s", found.uri)
                        await cdmi.delete(source, pause=waits, object_id=found.object_id, reference=False)
                    return
        except DanglingError as dangling:
            log.info("delete %s, a reference to nothing", dangling.named)
            await cdmi.delete(source, pause=waits)
            return
        log.info("delete %s, a reference to %s", found.reference, found.uri)
        await cdmi.delete(source, pause=waits, object_id=found.object_id, reference=True)

    async def resize(self, source: str, size: int, *, shrink: bool, despite: Despite = CAREFUL) -> dict[str, Any]:
        """See `agent.model.Objects`."""
        async with held(self._desk, source, object_id=despite.object_id) as found, AsyncExitStack() as stack:
            smaller = found.size is not None and size < found.size
            if smaller:
                await stack.enter_async_context(alone(self._desk, found, field="uri"))
            if smaller and shrink:
                await refuse_others(self._desk, source, field="uri", despite=despite)
            log.info("resize %s from %s to %d bytes", found.uri, found.size, size)
            # What others have enlarged since is not made smaller: only what was looked at here may be.
            may, object_id = shrink and smaller, found.object_id
            async with self._using() as cdmi:
                await cdmi.resize(source, size, shrink=may, pause=pauses(self._desk.host), object_id=object_id)
        return await self.stat(source)

    async def fence(self, source: str, names: Sequence[str], *, despite: Despite = CAREFUL) -> dict[str, Any]:
        """See `agent.model.Objects`."""
        async with held(self._desk, source, object_id=despite.object_id) as found:
            if attached(self._desk, found) and await is_us(self._desk, names):
                refuse_attached(self._desk, found, field="host")
            log.warning("fence %s off %s", ", ".join(names), found.uri)
            fenced = await self._desk.cdmi.fence(found.uri, names)
        return {"uri": found.uri, "host": list(names), "exports": [asdict(one) for one in fenced]}

    async def capacity(self, source: str) -> dict[str, Any]:
        """See `agent.model.Objects`."""
        room = await self._desk.cdmi.capacity(source)
        free = None if room.total is None or room.used is None else max(room.total - room.used, 0)
        return {"source": source, "used": room.used, "free": free, "total": room.total, "by": room.by}

    @asynccontextmanager
    async def read(self, source: str, *, part: Part | None, tag: str) -> AsyncIterator[Reading]:
        """See `agent.model.Objects`."""
        async with self._stream() as cdmi, AsyncExitStack() as held:
            try:
                reading = await cdmi.read(source, part=part, tag=tag, pause=pauses(self._desk.host))
            except IsLunError:
                part = None if tag else part  # nothing tells that it is the same still
                reading = await held.enter_async_context(self._luns.read(source, part))
            async with aclosing(reading.pieces):
                yield reading

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[Cdmi]:
        """One of the few streams. Raises `Problem` (`busy`): those that run may last, so that nobody waits for one."""
        if self._streams.locked():
            detail = f"{STREAMS} objects are being read or written already"
            raise Problem(Code.BUSY, detail, hint="try again when one of them is done")
        async with self._streams, self._using() as cdmi:
            yield cdmi

    async def let_go(self, client: Cdmi) -> None:
        """Wait until nothing is read, written, deleted or resized by this client, which a reload has replaced."""
        while works := [over for over, of_client in self._under_way.items() if of_client is client]:
            await asyncio.wait(works)

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[Cdmi]:
        """The client of the moment, which is not closed meanwhile."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        client = self._under_way[over] = self._desk.cdmi
        try:
            yield client
        finally:
            over.set_result(None)
            del self._under_way[over]

    async def write(
        self,
        destination: str,
        pieces: AsyncIterator[bytes],
        *,
        length: int | None,
        replace: bool,
        despite: Despite = CAREFUL,
    ) -> tuple[bool, dict[str, Any]]:
        """See `agent.model.Objects`."""
        place = self._desk.cdmi.place(destination)
        async with self._alone(destination, place) as found, self._stream() as cdmi:
            if found is not None and replace:
                await refuse_others(self._desk, destination, field="uri", despite=despite)
            fresh = await cdmi.write(destination, pieces, length=length, replace=replace, pause=pauses(self._desk.host))
        log.info("%s is written", place)
        return fresh, await self.stat(destination)

    @asynccontextmanager
    async def _alone(self, destination: str, place: str) -> AsyncIterator[Stat | None]:
        """What is there: nobody else here writes it, and nobody here uses it, until the end.

        Raises `Problem` busy, in-use.
        """
        here, touched = {place.rstrip("/")}, self._desk.touched
        refuse_touched(touched, here, f"uri: {place}")
        refuse_making(self._desk, here, field="uri")
        with touched.hold(here):
            found = await self._found(destination)
            async with AsyncExitStack() as stack:
                if found is not None:
                    refuse_making(self._desk, found.keys, field="uri")
                    await stack.enter_async_context(alone(self._desk, found, field="uri", mine=here))
                yield found

    async def _found(self, source: str) -> Stat | None:
        try:
            return await self._desk.cdmi.stat(source)
        except Problem as problem:
            if problem.code is Code.NOT_FOUND:
                return None
            raise

    def _view(self, source: str, found: Stat) -> dict[str, Any]:
        return {
            "source": source,
            "server": found.server,
            "uri": found.uri,
            "object_id": found.object_id or None,
            "places": list(found.places),
            "name": found.name,
            "kind": found.kind,
            "size": found.size,
            "format": found.format,
            "hash": {"algorithm": found.hash[0], "value": found.hash[1]} if found.hash else None,
            "times": dict(found.times),
            "metadata": dict(found.metadata),
            "reference": found.reference or None,
            "pending": found.pending or None,
            "attachments": [row.name for row in attached(self._desk, found)],
        }
