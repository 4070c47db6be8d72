"""Fibre Channel exports as docs/cdmi-fc.md specifies them, and what they mean for the storage network."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attachers import checks
from attachers.problems import Problem
from tests.cdmi_server.records import FcExport, Record
from tests.cdmi_server.settings import Settings
from tests.cdmi_server.store import Store
from tests.cdmi_server.targets import Lun, naa, number_on_the_wire, serial
from tests.cdmi_server.wire import CdmiError, strings

KEY = "Network/FC"
KEYS = (KEY, "FC", "Network/FCoE", "FCoE")
NUMBER = "x_lun"
_MOST = 16383


def split(entries: Any) -> tuple[tuple[str, ...] | None, Any]:
    """Return the ports of the wanted FC export (None: none), and the entries without it; 400 for a bad one."""
    if not isinstance(entries, dict):
        return None, entries
    entry = next((entries[key] for key in KEYS if key in entries), None)
    rest = {key: value for key, value in entries.items() if key not in KEYS}
    if entry is None:
        return None, rest
    if not isinstance(entry, dict):
        raise CdmiError(400, "exports must be an object of objects")
    try:
        names = [checks.wwpn(name, field="permissions") for name in strings(entry.get("permissions", []))]
    except (ValueError, Problem) as error:
        raise CdmiError(400, f"permissions: {error}") from error
    return tuple(dict.fromkeys(names)), rest


def granted(store: Store, settings: Settings, record: Record, permissions: tuple[str, ...] | None) -> Record:
    """Return the record with its export made, changed, or (None) withdrawn; 400 where there cannot be one."""
    volume = record.volume
    if permissions is None:
        return replace(record, volume=volume and replace(volume, fibre=None))
    if volume is None or not settings.fc_targets:
        raise CdmiError(400, f"Only a LUN of a server with FC ports can be exported as {KEY}")
    number = volume.fibre.lun if volume.fibre else _number(store, record)
    return replace(record, volume=replace(volume, fibre=FcExport(number, permissions)))


def _number(store: Store, record: Record) -> int:
    exports = [other.volume.fibre for other in store.volumes() if other.volume and other.id != record.id]
    taken = {export.lun for export in exports if export}
    if NUMBER not in record.metadata:
        return next(number for number in range(1, _MOST + 1) if number not in taken)
    text = str(record.metadata[NUMBER])
    if not text.isdecimal() or int(text) > _MOST or int(text) in taken:
        raise CdmiError(400, f"{NUMBER} must be a free number up to {_MOST}, not {text}")
    return int(text)


def described(record: Record, settings: Settings) -> Mapping[str, Any]:
    """Return the entry under its key, {} where the container is not exported over FC."""
    export = record.volume and record.volume.fibre
    if not export:
        return {}
    return {
        KEY: {
            "target_wwpns": list(settings.fc_targets),
            "logical_unit_number": str(export.lun),
            "logical_unit_name": f"0x{naa(serial(record.id))}",
            "permissions": list(export.permissions),
        }
    }


def luns(store: Store, settings: Settings) -> tuple[Lun, ...]:
    """Return what the storage network shall show: each LUN at every target port."""
    shown = []
    for record in store.volumes():
        export = record.volume and record.volume.fibre
        if record.volume and export:
            behind = store.get(record.volume.backing) or record
            size = behind.volume.size if behind.volume else record.volume.size
            file, names = store.value_file(behind).resolve(), export.permissions
            number = number_on_the_wire(export.lun, record.metadata)
            for target in settings.fc_targets:
                shown.append(Lun(target, (), number, serial(behind.id), size, file, names))
    return tuple(shown)
