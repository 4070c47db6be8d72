"""A file that is being read from a server: kept beside its place until it is whole and proved, then put there at once.

The name of what is unfinished says of which content it is a part, so that a later run can take it up.
"""

import contextlib
import os
import re
import stat
from pathlib import Path

from agent.cli import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 64 << 10
"""Blocks of zeros of this size, by their place, are left out: the file has a hole there."""
ZEROS = bytes(BLOCK)
HINT = "give another file, or mend that"


class Partial:
    """The unfinished file; `at` is how much of it is there. Everything raises `Failure`."""

    def __init__(self, target: str) -> None:
        self.target = Path(target).resolve()
        self.at = 0
        self.tag = ""
        self._folder, self._name = self.target.parent, self.target.name
        self._path = Path()
        self._fd = -1
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(self.target.stat().st_mode):
                raise client.Failure(client.FAILED, f"{target} is not a file", "write there by: cdmi-attach cat ... >")
        for name in self._left():
            self._open(name[len(self._name) + 2 : -len(".part")])
            break

    def begin(self, tag: str) -> None:
        """Start from nothing, of the content with this tag."""
        self.discard()
        for name in self._left():
            _guarded((self._folder / name).unlink)
        self._open(tag)

    def digest(self, name: str) -> "Any":
        """The hash of what is there already, to be gone on with."""
        import hashlib

        digest = hashlib.new(name, usedforsecurity=False)
        _guarded(os.ftruncate, self._fd, self.at)
        for place in range(0, self.at, 1 << 20):
            digest.update(_guarded(os.pread, self._fd, min(1 << 20, self.at - place), place))
        return digest

    def write(self, piece: bytes) -> None:
        """Append, without the blocks that are all zeros."""
        whole, begin, place = memoryview(piece), 0, 0
        while place < len(piece):
            end = min(len(piece), place + BLOCK - (self.at + place) % BLOCK)
            if not piece[place] and piece[place:end] == ZEROS[: end - place]:
                self._put(whole[begin:place], self.at + begin)
                begin = end
            place = end
        self._put(whole[begin:], self.at + begin)
        self.at += len(piece)

    def finish(self) -> None:
        """Put it in its place, for good."""
        mode = 0o666 & ~_umask()
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(self.target.stat().st_mode)
        _guarded(os.ftruncate, self._fd, self.at)
        _guarded(os.fchmod, self._fd, mode)
        _guarded(os.fsync, self._fd)
        _guarded(self._path.rename, self.target)
        folder = _guarded(os.open, self._folder, os.O_RDONLY | os.O_DIRECTORY)
        _guarded(os.fsync, folder)
        os.close(folder)
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        """Leave what is there to be taken up; what cannot be (it has no tag) goes."""
        if self._fd >= 0 and (not self.tag or not self.at):
            self.discard()
        elif self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.at)  # holes at the end count
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Leave nothing."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
        self._fd, self.at = -1, 0

    def _left(self) -> "list[str]":
        """What earlier runs have left unfinished."""
        name = re.compile(rf"\.{re.escape(self._name)}\.[0-9a-f]{{32}}\.part")
        return sorted(one for one in _guarded(os.listdir, self._folder) if name.fullmatch(one))

    def _open(self, tag: str) -> None:
        """Open the unfinished file of this tag, or make it; it is ours alone as long as it is open."""
        self.tag = tag
        self._path = self._folder / f".{self._name}.{tag or os.getpid()}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = _guarded(os.open, self._path, flags, 0o600)
        found = os.fstat(self._fd)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
        try:
            os.lockf(self._fd, os.F_TLOCK, 0)
            ours = ours and self._path.stat().st_ino == found.st_ino
        except OSError:
            ours = False
        if not ours:
            os.close(self._fd)
            self._fd = -1
            hint = "wait for it, or remove that file"
            raise client.Failure(client.CONFLICT, f"{self._path} belongs to another run that writes there", hint)
        self.at = found.st_size

    def _put(self, data: memoryview, place: int) -> None:
        while data:
            written = _guarded(os.pwrite, self._fd, data, place)
            data, place = data[written:], place + written


def _guarded(call: "Any", *args: "Any") -> "Any":
    try:
        return call(*args)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise client.Failure(client.FAILED, f"{where}{error.strerror}", HINT) from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
