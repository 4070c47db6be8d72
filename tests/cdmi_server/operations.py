"""What can be done with objects: read, create, update, delete."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cdmi_server import bodies, capabilities, copies, exports, fibre, nfs, objectid, values
from tests.cdmi_server.records import Kind, Record, now
from tests.cdmi_server.service import Service
from tests.cdmi_server.wire import (
    Asked,
    CdmiError,
    cdmi_response,
    done,
    read_body,
    read_content_range,
    require_accept,
    version_headers,
)

_LATER = {"reference", "serialize", "deserialize", "deserializevalue"}
_OCTETS = "application/octet-stream"


async def answer(service: Service, request: web.Request, asked: Asked) -> web.StreamResponse:
    """Do what is asked and answer. Raises CdmiError."""
    if asked.names[:1] == ("cdmi_capabilities",):
        return _capabilities(service, request, asked)
    record = service.find(asked.names)
    if record and record.kind is Kind.CONTAINER and not asked.slash:
        raise CdmiError(301, "A container's URI ends with a slash", {"Location": _slashed(request)})
    if record and record.kind is Kind.OBJECT and asked.slash:
        raise CdmiError(409 if request.method == "PUT" else 404, "That is a data object: no slash at the end")
    match request.method:
        case "GET" | "HEAD":
            return await _get(service, request, asked)
        case "PATCH" if asked.cdmi and asked.dialect.update == "PATCH":
            _existing(service, asked)
            return await _put_cdmi(service, request, asked)
        case "PUT" if asked.cdmi:
            if record and asked.dialect.update != "PUT":
                raise CdmiError(409, f"CDMI {asked.dialect.name} changes objects with PATCH")
            return await _put_cdmi(service, request, asked)
        case "PUT" if asked.slash:
            return await _put_blocks(service, request, asked)
        case "PUT":
            return await _put_value(service, request, asked)
        case "DELETE":
            return await _delete(service, asked)
    raise CdmiError(501, f"{request.method} is not implemented")


def _slashed(request: web.Request) -> str:
    path, mark, query = request.raw_path.partition("?")
    return f"{request.scheme}://{request.host}{path}/{mark}{query}"


def _capabilities(service: Service, request: web.Request, asked: Asked) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        raise CdmiError(400, "Capabilities can only be read")
    if not asked.cdmi:
        raise CdmiError(400, "Capabilities can only be read through CDMI")
    require_accept(request, Kind.CAPABILITY, asked.dialect)
    root_id = service.store.root.id
    kinds = ("iscsi", *(("fc",) if service.settings.fc_targets else ())) if service.targets.exports else ()
    body = capabilities.body(asked.names[1:], root_id=root_id, exports=kinds)
    if not asked.slash:
        raise CdmiError(301, "A capabilities URI ends with a slash", {"Location": _slashed(request)})
    chosen = {name: value for name, value in body.items() if asked.wants(name)}
    return cdmi_response(chosen, kind=Kind.CAPABILITY, asked=asked)


def _existing(service: Service, asked: Asked) -> Record:
    record = service.find(asked.names)
    if record is None:
        raise CdmiError(404, f"There is no {'/'.join(asked.names)}")
    return record


async def _get(service: Service, request: web.Request, asked: Asked) -> web.StreamResponse:
    record = copies.read(service, _existing(service, asked))
    if asked.cdmi:
        require_accept(request, record.kind, asked.dialect)
        body = bodies.of(service, record, asked)
        return cdmi_response(body, kind=record.kind, asked=asked)
    if record.kind is Kind.CONTAINER and not record.volume:
        raise CdmiError(400, "Plain HTTP reads data objects and LUNs, no other container")
    file = service.store.value_file(record)
    return await values.send(request, file, record.mimetype or _OCTETS, cut=asked.cut)


async def _delete(service: Service, asked: Asked) -> web.Response:
    async with service.lock:
        record = _existing(service, asked)
        if not record.parent:
            raise CdmiError(400, "The root container cannot be deleted")
        await service.delete(record)
    return done(asked)


def _new_record(service: Service, asked: Asked, kind: Kind) -> Record:
    """Return a record for a new object at the path, not yet kept; 400, 404 where there cannot be one."""
    *above, name = asked.names
    parent = service.find(tuple(above))
    if above and (parent is None or parent.kind is not Kind.CONTAINER):
        raise CdmiError(404, f"There is no container {'/'.join(above)}")
    if parent is None or name.startswith("cdmi_") or name in (".", "..") or {"/", "?"} & set(name):
        raise CdmiError(400, f"{name!r} cannot be the name of an object")
    if parent.volume:
        raise CdmiError(400, "A LUN has blocks, not children")
    return Record(objectid.new(), name, parent.id, kind, now(), now())


async def _put_cdmi(service: Service, request: web.Request, asked: Asked) -> web.Response:
    kind = Kind.CONTAINER if asked.slash else Kind.OBJECT
    body = await read_body(request, kind, asked.dialect)
    of_container, of_object = (
        {"metadata", "exports", "snapshot"},
        {"metadata", "mimetype", "value", "valuetransferencoding"},
    )
    known = {"copy", "move"} | (of_container if asked.slash else of_object)
    if later := _LATER & set(body):
        raise CdmiError(501, f"Not implemented: {', '.join(sorted(later))}")
    if unknown := (set(body) | {field.name for field in asked.fields}) - known:
        raise CdmiError(400, f"Cannot be written: {', '.join(sorted(unknown))}")
    body = {name: value for name, value in body.items() if asked.wants(name)}
    async with service.lock:
        old = service.find(asked.names)
        if "move" in body:
            return await _move(service, request, asked, body)
        if "copy" in body:
            return await _copy(service, request, asked, body)
        if "snapshot" in body:
            await copies.snapshot(service, _existing(service, asked), body["snapshot"])
            return done(asked)
        record = old or _new_record(service, asked, kind)
        record = _resized(service, _with_metadata(record, body, asked, fresh=old is None))
        if kind is Kind.CONTAINER:
            await service.commit(_with_exports(service, record, body, asked))
        else:
            record = replace(record, **_types(record, body, asked, fresh=old is None))
            _put_data_object(service, record, body, asked)
            await service.commit(record)
        kept = service.store.get(record.id) or record
    if old:
        return done(asked)
    return _created(service, kept, asked)


async def _copy(service: Service, request: web.Request, asked: Asked, body: Mapping[str, Any]) -> web.Response:
    """Make a copy; of what is there already, its value is lost, as CDMI 1.x has it."""
    kind = Kind.CONTAINER if asked.slash else Kind.OBJECT
    if wrong := set(body) - {"copy", "metadata"}:
        raise CdmiError(400, f"Not together with copy: {', '.join(sorted(wrong))}")
    source = copies.source_of(service, body["copy"], kind)
    old = service.find(asked.names)
    if old and copies.is_snapshot_of(service, source, old):
        return await _restored(service, request, asked, source, old)
    if old:
        await service.delete(old)
    record = await copies.copy(service, source, _new_record(service, asked, kind), body.get("metadata"))
    if record.making.reads or record.making.hidden:
        return _accepted(request, asked)
    return _created(service, record, asked)


async def _restored(service: Service, request: web.Request, asked: Asked, source: Record, old: Record) -> web.Response:
    record = await copies.restore(service, source, old)
    return _accepted(request, asked) if record.making.reads else done(asked)


async def _move(service: Service, request: web.Request, asked: Asked, body: Mapping[str, Any]) -> web.Response:
    """Give an object another place: where there is something already, it stays."""
    source = copies.source_of(service, body["move"], Kind.CONTAINER if asked.slash else Kind.OBJECT)
    if service.find(asked.names):
        raise CdmiError(409, "There is something already")
    fresh = _new_record(service, asked, source.kind)
    parent = service.store.get(fresh.parent)
    assert parent
    if copies.is_below(service, parent, source):
        raise CdmiError(400, "A container cannot be moved into itself")
    moved = copies.moved(service, source, parent, fresh.name)
    return _accepted(request, asked) if moved.making.reads else _created(service, moved, asked)


def _accepted(request: web.Request, asked: Asked) -> web.Response:
    place = f"{request.scheme}://{request.host}{request.path}"
    return web.Response(status=202, headers={"Location": place, **version_headers(asked.dialect, asked.version)})


def _created(service: Service, record: Record, asked: Asked) -> web.Response:
    body = bodies.of(service, record, replace(asked, fields=()))
    for name in ("value", "valuerange", "valuetransferencoding"):
        body.pop(name, None)
    return cdmi_response(body, kind=record.kind, asked=asked, status=201)


def _with_metadata(record: Record, body: Mapping[str, Any], asked: Asked, *, fresh: bool) -> Record:
    """Return the record with the metadata of the body: all of it replaced, or only the named items."""
    given = body.get("metadata", {} if fresh else None)
    if given is None:
        return record
    if not isinstance(given, dict):
        raise CdmiError(400, "metadata must be an object")
    metadata = {name: value for name, value in given.items() if name not in bodies.COMPUTED}
    if named := asked.arguments("metadata"):
        kept = {name: value for name, value in record.metadata.items() if name not in named}
        metadata = kept | {name: value for name, value in metadata.items() if name in named}
    if fresh:
        volume = exports.new_volume(metadata) if record.kind is Kind.CONTAINER else None
        return replace(record, metadata=metadata, volume=volume)
    return replace(record, metadata=metadata | _fixed(record, metadata), mtime=now())


def _resized(service: Service, record: Record) -> Record:
    """Return the LUN with the size that its metadata says by now; x_fixed_size: it stays as it is."""
    wanted = exports.new_volume(record.metadata) if record.volume else None
    if record.volume is None or wanted is None or wanted.size == record.volume.size or not service.store.get(record.id):
        return record
    if "x_fixed_size" in record.metadata:
        return replace(record, metadata={**record.metadata, exports.ASSIGNED_SIZE: str(record.volume.size)})
    os.truncate(service.store.value_file(record), wanted.size)
    return replace(record, volume=replace(record.volume, size=wanted.size))


def _fixed(record: Record, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must stay of a LUN's metadata; 400 when it shall become something else."""
    if record.kind is not Kind.CONTAINER:
        return {}
    for name in exports.FIXED:
        if name in metadata and metadata[name] != record.metadata.get(name):
            raise CdmiError(400, f"{name} is fixed when the container is created")
    kept = (*exports.FIXED, *([] if exports.ASSIGNED_SIZE in metadata else [exports.ASSIGNED_SIZE]))
    return {name: record.metadata[name] for name in kept if name in record.metadata}


def _with_exports(service: Service, record: Record, body: Mapping[str, Any], asked: Asked) -> Record:
    """Return the record with the exports of the body, which replace those that it has."""
    if "exports" not in body:
        if asked.fields and asked.wants("exports"):
            raise CdmiError(400, "The body has no exports")
        return record
    record = nfs.with_hosts(record, body["exports"])
    ports, entries = fibre.split(nfs.without(record, body["exports"]))
    permissions = exports.read_permissions(entries)
    if (permissions, ports) != (None, None) and not service.targets.exports:
        raise CdmiError(400, "This server has no exports")
    record = exports.granted(service.store, service.settings, record, permissions)
    return fibre.granted(service.store, service.settings, record, ports)


def _types(record: Record, body: Mapping[str, Any], asked: Asked, *, fresh: bool) -> dict[str, Any]:
    """Return the fields of the record that a data object's body sets."""
    whole = "value" in body and not asked.arguments("value")
    encoding = body.get("valuetransferencoding", "utf-8" if fresh or whole else record.encoding)
    if encoding not in bodies.ENCODINGS:
        raise CdmiError(400, f"valuetransferencoding {encoding!r} is not one of {', '.join(bodies.ENCODINGS)}")
    mimetype = body.get("mimetype", "text/plain" if fresh else record.mimetype)
    if not isinstance(mimetype, str):
        raise CdmiError(400, "mimetype must be a string")
    return {"encoding": encoding, "mimetype": mimetype, "mtime": now()}


def _put_data_object(service: Service, record: Record, body: Mapping[str, Any], asked: Asked) -> None:
    """Write the value that the body has, if it has one: as a whole, or (?value:0-10, in base64) a part."""
    file = service.store.value_file(record)
    ranges = asked.arguments("value")
    if ranges and file.exists():
        raw = bodies.decoded(body.get("value"), "base64")
        with file.open("r+b") as part:
            part.seek(_start(ranges[0], len(raw)))
            part.write(raw)
    elif "value" in body or not file.exists():
        raw = bodies.decoded(body.get("value", ""), record.encoding)
        new = service.store.new_file()
        new.write_bytes(raw)
        new.replace(file)


def _start(text: str, length: int) -> int:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal()) or int(last) - int(first) + 1 != length:
        raise CdmiError(400, f"The range {text} is not that of {length} bytes")
    return int(first)


async def _put_blocks(service: Service, request: web.Request, asked: Asked) -> web.Response:
    """Write a LUN's blocks; where there is nothing yet, make a container (which plain HTTP may)."""
    record = service.find(asked.names)
    if record is None:
        async with service.lock:
            await service.commit(_new_record(service, asked, Kind.CONTAINER))
        return done(asked, 201)
    if not record.volume:
        raise CdmiError(400, "Plain HTTP writes data objects and LUNs, no other container")
    await _receive_part(request, service.store.value_file(record), limit=record.volume.size)
    service.store.touch(record)
    return done(asked)


async def _receive_part(request: web.Request, file: Path, *, limit: int | None) -> None:
    part = read_content_range(request)
    first, end = part or (0, limit)
    if part and request.content_length not in (None, part[1] - part[0]):
        raise CdmiError(400, "Content-Range and Content-Length disagree")
    if end is not None and limit is not None and end > limit:
        raise CdmiError(400, f"The LUN has {limit} bytes")
    await values.receive(request, file, first=first, limit=end)


async def _put_value(service: Service, request: web.Request, asked: Asked) -> web.Response:
    """Write a data object's value: atomically as a whole, or the part that Content-Range names."""
    old = service.find(asked.names)
    if old and "Content-Range" in request.headers:
        await _receive_part(request, service.store.value_file(old), limit=None)
        service.store.touch(old)
        return done(asked)
    if old is None:
        _new_record(service, asked, Kind.OBJECT)
    new = service.store.new_file()
    try:
        await values.receive(request, new)
        async with service.lock:
            current = service.find(asked.names) or _new_record(service, asked, Kind.OBJECT)
            new.replace(service.store.value_file(current))
            mimetype = request.headers.get("Content-Type", current.mimetype or _OCTETS)
            encoding = "utf-8" if "charset=utf-8" in mimetype.lower().replace(" ", "") else "base64"
            await service.commit(replace(current, mimetype=mimetype, encoding=encoding, mtime=now()))
    finally:
        new.unlink(missing_ok=True)
    return done(asked, 204 if old else 201)
