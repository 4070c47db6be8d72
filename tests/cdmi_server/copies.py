"""Copies and snapshots on the server, at once or (as the source's metadata wants it) after a while, or not at all."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.cdmi_server import exports, objectid
from tests.cdmi_server.records import Kind, Making, Record, Volume, now
from tests.cdmi_server.service import Service
from tests.cdmi_server.wire import CdmiError

READS, HIDDEN, ERROR = "x_copy_reads", "x_copy_hidden", "x_copy_error"
"""Metadata of a source: how many reads find its copy in the making, how many before find nothing, how it ends."""
SNAPSHOTS = "cdmi_snapshots"


def source_of(service: Service, uri: Any, kind: Kind) -> Record:
    """Return the object that `copy` names: relative to the root, or a whole URI. 400 for another kind of object."""
    if not isinstance(uri, str):
        raise CdmiError(400, "copy must be a URI")
    record = service.at(uri if "://" in uri or uri.startswith("/") else f"/{uri}")
    if record.kind is not kind:
        raise CdmiError(400, "A copy is of the same kind as its source")
    return record


async def copy(service: Service, source: Record, fresh: Record, metadata: Mapping[str, Any] | None) -> Record:
    """Keep the fresh record as a copy of the source; metadata (None: the source's) replaces all of its own."""
    given = dict(source.metadata if metadata is None else metadata)
    volume = None
    if source.volume:
        volume = exports.new_volume(given) or Volume(source.volume.size)
        if volume.size < source.volume.size:
            raise CdmiError(400, f"A copy of {source.volume.size} bytes has no room in {volume.size}")
    making = _making(source)
    kept = {name: value for name, value in given.items() if name not in (READS, HIDDEN, ERROR)}
    record = replace(fresh, metadata=kept, volume=volume, making=making)
    record = replace(record, mimetype=source.mimetype, encoding=source.encoding)
    if source.kind is Kind.OBJECT:
        service.store.value_file(record).touch()
    await service.commit(record)
    if source.kind is Kind.OBJECT or source.volume:
        await asyncio.to_thread(_copy_bytes, service, source, record)
    return record


async def snapshot(service: Service, record: Record, name: Any) -> None:
    """Keep a snapshot of a container under its name, in place of an older one of that name."""
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise CdmiError(400, f"{name!r} cannot be the name of a snapshot")
    folder = service.store.child(record, SNAPSHOTS)
    if folder is None:
        folder = Record(objectid.new(), SNAPSHOTS, record.id, Kind.CONTAINER, now(), now())
        await service.commit(folder)
    if old := service.store.child(folder, name):
        await service.delete(old)
    fresh = Record(objectid.new(), name, folder.id, Kind.CONTAINER, now(), now())
    await copy(service, record, fresh, None)


def is_snapshot_of(service: Service, source: Record, record: Record) -> bool:
    """Say whether the source is one of the record's snapshots."""
    folder = service.store.child(record, SNAPSHOTS)
    return folder is not None and source.parent == folder.id


def is_below(service: Service, record: Record | None, top: Record) -> bool:
    """Say whether a record is another one, or below it."""
    while record and record.id != top.id:
        record = service.store.get(record.parent)
    return record is not None


async def restore(service: Service, source: Record, record: Record) -> Record:
    """Give a container the bytes of its snapshot: its ID, exports, snapshots and metadata stay."""
    record = replace(record, making=_making(record), mtime=now())
    await service.commit(record)
    if record.volume and source.volume:
        if record.volume.size != source.volume.size:
            raise CdmiError(409, "The snapshot has another size")
        await asyncio.to_thread(_copy_bytes, service, source, record)
    return record


def moved(service: Service, record: Record, parent: Record, name: str) -> Record:
    """Move the record; its metadata says how long that takes."""
    service.store.save(replace(record, making=_making(record)))
    current = service.store.get(record.id)
    assert current
    return service.store.move(current, parent, name)


def _making(record: Record) -> Making:
    told = record.metadata
    return Making(int(told.get(READS, 0)), int(told.get(HIDDEN, 0)), str(told.get(ERROR, "")))


def snapshots(service: Service, record: Record) -> list[str]:
    """Return the URIs of a container's snapshots."""
    folder = service.store.child(record, SNAPSHOTS)
    return [service.store.path(child) for child in service.store.children(folder)] if folder else []


def read(service: Service, record: Record) -> Record:
    """Return the record as this read finds it, one read nearer to its end; 404 while it is not to be seen yet."""
    making = record.making
    if making.hidden:
        service.store.save(replace(record, making=replace(making, hidden=making.hidden - 1)))
        raise CdmiError(404, f"There is no {record.name}")
    if making.reads:
        service.store.save(replace(record, making=replace(making, reads=making.reads - 1)))
    return record


def status(record: Record) -> dict[str, str]:
    """Return completionStatus, and percentComplete while there is something to complete."""
    making = record.making
    if making.reads:
        return {"completionStatus": "Processing", "percentComplete": str(max(0, 100 - 25 * making.reads))}
    return {"completionStatus": f"Error: {making.error}" if making.error else "Complete"}


def _copy_bytes(service: Service, source: Record, record: Record) -> None:
    behind, file = service.store.value_file(source), service.store.value_file(record)
    shutil.copyfile(behind, file)
    if record.volume:
        os.truncate(file, record.volume.size)
