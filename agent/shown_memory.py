"""Memory that one process shows another, which writes into it (memfd_create(2)): found by its number there."""

import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from attachers.problems import Code, Problem

_PREFIX = "/memfd:"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of ours: its descriptor, its inode (numbers of descriptors come again, these do not), what is in it."""

    fd: int
    inode: int
    view: memoryview


@contextmanager
def made(size: int) -> Iterator[Memory]:
    """Memory of `size` bytes, for good. Whoever is late keeps its own hold of it, and writes where nobody looks."""
    fd = os.memfd_create("cdmi-attach", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            yield Memory(fd, os.fstat(fd).st_ino, view)
    finally:
        os.close(fd)


@contextmanager
def shown(pid: int, fd: int, inode: int, count: int) -> Iterator[mmap.mmap]:
    """The first `count` bytes of descriptor `fd` of process `pid`, to be written.

    Raises `Problem`: unavailable where it is gone, or another one has its number; forbidden unless it is memory, of
    that size for good.

    Nothing is opened before it is known to be memory: opening a device or a pipe may do something.
    """
    place = f"/proc/{pid}/fd/{fd}"
    try:
        seen = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise Problem(Code.UNAVAILABLE, f"{place}: {error.strerror}", hint="ask again") from None
    try:
        found = os.fstat(seen)
        if not (stat.S_ISREG(found.st_mode) and str(Path(f"/proc/self/fd/{seen}").readlink()).startswith(_PREFIX)):
            raise _refused(place, "is no memory")
        if found.st_ino != inode:
            raise Problem(Code.UNAVAILABLE, f"{place} is another one by now", hint="ask again")
        memory = os.open(f"/proc/self/fd/{seen}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(seen)
    try:
        if found.st_size < count or not fcntl.fcntl(memory, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            raise _refused(place, f"is not {count} bytes for good")
        with mmap.mmap(memory, count) as mapped:
            yield mapped
    finally:
        os.close(memory)


def _refused(place: str, why: str) -> Problem:
    return Problem(Code.FORBIDDEN, f"{place} {why}", hint="show a sealed memfd")
