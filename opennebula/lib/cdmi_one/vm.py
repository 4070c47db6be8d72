"""What oned knows of a VM: its state and its disks, as `onevm show -x` and the drivers' standard input have them."""

from __future__ import annotations

import base64
import binascii
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from cdmi_one.failure import Failure, one_line

SHOW_S = 60.0
OUR_TM = "cdmi"


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


@dataclass(frozen=True)
class Vm:
    """A VM: its number, the state of its life cycle (`LCM_STATE`), its disks."""

    id: str
    lcm_state: int
    disks: tuple[Disk, ...]

    def disk(self, number: int) -> Disk:
        """The disk of that number. Raises `Failure`."""
        for disk in self.disks:
            if disk.number == number:
                return disk
        raise Failure(f"oned knows no disk {number} of VM {self.id}", f"see: onevm show {self.id}")

    @property
    def ours(self) -> tuple[Disk, ...]:
        """The disks that are objects of CDMI servers."""
        return tuple(disk for disk in self.disks if disk.tm == OUR_TM)


def show(vm: str) -> Vm:
    """Ask oned. Raises `Failure`."""
    remedy = "see to it that oned runs and that oneadmin may ask it, and retry"
    try:
        done = subprocess.run(["onevm", "show", "-x", vm], capture_output=True, text=True, timeout=SHOW_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"oned does not tell of VM {vm}: {one_line(str(error))}", remedy) from None
    if done.returncode:
        raise Failure(f"oned does not tell of VM {vm}: {one_line(done.stderr or done.stdout)}", remedy)
    return parse(done.stdout)


def from_base64(text: str) -> Vm:
    """The VM of a driver's standard input. Raises `Failure`."""
    try:
        return parse(base64.b64decode(text, validate=False).decode())
    except (binascii.Error, ValueError):
        raise Failure("standard input is not the base64 text of a VM", "this script is run by OpenNebula") from None


def parse(text: str) -> Vm:
    """The VM of an XML document. Raises `Failure`."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Failure(f"what oned tells of the VM is no XML: {error}", "see: onevm show -x") from None
    disks = tuple(_disk(found) for found in root.iterfind("TEMPLATE/DISK"))
    return Vm(_text(root, "ID"), _number(root, "LCM_STATE"), disks)


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
