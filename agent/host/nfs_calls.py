"""What waits for an NFS server: mounting, unmounting, finding a file. These functions run in workers, never elsewhere.

Each may be killed anywhere: what the kernel waits for on behalf of an NFS server it waits for killably, and a mount is
in the mount table or it is not.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agent.host import blocks, mountinfo, sysfs
from attachers.nfs_share import KIND, FileId
from attachers.problems import Code, Problem
from attachers.sights import Opening, Trouble

UMOUNT_NOFOLLOW = 8
_libc = ctypes.CDLL(None, use_errno=True)
_SILENT = (errno.ETIMEDOUT, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET, errno.EIO)
_NOT_FOR_ROOT = {errno.EROFS: Opening.READ_ONLY, errno.EACCES: Opening.DENIED, errno.EPERM: Opening.DENIED}
_NO_SUCH_VERSION = (errno.EPROTONOSUPPORT, errno.EINVAL)


def mount(source: str, point: str, server: str, minors: list[str], flags: int, words: list[str]) -> str:
    """Mount an export with the first of these versions that the server speaks; returns that version.

    By mount(2), as the helper of mount(8) does in the end: no process has to be found and killed when the server is
    silent, no other version is tried than those asked for, and nothing is looked up by name.
    """
    Path(point).parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    Path(point).mkdir(mode=0, exist_ok=True)  # nobody writes into it while nothing is mounted there
    nobody = "::" if ":" in server else "0.0.0.0"
    error = errno.EPROTONOSUPPORT
    for version in minors:
        data = ",".join([f"vers={version}", f"addr={server}", f"clientaddr={nobody}", *words])
        arguments = (source.encode(), point.encode(), KIND.encode(), ctypes.c_ulong(flags), data.encode())
        if _libc.mount(*arguments) == 0:
            return version
        error = ctypes.get_errno()
        if error not in _NO_SUCH_VERSION:
            break
    raise _refusal(error, source, minors)


def _refusal(error: int, source: str, minors: list[str]) -> Problem:
    why = os.strerror(error)
    if error in _SILENT:
        return Problem(Code.TARGET_TIMEOUT, f"{source}: {why}", hint="see whether the NFS server is well, and reached")
    if error == errno.ENODEV:
        return Problem(Code.UNSUPPORTED_ON_HOST, f"the kernel cannot mount NFS: {why}", hint="modprobe nfsv4")
    hints = {
        errno.ENOENT: "the server exports no such path: correct the export's path in CDMI",
        errno.EACCES: "let the server export it to this host",
        errno.EPERM: "let the server export it to this host",
        errno.EPROTONOSUPPORT: f"the server does not speak NFS {' or '.join(minors)}: correct the export's protocol in"
        " CDMI, or set allow_downgrade in [nfs]",
        errno.EINVAL: "see options in [nfs], and the kernel's log",
        errno.EBUSY: "see findmnt",
    }
    return Problem(Code.TARGET_REFUSED, f"{source}: {why}", hint=hints.get(error, "see the kernel's log on this host"))


def unmount(point: str, mount_id: int, proc: str) -> bool:
    """Unmount a mount of ours; whether it was there. Never by force, never lazily: both could cost somebody's data.

    Raises `Problem` in-use; conflict where something else is mounted there or over it.
    """
    mounts = mountinfo.at(proc, point)
    if not mounts:
        return False
    if [mount.id for mount in mounts] != [mount_id]:
        detail = f"{mounts[-1].source} is mounted over what was mounted at {point}"
        raise Problem(Code.CONFLICT, detail, hint=f"unmount what is not of this daemon: see findmnt {point}")
    if _libc.umount2(point.encode(), UMOUNT_NOFOLLOW) == 0:
        return True
    error = ctypes.get_errno()
    if error == errno.EBUSY:
        hint = f"see fuser -vm {point}; stop what uses it, then try again"
        raise Problem(Code.IN_USE, f"something on this host uses the mount of {mounts[0].source} at {point}", hint=hint)
    raise OSError(error, os.strerror(error), point)


def look(point: str, path: str, proc: str, open_for: str = "") -> dict[str, int | str]:
    """A file below a mount, as the JSON of `NfsFile`; it is not read, and opened only with `open_for` (ro or rw)."""
    try:
        with opened(point, path, os.O_PATH) as (_, status):
            found = _shown(status, proc)
        return _opened_for(open_for, point, path, proc) or found if open_for else found
    except OSError as error:
        trouble, words = trouble_of(error)
        return {"size": 0, "inode": 0, "trouble": trouble, "words": words}


def _shown(status: os.stat_result, proc: str, opening: Opening = Opening.UNTRIED) -> dict[str, int | str]:
    found: dict[str, int | str] = {"size": status.st_size, "inode": status.st_ino, "fsid": fsid_of(status, proc)}
    return found | {"trouble": Trouble.NONE, "words": "", "opening": opening}


def _opened_for(open_for: str, point: str, path: str, proc: str) -> dict[str, int | str]:
    """What shows once it is open, or why root of this host cannot open it so. Nothing is written. Raises `OSError`."""
    flags, opening = os.O_RDWR if open_for == "rw" else os.O_RDONLY, Opening.DONE
    try:
        with opened(point, path, flags) as (_, status):
            return _shown(status, proc, opening)
    except OSError as error:
        if error.errno not in _NOT_FOR_ROOT:
            raise
        opening = _NOT_FOR_ROOT[error.errno]
    with opened(point, path, os.O_PATH) as (_, status):
        return _shown(status, proc, opening)


def fsid_of(status: os.stat_result, proc: str) -> str:
    """The server's fsid of the file system that a file is in, by the kernel's list of volumes; empty where it has none.

    (fs/nfs/client.c, nfs_volume_list_show: version, server, port, device, fsid, fscache. No server is asked.)
    """
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    lines = (line.split() for line in (sysfs.text(f"{proc}/fs/nfsfs/volumes") or "").splitlines())
    return next((fields[4] for fields in lines if len(fields) > 4 and fields[3] == device), "")


def insist_on(status: os.stat_result, path: str, proc: str, pin: list[Any] | None) -> None:
    """Raises `Problem` wrong-device where a file is not that of this fsid and number."""
    now = FileId(fsid_of(status, proc), status.st_ino)
    if pin is not None and now != FileId(*pin):
        text = f"{path} is {now}, and was {FileId(*pin)}"
        raise Problem(Code.WRONG_DEVICE, text, hint="the server has another file there: detach, then attach again")


def prove(point: str, path: str, proc: str, pin: list[Any] | None) -> None:
    """See that a plain file lies there, and that it is the one of this fsid and number. Raises `Problem`."""
    try:
        with opened(point, path, os.O_PATH) as (_, status):
            insist_on(status, path, proc, pin)
    except OSError as error:
        trouble, words = trouble_of(error)
        code = Code.TARGET_TIMEOUT if trouble is Trouble.SILENT else Code.WRONG_DEVICE
        raise Problem(code, f"{path} {words}", hint="see the NFS server, and the export's path in CDMI") from None


def write_out(point: str, path: str, proc: str, pin: list[Any] | None, fate: str, lost: bool) -> bool:
    """Write out what is cached of a file, and be told of an error, as every descriptor is that is opened after it and
    before anybody was told (lib/errseq.c). Returns whether root of this host may open it: else nothing is done.

    There is no good way round that. syncfs(2) on the mount's directory tells of errors (fs/sync.c, s_wb_err), but once
    for all files of the superblock, whose writes it waits for with s_umount held and not to be killed: a silent server
    would then keep every mount of it from going, by force as well. To open it as its owner takes CAP_SETUID, which the
    helper does not have. What its writers have closed, the kernel has written out, and has told them of errors (fs/nfs/
    nfs4file.c, nfs4_file_flush), but for what a delegation lets it keep, or is mapped; the rest goes with the unmount.

    `fate` and `lost` as in `blocks.write_out`. Raises `Problem` dirty, wrong-device.
    """
    try:
        with opened(point, path, os.O_RDONLY) as (fd, status):
            insist_on(status, path, proc, pin)
            blocks.write_out(fd, path, Path(fate), lost=lost, sync=os.fsync)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return False
        trouble, words = trouble_of(error)
        code = Code.TARGET_TIMEOUT if trouble is Trouble.SILENT else Code.WRONG_DEVICE
        raise Problem(code, f"{path} {words}", hint="see the NFS server, and the export's path in CDMI") from None
    return True


@contextmanager
def opened(point: str, path: str, flags: int) -> Iterator[tuple[int, os.stat_result]]:
    """A plain file below a mount: descriptor and status. No link is followed, and no other file system entered.

    One name after the other, each beneath the descriptor of the directory before: whatever is renamed or replaced
    meanwhile leads nowhere else. (openat2 would do it at once; systemd's RestrictSUIDSGID= has no room for it.)
    Raises `OSError`; ELOOP, EXDEV or EISDIR (whatever it is) where it is no plain file inside the mount.
    """
    *folders, name = path.split("/")
    with ExitStack() as stack:
        at = stack.enter_context(_descriptor(point, os.O_PATH | os.O_DIRECTORY))
        system = os.fstat(at).st_dev
        for folder in folders:
            at = stack.enter_context(_descriptor(folder, os.O_PATH | os.O_NOFOLLOW, at=at))
            _insist_on(stat.S_ISDIR, os.fstat(at), system, errno.ENOTDIR)
        fd = stack.enter_context(_descriptor(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, at=at))
        status = os.fstat(fd)
        _insist_on(stat.S_ISREG, status, system, errno.EISDIR)
        yield fd, status


@contextmanager
def _descriptor(name: str, flags: int, *, at: int | None = None) -> Iterator[int]:
    if name == "..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    try:
        fd = os.open(name, flags | os.O_CLOEXEC, dir_fd=at)
    except NotADirectoryError:  # below what has just been seen to be one: the root of another of the server's systems
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV)) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _insist_on(kind: Callable[[int], bool], status: os.stat_result, system: int, error: int) -> None:
    """Raises `OSError`: EXDEV on another file system, ELOOP for a link, `error` for any other thing."""
    if status.st_dev != system:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not kind(status.st_mode):
        raise OSError(error, os.strerror(error))


def trouble_of(error: OSError) -> tuple[Trouble, str]:
    """What an error says of a file, for a sentence that begins with its name."""
    match error.errno:
        case errno.ESTALE:
            return Trouble.STALE, "is stale"
        case errno.ENOENT | errno.ENOTDIR:
            return Trouble.MISSING, "is not there"
        case errno.ELOOP:
            return Trouble.ODD, "is a symbolic link, or leads through one"
        case errno.EXDEV:
            return Trouble.ODD, "is on another file system of the server, which has to export it by itself"
        case errno.EISDIR:
            return Trouble.ODD, "is no plain file"
        case errno.EACCES | errno.EPERM:
            return Trouble.DENIED, "may not be looked at by root of this host (root_squash?)"
        case _:
            return Trouble.SILENT, f"no answer from the server ({error.strerror})"
