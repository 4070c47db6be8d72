"""The JSON bodies of containers and data objects, whole or by field."""

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.cdmi_server import capabilities, copies, exports
from tests.cdmi_server.records import Kind, Record
from tests.cdmi_server.service import Service
from tests.cdmi_server.wire import Asked, CdmiError, span

ENCODINGS = ("utf-8", "base64")
COMPUTED = ("cdmi_size", "cdmi_ctime", "cdmi_mtime", "cdmi_hash")
"""Metadata that the server makes; what a client sends of it is ignored."""


def of(service: Service, record: Record, asked: Asked) -> dict[str, Any]:
    """Return the fields that are asked for, of all that the object has; value and children come last."""
    body = _common(service, record)
    if record.kind is Kind.CONTAINER:
        body |= _container(service, record, asked)
    else:
        body |= _data_object(service, record, asked)
    if prefixes := asked.arguments("metadata"):
        body["metadata"] = {k: v for k, v in body["metadata"].items() if k.startswith(tuple(prefixes))}
    return {name: value for name, value in body.items() if asked.wants(name)}


def _common(service: Service, record: Record) -> dict[str, Any]:
    store = service.store
    body: dict[str, Any] = {"objectType": record.kind.media_type, "objectID": record.id}
    if parent := store.get(record.parent):
        body |= {"objectName": record.slashed, "parentURI": store.path(parent), "parentID": parent.id}
    return body | {
        "capabilitiesURI": capabilities.uri(record.kind),
        **copies.status(record),
        "metadata": {**record.metadata, **_computed(service, record)},
    }


def _computed(service: Service, record: Record) -> dict[str, str]:
    times = {"cdmi_ctime": record.ctime, "cdmi_mtime": record.mtime}
    file = service.store.value_file(record)
    if record.kind is Kind.OBJECT:
        return {"cdmi_size": str(file.stat().st_size), **times, **_hash(file, record.metadata)}
    if record.volume:  # a container's cdmi_size is the bytes that it takes, not the LUN's size
        return {"cdmi_size": str(file.stat().st_blocks * 512), **times}
    return times


def _hash(file: Path, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the value's hash where the metadata asks for one; x_hash is told instead of the right one."""
    wanted = metadata.get("cdmi_value_hash")
    if not isinstance(wanted, str) or not wanted:
        return {}
    if "x_hash" in metadata:
        return {"cdmi_hash": str(metadata["x_hash"])}
    with file.open("rb") as value:
        return {"cdmi_hash": hashlib.file_digest(value, wanted.lower().replace("-", "")).hexdigest()}


def _container(service: Service, record: Record, asked: Asked) -> dict[str, Any]:
    names = [child.slashed for child in service.store.children(record) if child.name != copies.SNAPSHOTS]
    taken = copies.snapshots(service, record)
    first, end = 0, len(names)
    if ranges := asked.arguments("children"):
        first, end = span(ranges[0], len(names))
    exported = exports.described(record, service.settings)
    return {
        **({"exports": exported} if exported else {}),
        **({"snapshots": taken} if taken else {}),
        "childrenrange": f"{first}-{end - 1}" if end > first else "",
        "children": names[first:end],
    }


def _data_object(service: Service, record: Record, asked: Asked) -> dict[str, Any]:
    file = service.store.value_file(record)
    first, end = 0, file.stat().st_size
    ranges = asked.arguments("value")
    if ranges:
        first, end = span(ranges[0], end)
    encoding = "base64" if ranges else record.encoding
    value = {}
    if asked.wants("value"):
        with file.open("rb") as bytes_of:
            bytes_of.seek(first)
            encoding, text = _encoded(bytes_of.read(end - first), encoding)
        value = {"value": text}
    return {
        "mimetype": record.mimetype,
        "valuerange": f"{first}-{end - 1}" if end > first else "",
        "valuetransferencoding": encoding,
        **value,
    }


def _encoded(raw: bytes, encoding: str) -> tuple[str, str]:
    """Return the encoding and the text of a value field: base64 also for what is not the UTF-8 it is said to be."""
    if encoding == "utf-8":
        with suppress(UnicodeDecodeError):
            return encoding, raw.decode()
    return "base64", base64.b64encode(raw).decode()


def decoded(value: Any, encoding: str) -> bytes:
    """Return the bytes of a value field; 400 when it is not what its encoding says."""
    if not isinstance(value, str):
        raise CdmiError(400, "value must be a string")
    try:
        return value.encode() if encoding == "utf-8" else base64.b64decode(value, validate=True)
    except ValueError as error:
        raise CdmiError(400, f"value: {error}") from error
