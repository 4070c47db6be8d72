"""The CDMI client of a process that can be killed before and after each of its calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from agent.host.simulated_faults import Moment
from agent.model import IsLunError, Making, Reading, Resolved, Room, Stat
from agent.uses import Fenced, Users
from attachers.problems import Code
from tests.engine.cdmi_model import CdmiModel
from tests.engine.trip import Trip

T = TypeVar("T")


class TrippedCdmi:
    """The client of one process: every call is a point before and a point after. Implements `agent.contract.Cdmi`."""

    def __init__(self, model: CdmiModel, trip: Trip) -> None:
        self._model, self._trip = model, trip

    async def resolve(self, source: str) -> Resolved:
        return await self._call("resolve", source, lambda: self._model.resolve(source))

    async def grant(self, uri: str, key: str, *initiators: str) -> None:
        await self._call("grant", uri, lambda: self._model.grant(uri, key, *initiators))

    async def revoke(self, uri: str, key: str, *initiators: str) -> None:
        await self._call("revoke", uri, lambda: self._model.revoke(uri, key, *initiators))

    async def stat(self, source: str) -> Stat:
        return await self._call("stat", source, lambda: self._model.stat(source))

    async def change(self, source: str, metadata: Mapping[str, str | None]) -> None:
        await self._call("change", source, lambda: self._model.change(source))

    async def delete(self, uri: str, *, pause: Any, object_id: str = "", reference: bool | None = None) -> None:
        await self._call("delete", uri, lambda: self._model.delete(uri))

    # Copies: see test_operations.py, which has a real server.

    def place(self, destination: str) -> str:
        return self._model.place(destination)

    def snapshot_place(self, source: str, name: str) -> str:
        return f"{source}/cdmi_snapshots/{name}"

    async def copy(
        self, source: str, destination: str, *, size: int | None, metadata: Mapping[str, str], mark: str
    ) -> str:
        raise NotImplementedError

    async def snapshot(self, source: str, name: str) -> None:
        raise NotImplementedError

    async def look(self, uri: str) -> Making:
        return await self._call("look", uri, lambda: self._model.look(uri))

    async def prove_copy(self, source: str, destination: str, *, size: int | None, object_id: str) -> None:
        raise NotImplementedError

    async def export_like(self, source: str, destination: str, *, object_id: str = "") -> None:
        raise NotImplementedError

    async def read(self, source: str, *, part: Any, tag: str, pause: Any) -> Reading:
        await self.stat(source)
        raise IsLunError(Code.UNSUPPORTED_ON_HOST, f"uri: {source} is a LUN", hint="attach it")

    async def write(self, destination: str, pieces: Any, *, length: int | None, replace: bool, pause: Any) -> bool:
        async for _ in pieces:
            pass
        return False

    async def create(self, place: str, *, kind: str, size: int | None, metadata: Mapping[str, str], mark: str) -> str:
        raise NotImplementedError

    async def resize(self, uri: str, size: int, *, shrink: bool, pause: Any, object_id: str = "") -> None:
        await self._call("resize", uri, lambda: self._model.resize(uri, size, shrink=shrink))

    async def move(self, source: str, destination: str, *, object_id: str = "") -> None:
        await self._call("move", source, lambda: self._model.move(source, destination))

    async def restore(self, uri: str, name: str, *, object_id: str = "") -> None:
        await self._call("restore", uri, lambda: self._model.restore(uri, name))

    async def unlike(self, uri: str, name: str) -> str:
        return await self._call("compare", uri, lambda: self._model.unlike(uri))

    async def offers(self, uri: str) -> Mapping[str, str]:
        return await self._call("offer exports", uri, lambda: self._model.offers(uri))

    async def export(self, uri: str, key: str, protocol: str) -> tuple[str, bool]:
        return await self._call("export", uri, lambda: self._model.export(uri))

    async def unexport(self, uri: str, key: str, *initiators: str) -> None:
        await self._call("unexport", uri, lambda: self._model.unexport(uri, key, *initiators))

    async def fence(self, uri: str, names: Sequence[str]) -> tuple[Fenced, ...]:
        return await self._call("fence", uri, lambda: self._model.fence(uri, names))

    async def users(self, uri: str) -> Users:
        return await self._call("tell its users", uri, lambda: self._model.users(uri))

    async def capacity(self, source: str) -> Room:
        raise NotImplementedError

    async def close(self) -> None:
        return None

    async def _call(self, what: str, uri: str, work: Callable[[], T]) -> T:
        self._trip.pass_(f"before the server is asked to {what}")
        await self._tell(Moment.BEFORE, what, uri)
        result = work()
        await self._tell(Moment.AFTER, what, uri)
        self._trip.pass_(f"after the server was asked to {what}")
        return result

    async def _tell(self, moment: Moment, what: str, uri: str) -> None:
        if self._model.hook:
            await self._model.hook(moment, what, uri)
