"""The server's one state: objects and storage network, changed together and one change at a time."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from tests.cdmi_server import exportfs, exports, files
from tests.cdmi_server.records import Kind, Record
from tests.cdmi_server.settings import Settings
from tests.cdmi_server.store import Store
from tests.cdmi_server.targets import NoTargets, SimulatedTargets, Targets, TargetsError, TargetsMode
from tests.cdmi_server.tcm_fc import FcTargets
from tests.cdmi_server.wire import CdmiError


def make_targets(settings: Settings) -> Targets:
    """Return the storage network that the settings choose."""
    match settings.targets:
        case TargetsMode.NONE:
            return NoTargets()
        case TargetsMode.SIMULATED:
            return SimulatedTargets(settings.state / "san.json")
        case TargetsMode.LIO:
            from tests.cdmi_server.lio import LioTargets  # needs rtslib, which only this mode needs

            fibre = FcTargets(settings.fc_targets, settings.fc_initiators)
            return LioTargets(settings.state / "lio.json", fibre, chap=settings.state / "chap.json")


class Service:
    """Objects and storage network; hold `lock` from reading what is to be changed until it is changed."""

    def __init__(self, settings: Settings) -> None:
        settings.state.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.store = Store(settings.state)
        self.targets = make_targets(settings)
        self.lock = asyncio.Lock()
        self._exported: dict[str, str] = {}

    async def start(self) -> None:
        """Show the LUNs that were exported when the server last ran. Raises TargetsError."""
        await self._apply()

    async def stop(self) -> None:
        """Withdraw the targets, unless they shall be kept. Raises TargetsError."""
        if not self.settings.keep_targets and self.settings.targets is TargetsMode.LIO:
            async with self.lock:
                await self.targets.apply(())

    async def commit(self, record: Record) -> None:
        """Keep a new or changed object and show it; nothing is changed when it cannot be shown (500)."""
        before = self.store.get(record.id)
        if record.volume and before is None:
            os.truncate(_created(self.store, record), record.volume.size)
        self.store.save(record)
        try:
            await self._apply()
        except TargetsError as error:
            if before:
                self.store.save(before)
            else:
                self.store.remove(record)
            with suppress(TargetsError):
                await self._apply()
            raise CdmiError(500, str(error)) from error

    async def delete(self, record: Record) -> None:
        """Withdraw the exports of the object and of all below it, then forget them.

        500 when the withdrawing fails: the exports are gone by then, and a repeated DELETE finishes the work.
        """
        for one in self._below(record):
            current = self.store.get(one.id)
            if current and current.volume:
                self._unswap(current)
                self.store.save(replace(current, volume=replace(current.volume, export=None, fibre=None, backing="")))
        try:
            await self._apply()
        except TargetsError as error:
            raise CdmiError(500, str(error)) from error
        self.store.remove(record)
        self._show_files()

    async def swap(self, one: Record, other: Record) -> None:
        """Exchange what answers at two exports, behind their backs: the exports go on saying what they said."""
        if not one.volume or not other.volume or one.id == other.id:
            raise CdmiError(400, "Two LUNs are needed")
        first, second = one.volume.backing or one.id, other.volume.backing or other.id
        pairs = ((one, one.volume, second), (other, other.volume, first))
        for record, volume, behind in pairs:
            self.store.save(replace(record, volume=replace(volume, backing=behind)))
        try:
            await self._apply()
        except TargetsError as error:
            raise CdmiError(500, str(error)) from error

    async def resize(self, record: Record, size: int) -> None:
        """Give a LUN another size, behind everybody's back: who is logged in is not told."""
        if not record.volume or size <= 0 or size % 512:
            raise CdmiError(400, "A LUN and a multiple of 512 are needed")
        os.truncate(self.store.value_file(record), size)
        metadata = {**record.metadata, exports.ASSIGNED_SIZE: str(size)}
        self.store.save(replace(record, metadata=metadata, volume=replace(record.volume, size=size)))
        try:
            await self._apply()
        except TargetsError as error:
            raise CdmiError(500, str(error)) from error

    def at(self, uri: str) -> Record:
        """Return the object at a URI, absolute, with the root path or without; 404 where there is none."""
        path = urlsplit(uri).path
        root = self.settings.root
        names = path[len(root) :] if root != "/" and path.startswith(root) else path
        found = self.find(tuple(unquote(name) for name in names.split("/") if name))
        if found is None:
            raise CdmiError(404, f"Nothing at {uri}")
        return found

    def find(self, names: tuple[str, ...]) -> Record | None:
        """Return the object at a path, which may start with cdmi_objectid and an ID."""
        record: Record | None = self.store.root
        if names[:1] == ("cdmi_objectid",):
            record = self.store.get(names[1]) if len(names) > 1 else None
            names = names[2:]
        for name in names:
            record = self.store.child(record, name) if record else None
        return record

    def _below(self, record: Record) -> list[Record]:
        children = self.store.children(record) if record.kind is Kind.CONTAINER else []
        return [record, *(one for child in children for one in self._below(child))]

    def _unswap(self, record: Record) -> None:
        """Let the export that shows this LUN's bytes show those which this LUN's export shows."""
        behind = record.volume.backing if record.volume else ""
        for other in list(self.store.volumes()):
            if other.volume and other.volume.backing == record.id:
                self.store.save(replace(other, volume=replace(other.volume, backing=behind)))

    async def _apply(self) -> None:
        await self.targets.apply(exports.luns(self.store, self.settings))
        self._show_files()

    def _show_files(self) -> None:
        if self.settings.nfs_root:
            files.show(self.store, self.settings.nfs_root)
            if self.settings.nfs_exports:
                after = exportfs.wanted(self.store, self.settings.nfs_root)
                exportfs.change(self._exported, after)
                self._exported = after


def _created(store: Store, record: Record) -> str:
    file = store.value_file(record)
    file.touch(mode=0o600)
    return str(file)
