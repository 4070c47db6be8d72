"""The disks of VMs that are copies: where they are, what tells that one is ours, and what may become of it.

A copy is called `one-VM-DISK` and carries a note in its metadata, from its first moment on: whose it is, and what it
was copied from. Nothing else is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cdmi_one.failure import Failure
from cdmi_one.places import Source, attachment, source_of
from cdmi_one.settings import Settings
from cdmi_one.vm import Disk

OWNER, COPIED_FROM, DEPLOYMENT = "opennebula_owner", "opennebula_source", "opennebula_deployment"


@dataclass(frozen=True)
class Copy:
    """The copy that is a disk of a VM: where it is, and the note that it carries."""

    name: str
    place: Source
    note: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """An object as `cdmi-attach stat --json` tells of it."""

    object_id: str
    metadata: Mapping[str, str]
    size: int | None
    uri: str
    server: str
    places: tuple[str, ...] = ()
    reference: str = ""
    pending: str = ""

    def by_id(self, server: str) -> Source:
        """The very object, whatever is at its path later; `server` as the drivers write it."""
        if not self.object_id:
            raise Failure(f"the server does not tell the ID of {self.uri}", "only objects with an ID can be used")
        return Source(server, f"cdmi_objectid/{self.object_id}")


def copy_of(source: str, vm: str, disk: int, settings: Settings) -> Copy:
    """Where the copy of a source is, for a disk of a VM. Raises `Failure`."""
    origin, name = source_of(source), attachment(vm, disk)
    place = inside(container_on(origin.server, settings.clones, "CLONES"), name)
    return Copy(name, place, {OWNER: owner(settings, "vm", vm, "disk", disk), COPIED_FROM: source})


def object_of(disk: Disk, vm: str, settings: Settings) -> str:
    """The object that a disk of a VM is: its copy, or what it was registered as. Raises `Failure`."""
    if disk.is_clone:
        return str(copy_of(disk.source, vm, disk.number, settings).place)
    return str(source_of(disk.source))


def snapshot_name(number: str) -> str:
    """What the server calls a snapshot of oned's. Raises `Failure`."""
    if not (number.isascii() and number.isdigit()):
        raise Failure(f"{number!r} is not the number of a snapshot", "see the transfer file of the VM")
    return f"one-snap-{number}"


def snapshot_of(source: str, name: str) -> str:
    """The address of a snapshot (CDMI 1.1 clause 14)."""
    return f"{source.rstrip('/')}/cdmi_snapshots/{name}"


def owner(settings: Settings, *words: object) -> str:
    """The note's word on whose an object is."""
    return " ".join(map(str, (settings.site, *words)))


def container_on(server: str, containers: tuple[Source, ...], key: str) -> Source:
    """The container of the settings that is on that server. Raises `Failure`."""
    for one in containers:
        if one.server.casefold() == server.casefold():
            return one
    raise Failure(f"cdmi.conf says no container for copies on {server}", f'set {key}="cdmi://{server}/CONTAINER/"')


def inside(container: Source, name: str) -> Source:
    """The address of a name in a container."""
    return Source(container.server, f"{container.path}/{name}".lstrip("/"))


def found_in(text: str) -> Found | None:
    """The object of the last JSON in the text; None where there is none."""
    begin = text.find("{")
    if begin < 0:
        return None
    try:
        told = json.loads(text[begin:])
    except ValueError:
        raise Failure("cdmi-attach stat has told no JSON", "is it cdmi-attach that the host runs?") from None
    if "uri" not in told:  # the problem that there is none
        return None
    size = told.get("size")
    return Found(
        object_id=str(told.get("object_id") or ""),
        metadata={str(name): str(value) for name, value in (told.get("metadata") or {}).items()},
        size=size if isinstance(size, int) else None,
        uri=str(told.get("uri") or ""),
        server=str(told.get("server") or ""),
        places=tuple(map(str, told.get("places") or ())),
        reference=str(told.get("reference") or ""),
        pending=str(told.get("pending") or ""),
    )


def is_ours(found: Found, copy: Copy) -> bool:
    """Whether the object's own note says that it is this copy."""
    return all(found.metadata.get(name) == value for name, value in copy.note.items())
