"""Multipath maps as device-mapper has them: by sysfs, and by its ioctls where sysfs does not tell; never by name.

The functions that use the ioctls run in workers. include/uapi/linux/dm-ioctl.h; drivers/md/dm-mpath.c multipath_status.
"""

import errno
import fcntl
import os
import re
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.host import sysfs
from agent.host.roots import Roots
from attachers.problems import Code, Problem

CONTROL = "/dev/mapper/control"
DEV_REMOVE, TABLE_STATUS, TARGET_MSG = 4, 12, 14
STATUS_TABLE, BUFFER_FULL = 1 << 4, 1 << 8
ROOM = 16 * 1024
UNPROVED = "cdmi-attach-"
"""How the name begins that udev's rule gives a disk for multipathd, until it is proved (10-cdmi-attach.rules)."""
_HEAD = struct.Struct("=3I I I I i I I I Q 128s 129s 7s")  # struct dm_ioctl
_TARGET = struct.Struct("=Q Q i I 16s")  # struct dm_target_spec
_ADDRESS = re.compile(r"\d+:\d+:\d+:\d+")
_PATH = re.compile(r"\b(\d+:\d+) ([AF]) \d+")


@dataclass(frozen=True, slots=True)
class Map:
    """One map. `node` is its kernel name (dm-0), `number` its major:minor, `size` in bytes, `slaves` the kernel names
    of its paths (sda), `holders` those of the drivers on top of it (dm-1).
    """

    uuid: str
    name: str
    node: str
    number: str
    suspended: bool
    size: int
    read_only: bool
    slaves: tuple[str, ...]
    holders: tuple[str, ...]


def multipath_name(wwid: str) -> str:
    """A logical unit name as multipath writes it (udev's ID_SERIAL): naa.6001 is 36001, eui.0123 is 20123."""
    kind, _, digits = wwid.partition(".")
    return f"{'3' if kind == 'naa' else '2'}{digits}"


def uuid_of(wwid: str) -> str:
    """The dm uuid of a logical unit's map."""
    return f"mpath-{multipath_name(wwid)}"


def find(roots: Roots, wwids: Iterable[str], paths: Collection[str] = ()) -> Map | None:
    """The map of a logical unit: one with the uuid of any of its names, else one on any of these disks (sda)."""
    uuids = {uuid_of(wwid) for wwid in wwids}
    nodes = [node for node in sysfs.entries(f"{roots.sys}/block") if node.startswith("dm-")]
    named = (node for node in nodes if sysfs.text(f"{roots.sys}/block/{node}/dm/uuid") in uuids)
    above = (node for node in nodes if paths and {*sysfs.entries(f"{roots.sys}/block/{node}/slaves")} & {*paths})
    return next((found for node in (*named, *above) if (found := at(roots, node))), None)


def find_any(roots: Roots, wwids: Collection[str], paths: Collection[str] = ()) -> Map | None:
    """The same, or a map that multipathd has made of a disk of that unit which was not proved yet: under the name of
    our rule, where nothing tells it to leave such disks alone. It is to go, and never handed out.

    Such a map is known by its disk's address, which is in its name: multipathd takes the disk out as soon as that is
    proved, and the map stays as long as somebody waits for it (udev's probe does, for a path).
    """
    if found := find(roots, wwids, paths):
        return found
    nodes = (node for node in sysfs.entries(f"{roots.sys}/block") if node.startswith("dm-"))
    maps = (one for node in nodes if (one := at(roots, node)) and is_misnamed(one))
    return next((one for one in maps if any(sysfs.wwid_of(roots, node) in wwids for node in _disks(roots, one))), None)


def _disks(roots: Roots, misnamed: Map) -> set[str]:
    """The disks in a map that was made of one before it was proved, and that which it was made of (sda)."""
    address = misnamed.uuid.removeprefix(f"mpath-{UNPROVED}")
    disk = sysfs.disk(roots, address) if _ADDRESS.fullmatch(address) else None
    return {*misnamed.slaves, *([disk.node] if disk and disk.node else [])}


def is_misnamed(one: Map) -> bool:
    """Whether multipathd has made it of a disk that was not proved."""
    return one.uuid.startswith(f"mpath-{UNPROVED}")


def by_uuid(roots: Roots, uuid: str) -> Map | None:
    """The multipath map with that dm uuid, None where there is none."""
    nodes = (node for node in sysfs.entries(f"{roots.sys}/block") if node.startswith("dm-"))
    return next((found for node in nodes if (found := at(roots, node)) and found.uuid == uuid), None)


def at(roots: Roots, node: str) -> Map | None:
    """The multipath map with that kernel name, None where it is none, or no more."""
    place = f"{roots.sys}/block/{node}"
    uuid = sysfs.text(f"{place}/dm/uuid") if node.startswith("dm-") else None
    if not uuid or not uuid.startswith("mpath-"):
        return None
    return Map(
        uuid=uuid,
        name=sysfs.text(f"{place}/dm/name") or "",
        node=node,
        number=sysfs.text(f"{place}/dev") or "",
        suspended=sysfs.text(f"{place}/dm/suspended") != "0",
        size=sysfs.size_of(roots, node),
        read_only=sysfs.text(f"{place}/ro") == "1",
        slaves=tuple(sysfs.entries(f"{place}/slaves")),
        holders=tuple(sysfs.entries(f"{place}/holders")),
    )


def partition(roots: Roots, node: str, whole: Map) -> tuple[str, str] | None:
    """Kernel name and major:minor of a partition (as kpartx makes them) of a map; None where it is something else."""
    place = f"{roots.sys}/block/{node}"
    uuid = sysfs.text(f"{place}/dm/uuid") or ""
    found = re.fullmatch(rf"part\d+-{re.escape(whole.uuid)}", uuid)
    return (node, sysfs.text(f"{place}/dev") or "") if found else None


def hctl_of(roots: Roots, node: str) -> str:
    """The SCSI address of a disk (sda), empty where it has none (any more)."""
    try:
        return Path(roots.sys, "block", node, "device").readlink().name
    except OSError:
        return ""


# In workers.


def map_status(uuid: str, control: str = CONTROL) -> dict[str, Any] | None:
    """What a map is doing: {"opens", "queueing", "paths": {major:minor: usable}}; None where there is none."""
    try:
        _, table = _ioctl(control, TABLE_STATUS, uuid, flags=STATUS_TABLE)
        opens, status = _ioctl(control, TABLE_STATUS, uuid)
    except FileNotFoundError:
        return None
    return {
        "opens": opens,
        "queueing": "queue_if_no_path" in table.split(),
        "paths": {number: state == "A" for number, state in _PATH.findall(status)},
    }


def map_remove(uuid: str, control: str = CONTROL) -> None:
    """Remove a map that nobody has open. Raises `Problem` in-use."""
    try:
        _ioctl(control, DEV_REMOVE, uuid)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Problem(Code.IN_USE, f"the map {uuid} is open: {error.strerror}", hint="stop its user") from None


def map_stop_queueing(uuid: str, control: str = CONTROL) -> None:
    """From here on, I/O to a map without a usable path fails; for a map that multipathd does not know."""
    message = struct.pack("=Q", 0) + b"fail_if_no_path\0"  # struct dm_target_msg: the sector, then the text
    try:
        _ioctl(control, TARGET_MSG, uuid, message)
    except FileNotFoundError:
        return


def _ioctl(control: str, command: int, uuid: str, data: bytes = b"", *, flags: int = 0) -> tuple[int, str]:
    """One ioctl on the device with that uuid. Returns how often it is open, and the text of its first target.

    Raises `FileNotFoundError` where there is no such device.
    """
    size = _HEAD.size + max(ROOM, len(data))
    head = _HEAD.pack(4, 0, 0, size, _HEAD.size, 0, 0, flags, 0, 0, 0, b"", uuid.encode(), b"")
    buffer = bytearray((head + data).ljust(size, b"\0"))
    fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, 0xC0000000 | _HEAD.size << 16 | 0xFD << 8 | command, buffer)
    except OSError as error:
        if error.errno == errno.ENXIO:  # drivers/md/dm-ioctl.c find_device
            raise FileNotFoundError(uuid) from None
        raise
    finally:
        os.close(fd)
    _, _, _, _, start, targets, opens, flags, *_ = _HEAD.unpack_from(buffer)
    if flags & BUFFER_FULL or not targets or command != TABLE_STATUS:
        return opens, ""
    text = bytes(buffer[start + _TARGET.size :])
    return opens, text.partition(b"\0")[0].decode(errors="replace")
