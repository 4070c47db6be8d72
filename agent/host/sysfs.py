"""What sysfs shows of iSCSI sessions and SCSI disks: plain reading, about 0.02 ms an attribute, without a process."""

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.host.roots import Roots
from attachers import checks, unit_names
from attachers.problems import Problem
from attachers.sights import Session

PAGE = 4096  # no attribute of sysfs is longer
SECTOR_BYTES = 512  # the unit of block/*/size, whatever the disk's own is (block/genhd.c part_size_show)


@dataclass(frozen=True, slots=True)
class Disk:
    """One SCSI device. `place` is its directory, `node` its kernel name (sda) or None, `number` its major:minor or
    empty, `size` in bytes. `kind` says what it is where it is no disk (`unit_names.kind_of`).
    """

    hctl: str
    place: str
    node: str | None
    number: str
    state: str
    size: int
    read_only: bool
    wwid: str | None
    kind: str = ""


def text(path: Path | str) -> str | None:
    """A file's content without the blanks around it; None where it is not there, not readable, or no text."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = b"".join(iter(lambda: os.read(file, PAGE), b""))
        finally:
            os.close(file)
    except OSError:  # a device that is going away answers ENODEV, ENXIO, EINVAL, ...
        return None
    return content.decode(errors="replace").strip()


def entries(path: Path | str) -> list[str]:
    """The names in a directory in order; none where it is not there."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def found(top: Path | str, pattern: str) -> list[Path]:
    """What is below a directory by a pattern, one part of it for each level, in order.

    What goes while it is looked for is not there. (Path.glob raises for that: a disk's users would be unknown because
    another disk went.) Raises OSError where a directory cannot be listed for another reason than that, or a refusal.
    """
    places = [Path(top)]
    for part in pattern.split("/"):
        places = [place / name for place in places for name in _matching(place, part)]
    return places


def _matching(place: Path, part: str) -> list[str]:
    if "*" not in part:
        return [part] if os.path.lexists(place / part) else []
    try:
        return sorted(fnmatch.filter(os.listdir(place), part))
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError, PermissionError):
        return []


def link(path: Path | str) -> str | None:
    """What a symbolic link says; None where there is none."""
    try:
        return os.readlink(path)  # noqa: PTH115  text: it is asked of thousands
    except OSError:
        return None


def sessions(roots: Roots, target: str) -> tuple[Session, ...]:
    """All sessions to a target (drivers/scsi/scsi_transport_iscsi.c), whosever they are, by their numbers."""
    found = (_session(roots, name, target) for name in entries(f"{roots.sys}/class/iscsi_session"))
    return tuple(sorted((session for session in found if session), key=lambda session: session.sid))


def _session(roots: Roots, name: str, target: str) -> Session | None:
    shown = f"{roots.sys}/class/iscsi_session/{name}"
    if not checks.same_iqn(text(f"{shown}/targetname") or "", target):
        return None
    try:
        device = os.path.realpath(f"{shown}/device", strict=True)
    except OSError:
        return None
    sid, host = _number(name, "session"), _number(device.split("/")[-2], "host")
    portal = _portal(f"{roots.sys}/class/iscsi_connection/connection{sid}:0")
    if sid is None or host is None or portal is None:
        return None
    devices = tuple(hctl for parent in entries(device) for hctl in _devices(device, parent))
    return Session(sid, host, target, portal, text(f"{shown}/state") or "unknown", devices)


def _devices(session: str, parent: str) -> Iterator[str]:
    if parent.startswith("target"):
        yield from (name for name in entries(f"{session}/{parent}") if checks.HCTL.fullmatch(name))


def _number(name: str, prefix: str) -> int | None:
    match = re.fullmatch(rf"{prefix}(\d+)", name)
    return int(match.group(1)) if match else None


def _portal(connection: str) -> str | None:
    """The portal that the session was made for; the address in use where it was made for a name."""
    for address, port in (("persistent_address", "persistent_port"), ("address", "port")):
        host = text(f"{connection}/{address}")
        try:
            if host:
                return checks.portal(f"[{host.strip('[]')}]:{text(f'{connection}/{port}') or checks.ISCSI_PORT}")
        except Problem:
            continue
    return None


def disk(roots: Roots, hctl: str) -> Disk | None:
    """One SCSI device, or None when the kernel does not have it (drivers/scsi/scsi_sysfs.c)."""
    return disk_at(_device_of(roots, hctl), hctl)


def is_still(disk: Disk) -> bool:
    """Whether the block device at that address is the one that it was (or is there as little)."""
    node = next(iter(entries(f"{disk.place}/block")), None)
    return disk.number == (text(f"{disk.place}/block/{node}/dev") or "" if node else "")


def _device_of(roots: Roots, hctl: str) -> str:
    return f"{roots.sys}/class/scsi_device/{hctl}/device"


def disk_at(device: str, hctl: str) -> Disk | None:
    """The SCSI device of that address whose directory in sysfs this is."""
    state = text(f"{device}/state")
    if state is None:
        return None
    node = next(iter(entries(f"{device}/block")), None)
    block = f"{device}/block/{node}"
    size = text(f"{block}/size") or "0" if node else "0"
    return Disk(
        hctl=hctl,
        place=device,
        node=node,
        number=text(f"{block}/dev") or "" if node else "",
        state=state,
        size=int(size) * SECTOR_BYTES if size.isdigit() else 0,
        read_only=node is not None and text(f"{block}/ro") == "1",
        wwid=unit_names.as_kernel_has(text(f"{device}/wwid")),
        kind=unit_names.kind_of(int(kind)) if (kind := text(f"{device}/type") or "0").isdigit() else "",
    )


def size_of(roots: Roots, node: str) -> int:
    """The size in bytes of a block device (sda), 0 where there is none."""
    size = text(f"{roots.sys}/block/{node}/size") or "0"
    return int(size) * SECTOR_BYTES if size.isdigit() else 0


def wwid_of(roots: Roots, node: str) -> str | None:
    """The logical unit that the kernel takes a disk (sda) for; None where it has no such disk."""
    return unit_names.as_kernel_has(text(f"{roots.sys}/block/{node}/device/wwid"))


def numbers(disk: Disk) -> list[str]:
    """major:minor of a disk and of its partitions."""
    block = f"{disk.place}/block/{disk.node}"
    parts = [block, *(f"{block}/{name}" for name in entries(block) if name.startswith(disk.node or "-"))]
    return [number for part in parts if (number := text(f"{part}/dev"))]


def character_numbers(disk: Disk) -> list[str]:
    """major:minor of a disk's sg and bsg nodes."""
    nodes = [
        f"{disk.place}/{kind}/{name}" for kind in ("scsi_generic", "bsg") for name in entries(f"{disk.place}/{kind}")
    ]
    return [number for node in nodes if (number := text(f"{node}/dev"))]


def has_device(roots: Roots, hctl: str) -> bool:
    """Whether the kernel has a device at that address."""
    return Path(roots.sys, "class/scsi_device", hctl).exists()
