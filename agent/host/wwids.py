"""The file of the LUNs that multipath knows, /etc/multipath/wwids: one line, /WWID/, for each; multipathd adds to it.

libmultipath/wwids.c. A line that is struck off goes for good: `multipath -w` only comments it out, so that the file of
a host on which LUNs come and go would grow for ever.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.host import sysfs
from agent.host.roots import Roots

LOCK_S = 4  # as libmultipath/file.c lock_file


def path_of(roots: Roots) -> Path:
    """The file, where it has its usual name."""
    return roots.etc / "multipath/wwids"


def has(roots: Roots, name: str) -> bool:
    """Whether a LUN (as multipath names it) is in the file."""
    return f"/{name}/" in (sysfs.text(path_of(roots)) or "").split("\n")


def strike_off(path: str, name: str) -> None:
    """Remove a LUN's line, whether commented out or not; in a worker, since the file is locked by whoever writes it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        with _locked(fd):
            lines = os.pread(fd, os.fstat(fd).st_size, 0).splitlines(keepends=True)
            kept = b"".join(line for line in lines if line.strip()[1:] != f"{name}/".encode())
            os.pwrite(fd, kept, 0)
            os.ftruncate(fd, len(kept))
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Hold the lock that multipath's tools take: of the process (fcntl), so that closing the file lets it go.

    Raises `TimeoutError` when it is not to be had.
    """

    def late(*_: Any) -> None:
        raise TimeoutError("/etc/multipath/wwids is locked")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LOCK_S)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        signal.alarm(0)
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
