"""Reading a part of a published logical unit: what is asked, and what was read. Part of `attachers.sights`."""

from dataclasses import dataclass

from attachers import checks

BLOCK = 4096
"""Bytes: a multiple of every block size that a disk has, and of this are all parts that are read."""
MOST_AT_ONCE = 16 << 20


@dataclass(frozen=True, slots=True)
class BlocksQuery:
    """Read a part of a logical unit that is published here, past every cache, into memory that the asker shows.

    `first` and `count` are bytes, of whole blocks (`BLOCK`). The memory is descriptor `fd` (memfd_create(2), sealed
    against shrinking) of process `pid`, and has this `inode`; what is read begins at its beginning.
    """

    wwid: str
    first: int
    count: int
    pid: int
    fd: int
    inode: int

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)
        for name, value, most in (("first", self.first, 1 << 62), ("count", self.count, MOST_AT_ONCE)):
            if not 0 <= value <= most or value % BLOCK:
                raise checks.refuse(name, value, f"a multiple of {BLOCK} up to {most}")
        for name, value, most in (("pid", self.pid, 1 << 31), ("fd", self.fd, 1 << 31), ("inode", self.inode, 1 << 64)):
            if not 0 <= value < most:
                raise checks.refuse(name, value, f"a number below {most}")


@dataclass(frozen=True, slots=True)
class BlocksSight:
    """How many bytes were read: fewer than were asked for where the logical unit ends."""

    count: int
