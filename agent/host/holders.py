"""Who has a disk open: processes, kernel drivers, mounts of every namespace, swap. Runs in workers; opens nothing.

What cannot be checked counts as in use: its name then begins with `unknown:`.
"""

import ctypes
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

AT_FDCWD = -100
AT_STATX_DONT_SYNC = 0x4000  # what is remembered will do: a file of a dead NFS server must not stop the search
STATX_TYPE = 0x1
_GUEST = re.compile(r"(?:^|,)guest=((?:[^,]|,,)+)")
_UDEV = ("(udev-worker)", "systemd-udevd")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Sought:
    """What to look for: `node` is the kernel's name (sda) or empty, `block` and `character` are device numbers as
    b8:0 and c21:0.
    """

    node: str
    block: frozenset[str]
    character: frozenset[str] = field(default_factory=frozenset)


def holders(
    disks: list[dict[str, list[str] | str]], *, proc: str, sys: str, helper: int, zygote: int
) -> list[list[str]]:
    """For each disk (`Sought` as JSON), who has it open. The helper, its zygote and its workers do not count."""
    sought = [_sought(disk) for disk in disks]
    found: list[list[str]] = [[] for _ in sought]
    for index, name in [*_open_files(sought, Path(proc), (helper, zygote)), *_mounts(sought, Path(proc))]:
        found[index].append(name)
    for index, disk in enumerate(sought):
        found[index] += [*_kernel(disk, Path(sys)), *_swaps(disk, Path(proc))]
    return [list(dict.fromkeys(names)) for names in found]


def _sought(disk: dict[str, list[str] | str]) -> Sought:
    block, character = (frozenset(f"{k[0]}{number}" for number in disk[k]) for k in ("block", "character"))
    return Sought(str(disk["node"]), block, character)


def _open_files(sought: list[Sought], proc: Path, ours: tuple[int, int]) -> Iterator[tuple[int, str]]:
    for pid in _pids(proc):
        try:
            used, unknown = _devices_open(proc / str(pid) / "fd"), ""
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        except OSError as error:
            used, unknown = set(), f"unknown: cannot look into {_comm(proc, pid)} (pid {pid}): {error.strerror}"
        hits = [i for i, disk in enumerate(sought) if unknown or used & (disk.block | disk.character)]
        if hits and not _is_passing(proc, pid, ours):
            yield from ((index, unknown or _process(proc, pid)) for index in hits)


def _pids(proc: Path) -> list[int]:
    return sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())


def _devices_open(directory: Path) -> set[str]:
    """The devices that a process has open, as `b` or `c` and major:minor: by the descriptors themselves, whatever
    their names say (QEMU has a /dev of its own).
    """
    used = set()
    for link in directory.iterdir():
        try:
            if str(link.readlink()).startswith(("socket:", "pipe:", "anon_inode:")):
                continue
        except (FileNotFoundError, ProcessLookupError):
            continue  # closed meanwhile
        if device := _device(link):
            used.add(device)
    return used


def _device(link: Path) -> str | None:
    """What a descriptor's link leads to, asked without going to a server. None: no device, or closed meanwhile."""
    answer = ctypes.create_string_buffer(256)  # struct statx (include/uapi/linux/stat.h)
    if _libc.statx(AT_FDCWD, os.fsencode(link), AT_STATX_DONT_SYNC, STATX_TYPE, answer) != 0:
        error = ctypes.get_errno()
        if error in (2, 3, 116):  # ENOENT, ESRCH; ESTALE: a file of a server
            return None
        raise OSError(error, os.strerror(error))
    kind = struct.unpack_from("H", answer, 28)[0] & 0o170000
    major, minor = struct.unpack_from("II", answer, 128)
    letter = {0o060000: "b", 0o020000: "c"}.get(kind)
    return f"{letter}{major}:{minor}" if letter else None


def _is_passing(proc: Path, pid: int, ours: tuple[int, int]) -> bool:
    """Ours; udev, which only has a look; multipathd, which checks every path, and lets go of one that is removed."""
    if pid in ours or _parent(proc, pid) == ours[1]:
        return True
    if _is_root(proc, pid):
        comm = _comm(proc, pid)
        return comm == "multipathd" or comm in _UDEV or _comm(proc, _parent(proc, pid)) in _UDEV
    return False


def _is_root(proc: Path, pid: int) -> bool:
    match = re.search(r"^Uid:\s+0\s+0\s", _text(proc / str(pid) / "status"), re.MULTILINE)
    return match is not None


def _parent(proc: Path, pid: int) -> int:
    match = re.search(r"^PPid:\s+(\d+)", _text(proc / str(pid) / "status"), re.MULTILINE)
    return int(match.group(1)) if match else 0


def _comm(proc: Path, pid: int) -> str:
    return _text(proc / str(pid) / "comm").strip() or "?"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


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
    """Drivers on top of the disk or a partition (dm, md, bcache), loop devices, and LUNs that LIO serves from it."""
    block = sys / "block" / (disk.node or "-")
    for holders_of in (block, *block.glob(f"{disk.node}*")):
        yield from (f"device {name.name}" for name in sorted(holders_of.glob("holders/*")))
    for backing in sys.glob("block/loop*/loop/backing_file"):
        if _is_node(_text(backing).strip(), disk):
            yield f"device {backing.parent.parent.name}"
    for backing in sys.glob("kernel/config/target/core/*/*/udev_path"):
        if _is_node(_text(backing).strip(), disk):
            yield f"LIO backstore {backing.parent.name}"


def _mounts(sought: list[Sought], proc: Path) -> Iterator[tuple[int, str]]:
    """Mounts of every mount namespace, each namespace once (proc(5), mountinfo: field 3 is major:minor)."""
    seen = set()
    for pid in _pids(proc):
        try:
            namespace = (proc / str(pid) / "ns/mnt").readlink()
            if namespace in seen:
                continue
            lines = (proc / str(pid) / "mountinfo").read_text(errors="replace").splitlines()
        except OSError:
            continue  # ended meanwhile; or refused: then its files were refused as well
        seen.add(namespace)
        for fields in (line.split() for line in lines):
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
