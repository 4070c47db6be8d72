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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.host import links, scsi_generic, sysfs
from agent.host.holders import holders
from agent.host.tools import sought
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem

BLKROSET, BLKFLSBUF = 0x125D, 0x1261  # include/uapi/linux/fs.h
_KERNEL = "the kernel (a file system, swap or a driver)"


def write(path: str, text: str, *, directory: int | None = None) -> None:
    """Write to an attribute in sysfs; `directory` is a descriptor of the directory that `path` is in."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def prepare(
    node: str, number: str, wwid: str, owner: list[int] | None, read_only: bool | None, unit: str | None = None
) -> None:
    """Prove a disk and make it ready: its owner (uid and gid) and its read-only flag; None leaves either as it is.

    `unit` is the logical unit that its address was claimed for, None where the claim names none: one by another name.
    Raises `Problem` wrong-device.
    """
    with proved(node, number, wwid) as fd:
        if unit not in (None, wwid):
            _insist_on(fd, node, str(unit))
        if owner is not None:
            os.fchown(fd, *owner)
        if read_only is not None:
            fcntl.ioctl(fd, BLKROSET, struct.pack("i", read_only))


def rescan(node: str, number: str, wwid: str, device: str) -> None:
    """Prove a disk, and have the kernel read its size again where the disk has grown (attach.md, case 51).

    `device` is its directory in sysfs. Raises `Problem` wrong-device; conflict where the disk has become smaller: the
    kernel would take the new size from whoever uses it.
    """
    directory = os.open(device, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with proved(node, number, wwid) as fd:
            known, now = os.lseek(fd, 0, os.SEEK_END), scsi_generic.capacity(fd)
            if now < known:
                what = f"{node} ({wwid}) has become smaller: {now} bytes, and {known} are in use here"
                raise Problem(Code.CONFLICT, what, hint="let the server give it its old size back, or detach it first")
            if now > known:
                write("rescan", "1", directory=directory)
                _insist_on_size(fd, f"{node} ({wwid})", now)
    finally:
        os.close(directory)


def _insist_on_size(fd: int, name: str, size: int) -> None:
    """Raises `Problem` unavailable where the kernel has not taken a new size: its own look may have failed, and a write
    to sysfs does not say so (drivers/scsi/scsi_scan.c scsi_rescan_device).
    """
    if (taken := os.lseek(fd, 0, os.SEEK_END)) < size:
        text = f"{name} has {size} bytes, and the kernel still takes it for {taken}"
        raise Problem(Code.UNAVAILABLE, text, hint="try again; see the kernel's log")


def users(disks: list[dict[str, Any]], nodes: str, where: dict[str, Any]) -> list[list[str]]:
    """Who uses each of these (`tools.sought`): `holders`, and where that finds nobody, the kernel by an exclusive open
    of those with a `claim`, their number. So a pool of ZFS is found, which no file tells of. Raises `Problem`
    wrong-device where one is another device by now.
    """
    found = holders(disks, **where)
    return [names or _kernel_uses(disk, nodes) for disk, names in zip(disks, found, strict=True)]


def claimed(node: str) -> bool:
    """Whether the kernel itself uses a disk: a file system, swap or a driver."""
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _kernel_uses(disk: dict[str, Any], nodes: str) -> list[str]:
    if not disk.get("claim"):
        return []
    try:
        fd = os.open(Path(nodes, disk["node"]), os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return [_KERNEL] if error.errno == errno.EBUSY else []
    try:
        insist_on_device(fd, f"/dev/{disk['node']}", disk["claim"])
        return []
    finally:
        os.close(fd)


def remove(device: str, hctl: str, wwid: str | None, lost: bool, where: dict[str, Any]) -> None:
    """Delete a SCSI device that nobody has open, with its links; with a `wwid`, first write out its cache.

    See `alone`. Whatever takes its address or its name meanwhile is not touched, and nothing is written to a unit that
    was not proved to be the right one.
    """
    with alone(device, hctl, wwid, where, lost=lost) as directory:
        if directory is not None:
            write("delete", "1", directory=directory)


@contextmanager
def alone(
    device: str, hctl: str, wwid: str | None, where: dict[str, Any], *, lost: bool = False
) -> Iterator[int | None]:
    """While nobody has a SCSI device open, with its cache written out (with a `wwid`), and its links gone.

    `device` is its directory in sysfs; `where` has `nodes`, `devices` and `unwritten` (the directories of nodes, of our
    links, and of what tells of write-outs), `lost` (those of links that are gone by now) and the arguments of
    `holders`. `lost`: that what is cached cannot be written out is known, and no reason to stop. A disk that was not
    proved to be the right one is offline by then. Everything happens through one descriptor of that directory, which
    leads nowhere once the device is gone: it is yielded, or None where there is no device. Raises `Problem` in-use,
    wrong-device, dirty.
    """
    directory = os.open(device, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk = sysfs.disk_at(f"/proc/self/fd/{directory}", hctl)
        if disk is None:
            yield None
            return
        with _claimed(disk, where) as fd:
            fate = Path(where["unwritten"], wwid) if wwid is not None else None
            if fate is not None:
                _flush(fd, f"/dev/{disk.node}", fate, lost=lost)
            _refuse_users(disk, where)
            # what somebody wrote who came and went during the search
            proved = fate is not None and _flush(fd, f"/dev/{disk.node}", fate, lost=lost)
            for link in links.to_node(Path(where["devices"]), disk.node) if disk.node else []:
                link.unlink(missing_ok=True)
            if not proved:
                _take_offline(directory, disk.hctl)
            yield directory
    finally:
        os.close(directory)


@contextmanager
def _claimed(disk: sysfs.Disk, where: dict[str, Any]) -> Iterator[int | None]:
    """While no file system, swap or driver can take the disk. Raises `Problem` in-use where one has it.

    O_EXCL (block/bdev.c bd_prepare_to_claim): what the kernel itself uses is found even where no file tells of it,
    such as a mount in a namespace without a process. A disk that cannot be opened any more (None) cannot be claimed.
    """
    fd, claimed = _exclusive(Path(where["nodes"]), disk) if disk.node else (None, False)
    try:
        if claimed:
            _refuse_users(disk, where)
            raise _in_use(disk, [_KERNEL])
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def _exclusive(nodes: Path, disk: sysfs.Disk) -> tuple[int | None, bool]:
    """An exclusive descriptor of the disk, if it can be had, and whether somebody else has one."""
    try:
        fd = os.open(nodes / (disk.node or ""), os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return None, error.errno == errno.EBUSY
    if not _is_device(fd, disk.number):
        os.close(fd)
        raise Problem(Code.WRONG_DEVICE, f"/dev/{disk.node} is not the disk at {disk.hctl}", hint="try again")
    return fd, False


def _flush(fd: int | None, node: str, fate: Path, *, lost: bool) -> bool:
    """Prove the disk, write out what the host caches of it, and forget the cache. `lost` as in `alone`.

    Returns whether it was proved.
    """
    proved = False
    try:
        if fd is None:
            raise Problem(Code.TARGET_TIMEOUT, f"{node} cannot be opened to write out its cache", hint="try again")
        _insist_on(fd, node, fate.name)
        proved = True
        write_out(fd, f"{node} ({fate.name})", fate, lost=lost)
    except (Problem, OSError):
        if not lost:
            raise
    return proved


def _take_offline(directory: int, hctl: str) -> None:
    """See that nothing can be written any more to whatever answers at the disk's address: nobody knows whose it is.

    What is cached of the disk would be sent there when it goes: at the last close (block/bdev.c, bdev_release), or with
    the disk itself (block/genhd.c, del_gendisk). A disk that is `offline`, and then on its way out, takes no write
    (drivers/scsi/scsi_lib.c, scsi_device_state_check). One that is not `running` takes none anyway, and is left as it
    is: the queue of a `blocked` one would stay stopped, and newer kernels refuse it (scsi_sysfs.c, store_state_field).
    Raises `Problem` where it stays running.
    """
    state = f"/proc/self/fd/{directory}/state"
    if sysfs.text(state) != "running":
        return
    with suppress(OSError):  # its session failed at this very moment
        write("state", "offline\n", directory=directory)
    if sysfs.text(state) == "running":
        text = f"{hctl} cannot be set offline, and what is cached of it would be written to whatever answers there"
        raise Problem(Code.UNAVAILABLE, text, hint="see the kernel's log on this host, and try again")


def _sync(fd: int) -> None:
    os.fsync(fd)
    fcntl.ioctl(fd, BLKFLSBUF, 0)


def write_out(fd: int, name: str, fate: Path, *, lost: bool = False, sync: Callable[[int], None] = _sync) -> None:
    """Write out what the host caches of a block device, and forget the cache (or what `sync` does). Raises `Problem`
    dirty.

    While we have it open, nobody else's close writes it out (block/bdev.c). `fate` is a file that is there from before
    the write-out until it has succeeded: the kernel tells an error to one descriptor only (lib/errseq.c), and the pages
    are clean then, so that the next one would succeed with nothing to write.
    """
    fate.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        os.close(os.open(fate, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        if lost:  # what the earlier one lost is known; what was written since then is not lost yet
            with suppress(OSError):
                sync(fd)
            return
        detail = f"an earlier write-out of {name} failed, or was not seen to succeed"
        raise Problem(Code.DIRTY, detail, hint=REMEDY_OF_DIRTY) from None
    try:
        sync(fd)
        fate.unlink()
    except OSError as error:
        raise Problem(
            Code.DIRTY,
            f"what was written to {name} could not be written out: {error.strerror}",
            hint=REMEDY_OF_DIRTY,
        ) from None


def _refuse_users(disk: sysfs.Disk, where: dict[str, Any]) -> None:
    """By whatever name: our links to the disk are gone by now, and so may be the one that it is served by."""
    if users := holders([sought(disk) | {"lost": where["lost"]}], **where["holders"])[0]:
        raise _in_use(disk, users)


def _in_use(disk: sysfs.Disk, users: list[str]) -> Problem:
    name = f"/dev/{disk.node}" if disk.node else disk.hctl
    hint = "stop or detach the user of the disk, then try again"
    return Problem(Code.IN_USE, f"{name} is in use by {', '.join(users)}", hint=hint)


@contextmanager
def proved(node: str, number: str, wwid: str) -> Iterator[int]:
    """A descriptor of a node that is the block device `number` (major:minor) and answers `wwid` to an INQUIRY."""
    fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        insist_on_device(fd, node, number)
        _insist_on(fd, node, wwid)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def identified(node: str, wwid: str, how: int) -> Iterator[int]:
    """A descriptor of a node that is a block device and answers `wwid` to an INQUIRY; `how` are more flags of open."""
    fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | how)
    try:
        if not stat.S_ISBLK(os.fstat(fd).st_mode):
            raise Problem(Code.WRONG_DEVICE, f"{node} is no block device", hint="detach it, and attach it again")
        _insist_on(fd, node, wwid)
        yield fd
    finally:
        os.close(fd)


def _insist_on(fd: int, node: str, wwid: str) -> None:
    """Raises `Problem` wrong-device where the disk does not answer `wwid` to an INQUIRY."""
    names = scsi_generic.identify(fd)
    if wwid not in names:
        seen = ", ".join(sorted(names)) or "no strong name"
        raise Problem(
            Code.WRONG_DEVICE,
            f"{node} answers {seen} to an INQUIRY, not {wwid}",
            hint="the server maps another logical unit there: correct the export or the mapping",
        )


def insist_on_device(fd: int, node: str, number: str) -> None:
    """Raises `Problem` wrong-device where a descriptor is not the block device `number` (major:minor)."""
    if not _is_device(fd, number):
        raise Problem(Code.WRONG_DEVICE, f"{node} is no longer the block device {number}", hint="try again")


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
