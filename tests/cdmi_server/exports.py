"""iSCSI exports as CDMI 1.1 clause 13.7 writes them, and what they mean for the storage network."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.cdmi_server import fibre, nfs
from tests.cdmi_server.records import Export, Record, Volume
from tests.cdmi_server.settings import Settings
from tests.cdmi_server.store import Store
from tests.cdmi_server.targets import FLAT, Lun, naa, number_on_the_wire, serial, with_port
from tests.cdmi_server.wire import CdmiError, strings

KEY = "Network/iSCSI"
ASSIGNED_SIZE = "cdmi_assignedsize"
TARGET, NUMBER = "x_target", "x_lun"
FIXED = (TARGET, NUMBER, FLAT)
"""Metadata that decides how a LUN is made, and cannot change afterwards."""

_BLOCK = 512
_MOST_LUNS = 16383
_INITIATOR = re.compile(r"(iqn\.\d{4}-[01]\d\.[^\s_]+|eui\.[0-9a-f]{16}|naa\.[0-9a-f]{16})$")


def new_volume(metadata: Mapping[str, Any]) -> Volume | None:
    """Return the LUN that a container's metadata asks for, None when it asks for none; 400 for a bad size."""
    if ASSIGNED_SIZE not in metadata:
        return None
    text = metadata[ASSIGNED_SIZE]
    if not isinstance(text, str) or not text.isdecimal() or not int(text) or int(text) % _BLOCK:
        raise CdmiError(400, f"{ASSIGNED_SIZE} must be a string of bytes, a multiple of {_BLOCK}, not {text!r}")
    return Volume(int(text))


def read_permissions(exports: Any) -> tuple[str, ...] | None:
    """Return the initiators of the wanted iSCSI export, None when none is wanted; 400 for all else."""
    if not isinstance(exports, dict) or not all(isinstance(entry, dict) for entry in exports.values()):
        raise CdmiError(400, "exports must be an object of objects")
    if unknown := set(exports) - {KEY, "iSCSI"}:
        raise CdmiError(400, f"This server exports {KEY} only, not {', '.join(sorted(unknown))}")
    if not exports:
        return None
    entry = next(iter(exports.values()))
    try:
        names = [name.lower() for name in strings(entry.get("permissions", []))]
    except ValueError as error:
        raise CdmiError(400, f"permissions: {error}") from error
    for name in names:
        if not _INITIATOR.match(name):
            raise CdmiError(400, f"{name!r} is not an initiator's name")
    return tuple(dict.fromkeys(names))


def granted(store: Store, settings: Settings, record: Record, permissions: tuple[str, ...] | None) -> Record:
    """Return the record with its export made, changed, or (None) withdrawn; 400 when it is no LUN."""
    volume = record.volume
    if permissions is None:
        return replace(record, volume=volume and replace(volume, export=None))
    if volume is None:
        raise CdmiError(400, f"Only a container created with {ASSIGNED_SIZE} can be exported as {KEY}")
    if volume.export:
        export = replace(volume.export, permissions=permissions)
    else:
        export = _new_export(store, settings, record, permissions)
    return replace(record, volume=replace(volume, export=export))


def _new_export(store: Store, settings: Settings, record: Record, permissions: tuple[str, ...]) -> Export:
    name = str(record.metadata.get(TARGET) or record.name)
    target = f"{settings.iqn_prefix}.{re.sub('[^a-z0-9.:-]', '-', name.lower())}"
    taken = {
        number_on_the_wire(other.volume.export.lun, other.metadata)
        for other in store.volumes()
        if other.volume and other.volume.export and other.volume.export.target == target and other.id != record.id
    }
    if NUMBER not in record.metadata:
        free = next(number for number in range(1, _MOST_LUNS + 2) if number not in taken)
        return Export(target, free, permissions)
    text = str(record.metadata[NUMBER])
    if not text.isdecimal() or int(text) > _MOST_LUNS or number_on_the_wire(int(text), record.metadata) in taken:
        raise CdmiError(400, f"{NUMBER} must be a free number up to {_MOST_LUNS} of {target}, not {text}")
    return Export(target, int(text), permissions)


def described(record: Record, settings: Settings) -> dict[str, Any]:
    """Return the value of the exports field, {} when the container is not exported."""
    export = record.volume and record.volume.export
    others = {**nfs.described(record), **fibre.described(record, settings)}
    if not export:
        return others
    return others | {
        KEY: {
            "portals": list(settings.portals),
            "target_identifier": f"{export.target},t,0x0001",
            "logical_unit_number": str(export.lun),
            "logical_unit_name": f"0x{naa(serial(record.id))}",
            "permissions": list(export.permissions),
        }
    }


def luns(store: Store, settings: Settings) -> tuple[Lun, ...]:
    """Return what the storage network shall show."""
    portals = tuple(with_port(portal) for portal in settings.portals)
    shown = []
    for record in store.volumes():
        export = record.volume and record.volume.export
        if record.volume and export:
            behind = store.get(record.volume.backing) or record
            size = behind.volume.size if behind.volume else record.volume.size
            file = store.value_file(behind).resolve()
            number = number_on_the_wire(export.lun, record.metadata)
            shown.append(Lun(export.target, portals, number, serial(behind.id), size, file, export.permissions))
    return (*shown, *fibre.luns(store, settings))
