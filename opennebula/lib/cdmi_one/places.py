"""What oned's arguments name: a disk's place on a host, and an object on a CDMI server."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdmi_one.failure import Failure

_PLACE = re.compile(r"(?P<host>[^\s/]+?):(?P<path>/\S*)", re.ASCII)
_DISK = re.compile(r"(?P<folder>/.*)/disk\.(?P<number>\d+)", re.ASCII)
_SOURCE = re.compile(r"cdmi://(?P<server>[^\s/]+)/(?P<path>[^\s?#]+)", re.ASCII)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


@dataclass(frozen=True)
class Place:
    """`HOST:PATH`: a disk of a VM, or (without a number) its whole directory; the path has single slashes."""

    host: str
    path: str
    folder: str
    number: int | None


@dataclass(frozen=True)
class Source:
    """`cdmi://SERVER/PATH`: `server` as it was written (a host, perhaps with a port), `path` without a first slash."""

    server: str
    path: str

    def __str__(self) -> str:
        return f"cdmi://{self.server}/{self.path}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the path is made of."""
        return tuple(name for name in self.path.split("/") if name)


def place_of(text: str) -> Place:
    """Read `HOST:PATH`; oned writes double slashes. Raises `Failure`."""
    match = _PLACE.fullmatch(text)
    if not match:
        raise Failure(f"{text!r} is not HOST:PATH", "see the transfer file of the VM")
    path = re.sub("/+", "/", match["path"]).rstrip("/") or "/"
    disk = _DISK.fullmatch(path)
    if not disk:
        return Place(match["host"], path, path, None)
    return Place(match["host"], path, disk["folder"], int(disk["number"]))


def disk_place(text: str) -> tuple[Place, int]:
    """As `place_of`, of a disk: with its number. Raises `Failure`."""
    place = place_of(text)
    if place.number is None:
        raise Failure(f"{text!r} is no disk of a VM", "see the transfer file of the VM")
    return place, place.number


def source_of(text: str) -> Source:
    """Read `cdmi://SERVER/PATH`. Raises `Failure`."""
    match = _SOURCE.fullmatch(text)
    if not match:
        raise Failure(f"{text!r} is no CDMI object", "an image's SOURCE is cdmi://SERVER/cdmi_objectid/ID")
    return Source(match["server"], match["path"])


def vm_id(text: str) -> str:
    """The number of a VM. Raises `Failure`."""
    if not _NUMBER.fullmatch(text):
        raise Failure(f"{text!r} is not the number of a VM", "see the transfer file of the VM")
    return text


def attachment(vm: str, disk: int) -> str:
    """What the disk is called by the daemon of every host, and its clone on the server."""
    return f"one-{vm}-{disk}"
