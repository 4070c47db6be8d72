"""What every block of a disk has to hold, and who writes it: for soaks that take a disk away and bring it back.

Each write carries a number that is higher than all before it, and that no other disk has; so what is read back tells a
lost write, an old block and another disk apart.
"""

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.lab.inside_writer import BLOCK, FIRST, HEAD, block_of

CHUNK = 1 << 20
OWNER = 40
"""A number's bits above these tell the disk."""
ZERO = bytes(CHUNK)


@dataclass(eq=False)
class Blocks:
    """The last write to each block of disk number `owner` that was flushed; after it only a later one may stand there.

    `number` is the highest number that was given out; who goes on after a loss begins with one above all that may have
    been written. The first `FIRST` blocks are left alone.
    """

    owner: int
    number: int = 0
    flushed: dict[int, int] = field(default_factory=dict)

    def write(self, path: str, places: Iterable[int]) -> dict[int, int]:
        """Write these blocks and flush them. Returns the number in each; raises OSError, and then nothing counts."""
        written = {}
        disk = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, BLOCK) as buffer:
                for place in places:
                    self.number += 1
                    written[place] = (self.owner << OWNER) + self.number
                    buffer[:] = block_of(place, written[place])
                    os.pwritev(disk, [buffer], place * BLOCK)
            os.fsync(disk)
        finally:
            os.close(disk)
        self.flushed |= written
        return written

    def wrong(self, path: str) -> list[str]:
        """Read the whole disk, past every cache, and say of each block that is not what it has to be what is there."""
        found = []
        disk = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, CHUNK) as buffer:
                size = os.lseek(disk, 0, os.SEEK_END)
                for start in range(0, size, CHUNK):
                    count = os.preadv(disk, [buffer], start)
                    if buffer[:count] != ZERO[:count] or any(
                        place in self.flushed for place in range(start // BLOCK, (start + count) // BLOCK)
                    ):
                        found += self.wrong_in(bytes(buffer[:count]), start // BLOCK)
        finally:
            os.close(disk)
        return found

    def wrong_in(self, data: bytes, first: int) -> list[str]:
        """The same for these bytes, which begin with block `first` of the disk."""
        blocks = (
            (first + at // BLOCK, data[at : at + BLOCK])
            for at in range(0, len(data), BLOCK)
            if first + at // BLOCK >= FIRST
        )
        return [f"block {place}: {why}" for place, block in blocks if (why := self._why(place, block))]

    def _why(self, place: int, block: bytes) -> str:
        """Why that is not what the block has to hold; empty when it is."""
        wanted = self.flushed.get(place, 0)
        _, number, _ = HEAD.unpack_from(block)
        if number == 0:
            written = "" if not any(block) else "neither zeros nor a block of ours"
            return f"it is empty, and write {wanted & ((1 << OWNER) - 1)} was flushed" if wanted else written
        if block != block_of(place, number):
            return f"torn, or of another place: it says write {number}"
        if number >> OWNER != self.owner:
            return f"it is of disk {number >> OWNER}"
        return "" if number >= wanted else f"{wanted - number} writes before the one that was flushed"
