"""Room that is kept for the way out: on a full disk everything can still be detached, and nothing is attached.

A file of some size lies beside a ledger. When the disk is full it is given up, piece by piece, and what it took is for
the commits that take things down; it is made whole again as soon as there is space.
"""

import os
from contextlib import suppress
from pathlib import Path

RESERVE = 2 << 20
"""Bytes: more than the write-ahead log ever takes (`agent.store`), and so many commits more."""
PIECE = 256 << 10
"""Bytes: so much is given up at a time, since somebody else may take it first."""
LEAST = 512 << 10
"""Bytes: with fewer than these free, and the reserve still there, nothing new is begun."""


class Room:
    """The reserve of the ledger at `path`."""

    def __init__(self, path: Path) -> None:
        self._ledger = path
        self._path = path.with_name(f"{path.name}.reserve")
        self._kept = False
        self.keep()

    def keep(self) -> None:
        """Take the room, where it is not taken and there is twice as much."""
        if self._kept or (self._size() < RESERVE and self._free() < 2 * RESERVE):
            return
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE)
            finally:
                os.close(fd)
            self._kept = True
        except OSError:
            self._kept = False

    def give_up(self) -> bool:
        """Give a piece of the room to whoever needs it now; whether there was any left."""
        size, self._kept = self._size(), False
        try:
            if size:
                os.truncate(self._path, max(size - PIECE, 0))
        except OSError:
            return False
        return size > 0

    def ailing(self) -> str:
        """What is wrong with the ledger's disk, in words; empty when nothing is."""
        with suppress(OSError):
            if os.statvfs(self._ledger.parent).f_flag & os.ST_RDONLY:
                return f"the file system of {self._ledger} is read-only"
        if not self._kept or self._free() < LEAST:
            return f"the disk of {self._ledger} is full: what is attached can be detached, and nothing is attached"
        return ""

    def _size(self) -> int:
        try:
            return self._path.lstat().st_size
        except OSError:
            return 0

    def _free(self) -> int:
        try:
            found = os.statvfs(self._ledger.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize
