"""The mount table: reading it waits for no server (fs/proc_namespace.c), and a change of it is told."""

import asyncio
import logging
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.host import sysfs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of mountinfo (proc(5)): `device` is major:minor, `options` those of the mount and of the file system."""

    id: int
    device: str
    point: str
    kind: str
    source: str
    options: str


def at(proc: Path | str, point: str) -> tuple[Entry, ...]:
    """What is mounted at a place in this process's namespace, the uppermost last."""
    return tuple(entry for entry in _entries(proc) if entry.point == point)


def of(proc: Path | str, source: str) -> tuple[Entry, ...]:
    """Every mount of a source in this process's namespace, wherever it is."""
    return tuple(entry for entry in _entries(proc) if entry.source == source)


def _entries(proc: Path | str) -> list[Entry]:
    found = (_entry(line) for line in (sysfs.text(f"{proc}/self/mountinfo") or "").split("\n"))
    return [entry for entry in found if entry]


def _entry(line: str) -> Entry | None:
    fields = line.split(" ")
    if "-" not in fields[6:]:
        return None
    tail = fields[fields.index("-", 6) + 1 :]
    if len(tail) < 3 or not fields[0].isdigit():
        return None
    options = dict.fromkeys(f"{fields[5]},{tail[2]}".split(","))
    return Entry(int(fields[0]), fields[2], _plain(fields[4]), tail[0], _plain(tail[1]), ",".join(options))


def _plain(text: str) -> str:
    """Without the octal escapes of blanks and backslashes."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, character)
    return text


class MountEvents:
    """Tells of every change of the mount table: poll(2) of mountinfo says so by POLLPRI, which no event loop asks for.

    To be made on the running loop. Where the table cannot be polled, nothing is told.
    """

    def __init__(self, proc: Path, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._file: int | None = None
        try:
            self._file = os.open(proc / "self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._epoll.register(self._file, select.EPOLLPRI | select.EPOLLET)
            self._loop.add_reader(self._epoll, self._read)
        except OSError as error:
            log.warning("the mount table tells of no changes (%s): they are noticed by the slow tick only", error)

    def _read(self) -> None:
        if self._epoll.poll(0):
            self._changed()

    def close(self) -> None:
        """Stop listening."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll)
            self._epoll.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None
