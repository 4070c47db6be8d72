"""A file as a SCSI disk by the kernel's own target: LIO fileio behind the loopback fabric, through configfs.

These functions run in workers: the file may be a server's. rtslib-fb is not used for this: it hands the kernel the
file's name, which is opened anew (and made, where it is not there: target_core_file.c has O_CREAT) and may be another
one by then, cannot have commas in it, and it sets the target's database directory, runs modprobe and remembers numbers
that others may take. Here the kernel is given the very descriptor that was checked. Nothing is saved anywhere, and no
object but the disk's own is touched: they are named after its unit serial.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.host import blocks, nfs_calls, sysfs
from attachers.nfs_share import serial_in
from attachers.problems import Code, Problem
from attachers.sights import Trouble

LUN = 0
TPG = 1  # the SCSI address of the disk is host:0:TPG:LUN (drivers/target/loopback/tcm_loop.c)
LONGEST = 511  # SE_UDEV_PATH_LEN (include/target/target_core_base.h)
_COMPANY = "naa.5001405"  # what targetcli takes for a name of the loopback fabric, too


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects of one disk are in configfs, below `sys`/kernel/config/target."""

    sys: str
    serial: str

    @property
    def root(self) -> Path:
        return Path(self.sys, "kernel/config/target")

    @property
    def hba(self) -> Path:
        """The backstore's own: its number is the serial's beginning, so that it is known before it is made."""
        return self.root / f"core/fileio_{int(self.serial[:7], 16)}"

    @property
    def backstore(self) -> Path:
        return self.hba / f"cdmi-attach-{self.serial}"

    @property
    def target(self) -> Path:
        return self.root / f"loopback/{_COMPANY}{self.serial[:9]}"

    @property
    def group(self) -> Path:
        return self.target / f"tpgt_{TPG}"

    @property
    def lun(self) -> Path:
        return self.group / f"lun/lun_{LUN}"


def place_of(sys: str, wwid: str) -> Place:
    """The place of a disk by its name."""
    return Place(sys, serial_in(wwid))


def missing(sys: str) -> str:
    """Why LIO cannot be used here; empty when it can."""
    if not Path(sys, "kernel/config/target/core").is_dir():
        return "the kernel's LIO target is not there: modprobe target_core_mod"
    return ""


def look(sys: str, wwid: str) -> dict[str, Any] | None:
    """A disk's backstore as the JSON of `FileDisk` and its SCSI address (None: not yet); None where nothing is left."""
    place = place_of(sys, wwid)
    if not any(part.is_dir() for part in (place.backstore, place.hba, place.target)):
        return None
    info = sysfs.text(place.backstore / "info") or ""
    size = re.search(r"\bSize: (\d+)", info)
    inode = re.search(r"inode=(\d+)", sysfs.text(place.backstore / "alias") or "")
    address = sysfs.text(place.group / "address")
    hctl = f"{address}:{LUN}" if address else None
    shown = hctl is not None and Path(sys, "class/scsi_device", hctl).exists()
    return {
        "file": sysfs.text(place.backstore / "udev_path") or "",
        "inode": int(inode[1]) if inode else 0,
        "size": int(size[1]) if size else 0,
        "whole": "Status: ACTIVATED" in info and _is_linked(place) and shown,
        "hctl": hctl,
    }


def prepare(
    sys: str, wwid: str, point: str, path: str, size: int, discard: bool, pin: list[Any] | None, proc: str
) -> str:
    """Make backstore and target of a file, as far as they are missing, but no disk yet. Returns its SCSI address.

    `size` is in bytes, and exactly the file's; `discard` says whether the disk takes discards; `pin` is fsid and number
    of the file (None: any will do). Nothing is written to it. Raises `Problem`: wrong-device, conflict, target-refused,
    unsupported-on-host.
    """
    if reason := missing(sys):
        raise Problem(Code.UNSUPPORTED_ON_HOST, reason, hint="ask for present=file")
    place = place_of(sys, wwid)
    if "Status: ACTIVATED" not in (sysfs.text(place.backstore / "info") or ""):
        with _file(point, path) as fd:
            nfs_calls.insist_on(os.fstat(fd), path, proc, pin)
            _insist_on_size(fd, path, size)
            _make_backstore(place, fd, f"{point}/{path}", size, discard=discard)
    _make(place.root / "loopback")
    for directory in (place.target, place.group):
        _make(directory)
    if sysfs.text(place.group / "nexus") is None:
        blocks.write(str(place.group / "nexus"), f"{_COMPANY}{place.serial[9:18]}")
    address = sysfs.text(place.group / "address")
    return f"{address}:{LUN}"


@contextmanager
def _file(point: str, path: str) -> Iterator[int]:
    """The file, opened for reading and writing, once it is sure that it is a plain one."""
    if len(f"{point}/{path}") > LONGEST:
        hint = "ask for present=file, or use a shorter path"
        raise Problem(Code.TARGET_REFUSED, f"{point}/{path} is longer than {LONGEST} bytes", hint=hint)
    try:
        with nfs_calls.opened(point, path, os.O_RDWR) as (fd, _):
            yield fd
    except OSError as error:
        raise _unusable(path, error) from None


def _insist_on_size(fd: int, path: str, size: int) -> None:
    """The size was decided on by a look that may be a minute old (acregmax); the open has asked the server."""
    if (now := os.fstat(fd).st_size) != size:
        hint = "try again; see who changes the file's size on the server"
        raise Problem(Code.WRONG_DEVICE, f"{path} has {now} bytes now, not {size}", hint=hint)


def _unusable(path: str, error: OSError) -> Problem:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "let the server export it writable, and to root (no_root_squash); or ask for present=file"
        return Problem(Code.TARGET_REFUSED, f"{path} cannot be opened for writing: {error.strerror}", hint=hint)
    trouble, words = nfs_calls.trouble_of(error)
    code = Code.TARGET_TIMEOUT if trouble is Trouble.SILENT else Code.WRONG_DEVICE
    return Problem(code, f"{path} {words}", hint="see the NFS server, and the export's path in CDMI")


def _make_backstore(place: Place, fd: int, file: str, size: int, *, discard: bool) -> None:
    """Direct, asynchronous I/O to the file behind a descriptor; what was half made by a crash is made anew.

    The kernel keeps the file open by itself from `enable` on (drivers/target/target_core_file.c fd_configure_device):
    an active one is whole, but for the word on discards, which it takes only then. It cannot be tried out whether the
    server can make holes: a hole is made in somebody's data.
    """
    _drop(place.backstore)
    _make(place.hba)
    _make(place.backstore)
    control = f"fd_dev_name=/proc/self/fd/{fd},fd_dev_size={size},fd_async_io=1"
    for name, value in (
        ("control", control),
        ("udev_path", file),
        ("alias", f"cdmi-attach inode={os.fstat(fd).st_ino}"),
        ("wwn/vpd_unit_serial", place.serial),
        ("enable", "1"),
        ("attrib/emulate_tpu", str(int(discard))),
    ):
        blocks.write(str(place.backstore / name), value)


def show(sys: str, wwid: str, hctl: str) -> None:
    """Have the disk appear on this host: the link makes it, or a look by its own host where it was deleted."""
    place = place_of(sys, wwid)
    _make(place.lun)
    if not _is_linked(place):
        (place.lun / "cdmi-attach").symlink_to(place.backstore)
    elif not Path(sys, "class/scsi_device", hctl).exists():
        host = hctl.partition(":")[0]  # all of its LUNs, since it has only this one, and says that its max_lun is 0
        blocks.write(f"{sys}/class/scsi_host/host{host}/scan", f"0 {TPG} -")


def grow(sys: str, wwid: str, point: str, path: str, size: int) -> None:
    """Give a disk the size that its file has by now: LIO keeps that of a plain file as it was told it (fd_get_blocks of
    drivers/target/target_core_file.c), and may be told another one at any time. Whoever has the SCSI disk has to read
    its size again.

    Raises `Problem`: unavailable, conflict, wrong-device, device-timeout, target-refused.
    """
    found = look(sys, wwid)
    if found is None or not found["whole"]:
        raise Problem(Code.UNAVAILABLE, f"LIO has no disk {wwid}", hint="look again")
    if size < found["size"]:
        text = f"the disk {wwid} has {found['size']} bytes, and is not made smaller ({size})"
        raise Problem(Code.CONFLICT, text, hint="let the server give the file its old size back, or detach it first")
    with _file(point, path) as fd:  # opened, so that the server is asked how large it is
        now = os.fstat(fd)
    if now.st_ino != found["inode"]:
        text = f"{path} is another file than the disk {wwid} was made of"
        raise Problem(Code.WRONG_DEVICE, text, hint="the server has replaced it: detach, then attach again")
    if now.st_size < size:
        text = f"{path} has {now.st_size} bytes, not {size}"
        raise Problem(Code.DEVICE_TIMEOUT, text, hint="see that the NFS server shows the new size, then try again")
    blocks.write(str(place_of(sys, wwid).backstore / "control"), f"fd_dev_size={size}")


def release(sys: str, wwid: str, lost: bool, where: dict[str, Any]) -> None:
    """Flush the disk and have it disappear, where nobody has it open; see `blocks.alone`."""
    place = place_of(sys, wwid)
    address = sysfs.text(place.group / "address")
    device = f"{sys}/class/scsi_device/{address}:{LUN}/device"
    if address and Path(device).exists():
        node = sysfs.entries(f"{device}/block")  # without one, nobody on this host can have written anything
        with blocks.alone(device, f"{address}:{LUN}", wwid if node else None, where, lost=lost):
            _unlink(place)
    else:
        _unlink(place)


def dismantle(sys: str, wwid: str) -> None:
    """Take away what is left of a disk that is not shown any more; closing the file may wait for its server."""
    place = place_of(sys, wwid)
    _drop(place.lun)
    with suppress(OSError):  # none; or still counted as used where somebody else deleted the disk (tcm_loop.c)
        blocks.write(str(place.group / "nexus"), "NULL")
    for directory in (place.group, place.target, place.backstore, place.hba):
        _drop(directory)


def _is_linked(place: Place) -> bool:
    return any((place.lun / name).is_symlink() for name in sysfs.entries(place.lun))


def _unlink(place: Place) -> None:
    for name in sysfs.entries(place.lun):
        if (place.lun / name).is_symlink():
            (place.lun / name).unlink()


def _make(directory: Path) -> None:
    with suppress(FileExistsError):
        directory.mkdir()


def _drop(directory: Path) -> None:
    with suppress(FileNotFoundError):
        directory.rmdir()
