"""An object's `exports`, in every dialect met: what each entry is, and why it cannot be used where it cannot. Pure.

CDMI 1.0 and 1.1 name the protocol in the key (`Network/iSCSI`), 2.0 in a member `type` of a freely named entry.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from agent.cdmi import explain, fc_export, iscsi_export, nfs_export, nfs_hosts
from agent.cdmi.place import Place
from agent.model import SeenExport
from attachers import checks
from attachers.problems import Code, Problem

MAX_EXPORTS = 64
MAX_KEY = 256
MAX_NAMES = 4096
MAX_NAME = 256
UNKNOWN = "unknown"
READ = (iscsi_export.PROTOCOL, fc_export.PROTOCOL, nfs_export.PROTOCOL)
"""The protocols whose entries are read into plans: see `_plan`."""
_PROTOCOLS = {
    "iscsi": "iscsi",
    "nfs": "nfs",
    "nfsv3": "nfs",
    "nfsv4": "nfs",
    "nfsv4.1": "nfs",
    "nfsv4.2": "nfs",
    "cifs": "cifs",
    "smb": "cifs",
    "webdav": "webdav",
    "webhttp": "http",
    "http": "http",
    "fc": "fc",
    "fcoe": "fc",
    "s3": "s3",
    "nvme": "nvme",
    "mqtt": "mqtt",
    "cdmi": "cdmi",
}
_OCCI = "an OCCI entry has no connection data: CDMI leaves it to the infrastructure that OCCI and CDMI share"


def read_exports(exports: object, *, protocols: Collection[str], place: Place | None = None) -> tuple[SeenExport, ...]:
    """Every entry, in the server's order. `protocols` are those enabled here, `place` where the entries stand.

    A usable entry's plan may still hold host names: see `networks.pin`.
    Raises `Problem` cdmi-refused where `exports` is no object, or has too many entries.
    """
    if exports is None or exports == []:
        return ()
    if not isinstance(exports, dict):
        what = f"exports: {ascii(exports)[:120]} is not an object of export entries"
        raise Problem(Code.CDMI_REFUSED, what, hint="see the CDMI server's log")
    if len(exports) > MAX_EXPORTS:
        what = f"exports: {len(exports)} entries, and at most {MAX_EXPORTS} are read"
        raise Problem(Code.CDMI_REFUSED, what, hint="withdraw exports on the server that nobody uses")
    where = place or Place()
    return tuple(_read(key, entry, protocols, where) for key, entry in exports.items())


def protocol_of(key: str, entry: Mapping[str, Any]) -> str:
    """What an entry is for: by `type` where it has one (2.0), else by its key (1.x). Compared without case."""
    named = entry.get("type")
    name = (named if isinstance(named, str) else key).casefold()
    if name.startswith("occi/") or name == "occi":
        return "occi"
    return _PROTOCOLS.get(name.removeprefix("network/"), UNKNOWN)


def _read(key: str, entry: object, protocols: Collection[str], place: Place) -> SeenExport:
    if not isinstance(entry, dict):  # clause 9's own examples have childrenrange and children in there
        why = f"{path_of(key)}: {ascii(entry)[:60]} is not an export entry, skipped"
        return _unusable(key, UNKNOWN, why, place)
    protocol = protocol_of(key, entry)
    shown = _permissions(entry) if protocol != nfs_export.PROTOCOL else None  # NFS has users and folders in there
    why = _why_not(key, entry, protocol, protocols) or _whose(protocol, place)
    if why:
        return replace(_unusable(key, protocol, why, place, shown), hint=explain.remedy(protocol, protocols, place))
    try:
        plan = _plan(key, entry, protocol, place)
    except iscsi_export.NotReadyError as not_ready:
        unready = _unusable(key, protocol, str(not_ready), place, shown)
        return replace(unready, pending=not_ready.pending, hint=not_ready.hint)
    except Problem as problem:
        return replace(_unusable(key, protocol, problem.detail, place, shown), hint=problem.hint)
    notes = (*explain.notes(protocol, entry, place), *_left_out(key, entry, protocol))
    hosts = nfs_hosts.rights(entry) if protocol == nfs_export.PROTOCOL else None
    return SeenExport(key, protocol, True, "", plan, shown, place.at, notes=notes, hosts=hosts)


def _plan(key: str, entry: Mapping[str, Any], protocol: str, place: Place) -> Mapping[str, Any]:
    """The plan of an entry, by the reader of its protocol. Raises `NotReadyError`, `Problem`."""
    path = path_of(key)
    if protocol == nfs_export.PROTOCOL:
        return nfs_export.read(key, entry, path, place)
    if entry.get("permissions") is not None and names_in(entry["permissions"]) is None:
        wanted = f"a list of at most {MAX_NAMES} initiator names"
        raise checks.refuse(f"{path}.permissions", entry["permissions"], wanted)
    if protocol == fc_export.PROTOCOL:
        return fc_export.read(entry, path, size=place.size)
    return iscsi_export.read(entry, path, size=place.size)


def _left_out(key: str, entry: Mapping[str, Any], protocol: str) -> list[str]:
    """The ways of a usable entry that are no use, in words."""
    path, checked = path_of(key), {iscsi_export.PROTOCOL: iscsi_export.portal, fc_export.PROTOCOL: fc_export.port}
    name = {iscsi_export.PROTOCOL: "portals", fc_export.PROTOCOL: "target_wwpns"}.get(protocol, "")
    return iscsi_export.odd_ones(entry[name], f"{path}.{name}", checked[protocol]) if name else []


def _why_not(key: str, entry: Mapping[str, Any], protocol: str, protocols: Collection[str]) -> str:
    if len(key) > MAX_KEY or not key.isprintable():
        return f"exports: {ascii(key)[:80]} is not a printable key of at most {MAX_KEY} characters"
    if "type" in entry and not isinstance(entry["type"], str):
        return f"{path_of(key)}.type: {ascii(entry['type'])[:80]} is not the name of a protocol"
    if protocol == "occi":
        return _OCCI
    if protocol == UNKNOWN:
        return f"{ascii(entry.get('type', key))[:80]} is a protocol that this version does not know"
    if protocol not in READ:
        return f"{protocol} exports are not supported by this version"
    if protocol not in protocols:
        return f"{protocol} is not enabled on this host (protocols in [attach])"
    return ""


def _whose(protocol: str, place: Place) -> str:
    """A container's block export is the container: only its NFS export is a way to what is in it."""
    if place.file is None or protocol == nfs_export.PROTOCOL:
        return ""
    return f"it exports the container {place.at} as a whole, and not this object"


def path_of(key: str) -> str:
    """The entry's path in the object, as problems name it: exports."Network/iSCSI"."""
    return f"exports.{json.dumps(key[:MAX_KEY])}"


def _unusable(
    key: str, protocol: str, reason: str, place: Place, permissions: tuple[str, ...] | None = None
) -> SeenExport:
    shown = key if len(key) <= MAX_KEY and key.isprintable() else ascii(key)[:MAX_KEY]
    return SeenExport(shown, protocol, usable=False, reason=reason, permissions=permissions, at=place.at)


def names_in(permissions: object) -> tuple[str, ...] | None:
    """The names in `permissions`, a string or an array of at most `MAX_NAMES`; None where it is neither."""
    if isinstance(permissions, str):
        return (permissions,) if permissions else ()
    if isinstance(permissions, list) and len(permissions) <= MAX_NAMES and all(map(_is_text, permissions)):
        return tuple(permissions)
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _permissions(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = names_in(entry.get("permissions"))
    shown = (name if name.isprintable() else ascii(name) for name in names or ())
    return None if names is None else tuple(name[:MAX_NAME] for name in shown)
