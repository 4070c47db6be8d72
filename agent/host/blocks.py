"""What is done to a SCSI disk itself; these functions run in workers, since each may sleep in the kernel.

Whoever opens a node here proves through that very descriptor that it is the right device.
"""

import errno
import fcntl
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.host import links, scsi_generic, sysfs
from agent.host.holders import holders
from agent.host.tools import sought
from attachers.problems import Code, Problem

BLKROSET, BLKFLSBUF = 0x125D, 0x1261  # include/uapi/linux/fs.h


def write(path: str, text: str, *, directory: int | None = None) -> None:
    """Write to an attribute in sysfs; `directory` is a descriptor of the directory that `path` is in."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def prepare(node: str, number: str, wwid: str, owner: list[int] | None, read_only: bool | None) -> None:
    """Prove a disk and make it ready: its owner (uid and gid) and its read-only flag; None leaves either as it is.

    Raises `Problem` wrong-device.
    """
    with _proved(node, number, wwid) as fd:
        if owner is not None:
            os.fchown(fd, *owner)
        if read_only is not None:
            fcntl.ioctl(fd, BLKROSET, struct.pack("i", read_only))


def flush(node: str, number: str, wwid: str) -> None:
    """Prove a disk, write out what the host caches of it, and forget the cache."""
    with _proved(node, number, wwid) as fd:
        try:
            os.fsync(fd)
            fcntl.ioctl(fd, BLKFLSBUF, 0)
        except OSError as error:
            raise Problem(
                Code.DIRTY,
                f"what was written to {node} ({wwid}) could not be written out: {error.strerror}",
                hint="see the kernel's log; the data written last may be lost",
            ) from None


def remove(device: str, hctl: str, where: dict[str, Any]) -> None:
    """Delete a SCSI device that nobody has open, with its links.

    `device` is its directory in sysfs; `where` has `nodes` and `devices` (the directories of nodes and of our links)
    and the arguments of `holders`. Everything happens through one descriptor of that directory, which leads nowhere
    once the device is gone: whatever takes its address or its name meanwhile is not touched. Raises `Problem` in-use.
    """
    directory = os.open(device, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk = sysfs.disk_at(Path(f"/proc/self/fd/{directory}"), hctl)
        if disk is None:
            return
        with _nobody_else(disk, where):
            for link in links.to_node(Path(where["devices"]), disk.node) if disk.node else []:
                link.unlink(missing_ok=True)
            write("delete", "1", directory=directory)
    finally:
        os.close(directory)


@contextmanager
def _nobody_else(disk: sysfs.Disk, where: dict[str, Any]) -> Iterator[None]:
    """While nobody has the disk open, and no file system, swap or driver can take it. Raises `Problem` in-use."""
    fd, claimed = _exclusive(Path(where["nodes"]), disk) if disk.node else (None, False)
    try:
        users = holders([sought(disk)], **where["holders"])[0]
        if claimed and not users:
            users = ["the kernel (a file system, swap or a driver)"]
        if users:
            raise Problem(
                Code.IN_USE,
                f"{f'/dev/{disk.node}' if disk.node else disk.hctl} is in use by {', '.join(users)}",
                hint="stop or detach the user of the disk, then try again",
            )
        yield
    finally:
        if fd is not None:
            os.close(fd)


def _exclusive(nodes: Path, disk: sysfs.Disk) -> tuple[int | None, bool]:
    """A descriptor that keeps others from claiming the disk or a partition, and whether somebody has claimed it.

    O_EXCL (block/bdev.c bd_prepare_to_claim): what the kernel itself uses is found even where no file tells of it,
    such as a mount in a namespace without a process. A disk that cannot be opened any more cannot be claimed either.
    """
    try:
        fd = os.open(nodes / (disk.node or ""), os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return None, error.errno == errno.EBUSY
    if not _is_device(fd, next(iter(disk.numbers), "")):
        os.close(fd)
        raise Problem(Code.WRONG_DEVICE, f"/dev/{disk.node} is not the disk at {disk.hctl}", hint="try again")
    return fd, False


@contextmanager
def _proved(node: str, number: str, wwid: str) -> Iterator[int]:
    """A descriptor of a node that is the block device `number` (major:minor) and answers `wwid` to an INQUIRY."""
    fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not _is_device(fd, number):
            raise Problem(Code.WRONG_DEVICE, f"{node} is no longer the block device {number}", hint="try again")
        names = scsi_generic.identify(fd)
        if wwid not in names:
            seen = ", ".join(sorted(names)) or "no strong name"
            raise Problem(
                Code.WRONG_DEVICE,
                f"{node} answers {seen} to an INQUIRY, not {wwid}",
                hint="the server maps another logical unit there: correct the export or the mapping",
            )
        yield fd
    finally:
        os.close(fd)


def _is_device(fd: int, number: str) -> bool:
    status = os.fstat(fd)
    return stat.S_ISBLK(status.st_mode) and number == f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def owner_numbers(owner: str) -> tuple[int, int]:
    """uid and gid of `user:group`; a worker's task, since a directory service may be asked. Raises `Problem`."""
    user, _, group = owner.partition(":")
    try:
        return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise Problem(
            Code.INVALID_REQUEST,
            f"the owner {owner} of disks is not known here: {error.args[0]}",
            hint="correct device_owner in [attach]",
        ) from None
