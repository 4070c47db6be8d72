"""A small user of a disk, run in the guest: numbered, checksummed blocks by direct I/O; at the end they are read back.

`python3 -m tests.lab.inside_writer DISK` writes until SIGTERM, then prints {"written", "errors", "wrong", "longest_s"}.
"""

import json
import mmap
import os
import random
import signal
import struct
import sys
import time
import zlib

BLOCK = 4096
BLOCKS = 512
FIRST = 64  # the beginning of the disk is left alone
HEAD = struct.Struct("<QQI")


def block_of(place: int, number: int) -> bytes:
    """The content of a block: where it belongs, when it was written, and a checksum of all of it."""
    filling = random.Random(number).randbytes(BLOCK - HEAD.size)
    return HEAD.pack(place, number, zlib.crc32(filling)) + filling


def main() -> None:
    """Write, then look whether what is there is what was written last."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    disk = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    buffer = mmap.mmap(-1, BLOCK)
    last: dict[int, int] = {}
    errors, longest, number = 0, 0.0, 0
    while not stopped:
        number += 1
        place = FIRST + number % BLOCKS
        buffer[:] = block_of(place, number)
        began = time.monotonic()
        try:
            os.pwritev(disk, [buffer], place * BLOCK)
            last[place] = number
        except OSError as error:
            errors += 1
            print(error, file=sys.stderr, flush=True)
        longest = max(longest, time.monotonic() - began)
    wrong = sum(not is_right(disk, buffer, place, number) for place, number in last.items())
    print(json.dumps({"written": number, "errors": errors, "wrong": wrong, "longest_s": round(longest, 1)}), flush=True)


def is_right(disk: int, buffer: mmap.mmap, place: int, number: int) -> bool:
    """Whether a block has its last content."""
    os.preadv(disk, [buffer], place * BLOCK)
    return bytes(buffer) == block_of(place, number)


if __name__ == "__main__":
    main()
