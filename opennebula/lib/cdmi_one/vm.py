"""What oned knows of a VM: its state and its disks, as `onevm show -x` and the drivers' standard input have them."""

from __future__ import annotations

import base64
import binascii
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from cdmi_one import oned
from cdmi_one.failure import Failure

DONE = 6
"""STATE (include/VirtualMachine.h)."""


@dataclass(frozen=True)
class Disk:
    """A disk of a VM. `is_clone` is what decides whether anything may ever be deleted; sizes are in MiB."""

    number: int
    source: str
    tm: str
    is_clone: bool
    read_only: bool
    shared: bool
    size_mb: int
    original_mb: int

    @property
    def is_ours(self) -> bool:
        """Whether it is an object of a CDMI server: a stock datastore may have such images as well."""
        return self.source.startswith("cdmi://")


@dataclass(frozen=True)
class Vm:
    """A VM: its number, the state of its life cycle (`LCM_STATE`), its disks, the hosts that it was on, in order."""

    id: str
    lcm_state: int
    disks: tuple[Disk, ...]
    hosts: tuple[str, ...] = ()
    sequence: int = -1
    """The number of the last record of its history: another one each time that it is deployed."""
    is_done: bool = False
    """Whether it is over for good; one that is only powered off has the same `lcm_state`."""

    def disk(self, number: int) -> Disk:
        """The disk of that number. Raises `Failure`."""
        for disk in self.disks:
            if disk.number == number:
                return disk
        raise Failure(f"oned knows no disk {number} of VM {self.id}", f"see: onevm show {self.id}")

    @property
    def ours(self) -> tuple[Disk, ...]:
        """The disks that are objects of CDMI servers."""
        return tuple(disk for disk in self.disks if disk.is_ours)


def show(vm: str) -> Vm:
    """Ask oned. Raises `Failure`."""
    return _vm(oned.show("vm", vm))


def from_base64(text: str) -> Vm:
    """The VM of a driver's standard input. Raises `Failure`."""
    try:
        return _vm(oned.parse(base64.b64decode(text, validate=False).decode()))
    except (binascii.Error, ValueError, Failure):
        raise Failure("standard input is not the base64 text of a VM", "this script is run by OpenNebula") from None


def _vm(root: ElementTree.Element) -> Vm:
    disks = tuple(_disk(found) for found in root.iterfind("TEMPLATE/DISK"))
    records = sorted(root.iterfind("HISTORY_RECORDS/HISTORY"), key=lambda one: _number(one, "SEQ"))
    hosts = tuple(_text(one, "HOSTNAME") for one in records)
    sequence = _number(records[-1], "SEQ") if records else -1
    is_done = _number(root, "STATE") == DONE
    return Vm(_text(root, "ID"), _number(root, "LCM_STATE"), disks, hosts, sequence, is_done)


def _disk(found: ElementTree.Element) -> Disk:
    return Disk(
        number=_number(found, "DISK_ID"),
        source=_text(found, "SOURCE"),
        tm=_text(found, "TM_MAD"),
        is_clone=_text(found, "CLONE").upper() == "YES",
        read_only=_text(found, "READONLY").upper() == "YES",
        shared=_text(found, "SHAREABLE").upper() == "YES",
        size_mb=_number(found, "SIZE"),
        original_mb=_number(found, "ORIGINAL_SIZE"),
    )


def _text(found: ElementTree.Element, name: str) -> str:
    return (found.findtext(name) or "").strip()


def _number(found: ElementTree.Element, name: str) -> int:
    text = _text(found, name)
    return int(text) if text.isascii() and text.isdigit() else -1
