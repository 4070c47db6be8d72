"""Who has a disk open: processes, kernel drivers, mounts of every namespace, swap. Runs in workers; opens nothing.

What cannot be checked counts as in use: its name then begins with `unknown:`.
"""

import ctypes
import errno
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.host import sysfs
from agent.host.mapped import mapped
from agent.host.served import backstores, namespaces, remote_places, resolved

AT_FDCWD = -100
AT_STATX_DONT_SYNC = 0x4000  # what is remembered will do: a file of a dead NFS server must not stop the search
STATX_NOTHING = 0  # the type is told all the same; FUSE refuses more of a user's files even to root (fuse_getattr)
PF_KTHREAD = 0x00200000  # include/linux/sched.h
MOST_NAMES = 50  # a sentence is made of them, and an answer of a worker has its limit
_GUEST = re.compile(r"(?:^|,)guest=((?:[^,]|,,)+)")
_UDEV = ("(udev-worker)", "systemd-udevd")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Sought:
    """What to look for: `node` is the kernel's name (sda) or empty, `block` and `character` are device numbers as
    b8:0 and c21:0; `file` is a plain file as f0:47:1234 (device and inode; w0:47:1234: open for
    writing), or empty. `names` are links of ours that
    lead to it, or led there a moment ago; `lost` the folders of such links: one that leads nowhere may have led to it.
    """

    node: str
    block: frozenset[str]
    character: frozenset[str] = field(default_factory=frozenset)
    file: str = ""
    names: frozenset[str] = field(default_factory=frozenset)
    lost: tuple[str, ...] = ()


def holders(
    disks: list[dict[str, list[str] | str]], *, proc: str, sys: str, helper: int, zygote: int
) -> list[list[str]]:
    """For each disk (`Sought` as JSON), who has it open. The helper, its zygote and its workers do not count."""
    sought = [_sought(disk) for disk in disks]
    found: list[list[str]] = [[] for _ in sought]
    pids = _pids(proc)
    for index, name in [*_open_files(sought, Path(proc), pids, (helper, zygote)), *_mounts(sought, proc, pids)]:
        found[index].append(name)
    for index, disk in enumerate(sought):
        found[index] += [*_kernel(disk, Path(sys)), *_served(disk, Path(sys), proc), *_swaps(disk, Path(proc))]
    return [_some(list(dict.fromkeys(names))) for names in found]


def file_holders(
    devices: Iterable[str], inode: int, *, proc: str, helper: int, zygote: int
) -> tuple[list[str], list[str]]:
    """Who has a plain file open, and who of them for writing: `devices` are the numbers (major:minor) by which its file
    system is mounted, which no server is asked for.
    """
    files = [f"{device}:{inode}" for device in devices]
    sought = [Sought("", frozenset(), file=f"{kind}{file}") for kind in "fw" for file in files]
    found = list(_open_files(sought, Path(proc), _pids(proc), (helper, zygote)))
    users = list(dict.fromkeys(name for index, name in found if index < len(files)))
    return _some(users), _some(list(dict.fromkeys(name for index, name in found if index >= len(files))))


def _some(names: list[str]) -> list[str]:
    """The first of them, those that are known before the others."""
    names = sorted(names, key=lambda name: name.startswith("unknown:"))
    first, rest = names[:MOST_NAMES], names[MOST_NAMES:]
    known = "" if rest and not rest[0].startswith("unknown:") else "unknown: "
    return [*first, f"{known}{len(rest)} more"] if rest else first


def _sought(disk: dict[str, list[str] | str]) -> Sought:
    block, character = (frozenset(f"{k[0]}{number}" for number in disk[k]) for k in ("block", "character"))
    names, lost = frozenset(disk.get("names", ())), tuple(disk.get("lost", ()))
    return Sought(str(disk["node"]), block, character, names=names, lost=lost)


def _open_files(sought: list[Sought], proc: Path, pids: list[int], ours: tuple[int, int]) -> Iterator[tuple[int, str]]:
    files = any(disk.file for disk in sought)
    for pid in pids:
        try:
            used, unknown = _devices_of(f"{proc}/{pid}", files=files), ""
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        except OSError as error:
            used, unknown = set(), f"unknown: cannot look into {_comm(proc, pid)} (pid {pid}): {error.strerror}"
        hits = [i for i, disk in enumerate(sought) if unknown or used & (disk.block | disk.character | {disk.file})]
        if hits and not _is_passing(proc, pid, ours):
            yield from ((index, unknown or _process(proc, pid)) for index in hits)


def _pids(proc: str) -> list[int]:
    """All processes but the kernel's own threads, which have no files; there are more of these than of others."""
    kernels = set(_text(f"{proc}/2/task/2/children").split())
    names = (name for name in os.listdir(proc) if name.isdigit())
    return sorted(int(name) for name in names if name not in kernels or _has_program(f"{proc}/{name}"))


def _has_program(process: str) -> bool:
    """Children of kthreadd are kernel threads, and the programs that the kernel starts (kernel/umh.c)."""
    try:
        os.readlink(f"{process}/exe")
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _devices_of(process: str, *, files: bool = False) -> set[str]:
    """The devices that a process has open or mapped, as `b` or `c` and major:minor, and with `files` the plain files.
    Text, not Path: it is asked of thousands.

    A first thread that has ended shows no descriptors, though its process goes on: then the other threads are asked.
    """
    links = [f"{process}/fd/{name}" for name in os.listdir(f"{process}/fd")]
    if not links and not _is_kernel_thread(process):
        links = [link for name in _listed(f"{process}/task") for link in _descriptors(f"{process}/task/{name}")]
    links += _mappings(process)
    found = {link: device for link in links if not _is_anonymous(link) and (device := _device(link, files=files))}
    written = {f"w{file[1:]}" for link, file in found.items() if file.startswith("f") and _writes(link)}
    return {*found.values(), *written}


def _writes(link: str) -> bool:
    """Whether a descriptor, or a mapping, is one for writing: its link says so (fs/proc/fd.c tid_fd_update_inode)."""
    try:
        return bool(os.lstat(link).st_mode & 0o200)
    except (FileNotFoundError, ProcessLookupError):
        return False  # closed meanwhile


def _mappings(process: str) -> list[str]:
    """A process that has ended meanwhile has none, and a first thread that has ended shows none."""
    try:
        return list(mapped(process))
    except (FileNotFoundError, ProcessLookupError):
        return []


def _is_kernel_thread(process: str) -> bool:
    """It has no files. The ninth field of stat (proc(5)) are its flags; the second is a name, with anything in it."""
    fields = _text(f"{process}/stat").rpartition(")")[2].split()
    return len(fields) > 6 and bool(int(fields[6]) & PF_KTHREAD)


def _descriptors(thread: str) -> list[str]:
    return [f"{thread}/fd/{name}" for name in _listed(f"{thread}/fd")]


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has ended meanwhile


def _is_anonymous(link: str) -> bool:
    """Whether a descriptor is surely no device, or closed meanwhile. Its name says no more than that: QEMU has a /dev
    of its own, and a name may be too long to be told.
    """
    try:
        return os.readlink(link).startswith(("socket:", "pipe:", "anon_inode:"))
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def _device(link: str, *, files: bool) -> str | None:
    """What a descriptor's link leads to, asked without going to a server. None: no device, or closed meanwhile."""
    answer = ctypes.create_string_buffer(256)  # struct statx (include/uapi/linux/stat.h)
    if _libc.statx(AT_FDCWD, os.fsencode(link), AT_STATX_DONT_SYNC, STATX_NOTHING, answer) != 0:
        error = ctypes.get_errno()
        if error in (errno.ENOENT, errno.ESRCH, errno.ESTALE):  # the last: a file of a server
            return None
        raise OSError(error, os.strerror(error))
    kind = struct.unpack_from("H", answer, 28)[0] & 0o170000
    if files and kind == 0o100000:
        major, minor = struct.unpack_from("II", answer, 136)
        return f"f{major}:{minor}:{struct.unpack_from('Q', answer, 32)[0]}"
    major, minor = struct.unpack_from("II", answer, 128)
    letter = {0o060000: "b", 0o020000: "c"}.get(kind)
    return f"{letter}{major}:{minor}" if letter else None


def _is_passing(proc: Path, pid: int, ours: tuple[int, int]) -> bool:
    """Ours; udev, which only has a look; multipathd, which checks every path, and lets go of one that is removed."""
    if pid in ours or _parent(proc, pid) == ours[1]:
        return True
    if not _is_root(proc, pid):
        return False
    parent = _parent(proc, pid)
    return _comm(proc, pid) in ("multipathd", *_UDEV) or (_comm(proc, parent) in _UDEV and _is_root(proc, parent))


def _is_root(proc: Path, pid: int) -> bool:
    match = re.search(r"^Uid:\s+0\s+0\s", _text(proc / str(pid) / "status"), re.MULTILINE)
    return match is not None


def _parent(proc: Path, pid: int) -> int:
    match = re.search(r"^PPid:\s+(\d+)", _text(proc / str(pid) / "status"), re.MULTILINE)
    return int(match.group(1)) if match else 0


def _comm(proc: Path, pid: int) -> str:
    return _text(proc / str(pid) / "comm").strip() or "?"


def _text(path: Path | str) -> str:
    return _content(path) or ""


def _content(path: Path | str) -> str | None:
    """A file's text; None where it cannot be read. Only \n ends a line here: a name may have a \r in it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return b"".join(iter(lambda: os.read(file, 65536), b"")).decode(errors="replace")
        finally:
            os.close(file)
    except OSError:
        return None


def _process(proc: Path, pid: int) -> str:
    """`domain NAME (qemu-system-x86_64, pid N)` for a libvirt guest, else `COMM (pid N)`."""
    arguments = _text(proc / str(pid) / "cmdline").split("\0")
    program = Path(arguments[0]).name
    if program.startswith("qemu") and "-name" in arguments[:-1]:
        match = _GUEST.search(arguments[arguments.index("-name") + 1])
        if match:
            return f"domain {match.group(1).replace(',,', ',')} ({program}, pid {pid})"
    return f"{_comm(proc, pid)} (pid {pid})"


def _kernel(disk: Sought, sys: Path) -> Iterator[str]:
    """Drivers on top of the disk or a partition (dm, md, bcache), file systems and loop devices.

    A file system shows here that no mount namespace shows: unmounted lazily, or on more disks than one. So does a
    mapping of device-mapper whose own device nobody has open.
    """
    block = sys / "block" / (disk.node or "-")
    for holders_of in (block, *sysfs.found(block, f"{disk.node}*")):
        yield from (f"device {name.name}" for name in sysfs.found(holders_of, "holders/*"))
    for name in sorted([*sysfs.found(sys, "fs/*/*"), *sysfs.found(sys, "fs/btrfs/*/devices/*")]):
        if _is_node(f"/dev/{name.name}", disk):
            yield f"file system {name.relative_to(sys / 'fs').parts[0]} on {name.name}"
    for backing in sysfs.found(sys, "block/loop*/loop/backing_file"):
        if _is_node(_text(backing).strip(), disk):
            yield f"device {backing.parent.parent.name}"


def _served(disk: Sought, sys: Path, proc: str) -> Iterator[str]:
    """What LIO and the kernel's NVMe target make of it, by whatever link they were given."""
    remote: list[str] | None = None
    for name, made_of, number in backstores(sys):
        remote = remote_places(proc) if remote is None else remote
        if f"b{number}" in disk.block or any(_leads_to(one, disk, remote, known=number) for one in made_of):
            yield f"LIO backstore {name}"
    for name, device, enabled in namespaces(sys):
        remote = remote_places(proc) if remote is None else remote
        if _leads_to(device, disk, remote) and (enabled or _is_node(device, disk)):
            yield f"NVMe target namespace {name}"


def _leads_to(name: str, disk: Sought, remote: list[str], *, known: str = "") -> bool:
    """Whether a name is the disk's, or a partition's, or a link of ours that led to it until a moment ago."""
    end = resolved(name, remote)
    lost = (
        known in ("", "0:0")
        and end.startswith(tuple(f"{folder}/" for folder in disk.lost))
        and not os.path.lexists(end)
    )
    return lost or name in disk.names or end in disk.names or _is_node(end, disk)


def _mounts(sought: list[Sought], proc: str, pids: list[int]) -> Iterator[tuple[int, str]]:
    """Mounts of every mount namespace, each namespace once (proc(5), mountinfo: field 3 is major:minor)."""
    seen = set()
    for pid in pids:
        try:
            namespace = os.readlink(f"{proc}/{pid}/ns/mnt")
            if namespace in seen:
                continue
        except OSError:
            continue
        content = _content(f"{proc}/{pid}/mountinfo")
        if content is None:
            continue  # ended meanwhile; or refused: then its files were refused as well
        seen.add(namespace)
        for fields in (line.split(" ") for line in content.split("\n") if line):  # only these are escaped in names
            for index, disk in enumerate(sought):
                if f"b{fields[2]}" in disk.block or _is_node(fields[fields.index("-") + 2], disk):
                    yield index, f"mount {fields[4]} (seen by pid {pid})"


def _is_node(name: str, disk: Sought) -> bool:
    """Whether a name in /dev is the disk or a partition of it (btrfs shows only the name, not the number)."""
    if not (disk.node and name.startswith("/dev/")):
        return False
    return re.fullmatch(rf"/dev/{re.escape(disk.node)}\d*", os.path.realpath(name)) is not None


def _swaps(disk: Sought, proc: Path) -> Iterator[str]:
    names = (line.split()[0] for line in _text(proc / "swaps").splitlines()[1:])
    yield from (f"swap {name}" for name in names if _is_node(name, disk))
