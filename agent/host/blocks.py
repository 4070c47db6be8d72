"""What is done to a SCSI disk itself; these functions run in workers, since each may sleep in the kernel.

Whoever opens a node here proves through that very descriptor that it is the right device.
"""

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

from agent.host import scsi_generic
from agent.host.holders import holders
from attachers.problems import Code, Problem

BLKROSET, BLKFLSBUF = 0x125D, 0x1261  # include/uapi/linux/fs.h


def write(path: str, text: str) -> None:
    """Write to an attribute in sysfs."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
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


def remove(device: str, hctl: str, disk: dict[str, Any], links: list[str], where: dict[str, Any]) -> None:
    """Delete a SCSI device that nobody has open, with its links; `disk` and `where` are for `holders`.

    `device` is its directory in sysfs. Raises `Problem` in-use.
    """
    users = holders([disk], **where)[0]
    if users:
        raise in_use(disk["node"] and f"/dev/{disk['node']}", hctl, users)
    for link in links:
        Path(link).unlink(missing_ok=True)
    write(f"{device}/delete", "1")


def in_use(node: str, hctl: str, users: list[str]) -> Problem:
    """The problem of a disk that somebody has open."""
    return Problem(
        Code.IN_USE,
        f"{node or hctl} is in use by {', '.join(users)}",
        hint="stop or detach the user of the disk, then try again",
    )


@contextmanager
def _proved(node: str, number: str, wwid: str) -> Iterator[int]:
    """A descriptor of a node that is the block device `number` (major:minor) and answers `wwid` to an INQUIRY."""
    fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISBLK(status.st_mode) or number != f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}":
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
