"""What an administrator wants to know of an export: how its values were read, and what would mend it. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from agent.cdmi import nfs_hosts
from agent.cdmi.iscsi_export import unit_name
from agent.cdmi.place import Place
from agent.cdmi.text import shown
from attachers import unit_names

WAYS = {"iscsi": "Network/iSCSI", "nfs": "NFSv4", "fc": "Network/FC"}


def remedy(protocol: str, protocols: Collection[str], place: Place) -> str:
    """What to do about an entry of a protocol that cannot lead to the object here. `protocols` are the enabled ones."""
    if protocol in WAYS and protocol not in protocols:
        return f'add "{protocol}" to protocols in [attach], or use another export'
    if place.file is not None:
        return "let the server export this container, or one between it and the object, over NFSv4"
    ways = [name for way, name in WAYS.items() if way in protocols and way != "nfs"]
    return f"let the server export it over {' or '.join(ways)} beside this" if ways else "enable a protocol in [attach]"


def notes(protocol: str, entry: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    """How the members of a usable entry were read, where that is not plain from the values."""
    readers = {"iscsi": _block, "fc": _block, "nfs": _nfs}
    return tuple(readers[protocol](entry, place)) if protocol in readers else ()


def _block(entry: Mapping[str, Any], place: Place) -> list[str]:
    said = []
    if not entry.get("logical_unit_name"):
        said.append("it names no logical unit (logical_unit_name), so that no disk can be proved to be it")
    elif unit_name(entry["logical_unit_name"], "logical_unit_name") is None:
        said.append("its logical_unit_name is that of every unit that nobody has named: no disk can be proved by it")
    elif unit_names.is_local(unit_name(entry["logical_unit_name"], "logical_unit_name")):
        said.append("its logical_unit_name is locally assigned (NAA 3): unverified, unless trust_local_names is set")
    if entry.get("permissions") is None:
        said.append("it has no permissions: any initiator may log in, and nothing is granted")
    if not place.size:
        said.append("the object says no size (cdmi_assignedsize): the disk's own is taken")
    return said


def _nfs(entry: Mapping[str, Any], place: Place) -> list[str]:
    said = []
    path = next((str(entry[name]) for name in ("path", "exportpath", "identifier") if entry.get(name)), "")
    if path.startswith("/") and not entry.get("server_addresses"):
        said.append("it names no server: nfs_server of this [[server]] is taken, or the CDMI server's own host")
    if not entry.get("protocol"):
        said.append("it has no member protocol: the version is that of its name")
    if entry.get("mode") == "ro":
        said.append("it is exported read-only (mode)")
    if entry.get("permissions") is not None:
        said.append("permissions of NFS are not changed: which hosts may mount it is the server's to say")
    if (named := nfs_hosts.named(entry)) is not None:
        who = ", ".join(shown(one, 80) for one in named[:8]) or "none yet"
        said.append(f"it names hosts ({who}): this host is added where none of them is it")
    flavors = entry.get("security_flavors")
    if isinstance(flavors, list) and "sys" not in flavors:
        said.append("it does not offer AUTH_SYS (security_flavors): set sec= in options of [nfs]")
    if not place.size:
        said.append("the object says no size (cdmi_size): the file's own is taken")
    return said
