"""What is done to a multipath map's block device; run in workers, since each of these may sleep in the kernel."""

import fcntl
import mmap
import os
import struct
from pathlib import Path

from agent.host import blocks
from attachers.problems import Code, Problem

READ_BYTES = 4096  # a multiple of every block size that a disk has


def prepare_map(node: str, number: str, wwid: str, owner: list[int] | None, read_only: bool | None) -> None:
    """Prove a map by INQUIRY and one direct read, down a path of its own choice (attach.md, case 42); make it ready.

    The rest is as in `blocks.prepare`. Raises `Problem` wrong-device, unavailable.
    """
    with blocks.proved(node, number, wwid) as fd:
        _read(node, number)
        if owner is not None:
            os.fchown(fd, *owner)
        if read_only is not None:
            fcntl.ioctl(fd, blocks.BLKROSET, struct.pack("i", read_only))


def _read(node: str, number: str) -> None:
    """One read that no cache answers."""
    fd = os.open(node, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        blocks.insist_on_device(fd, node, number)
        with mmap.mmap(-1, READ_BYTES) as aligned:
            if os.preadv(fd, [aligned], 0) != READ_BYTES:
                raise Problem(Code.UNAVAILABLE, f"{node} gives less than {READ_BYTES} bytes")
    finally:
        os.close(fd)


def flush_map(node: str, number: str, fate: str, lost: bool = False) -> None:
    """Write out what the host caches of a map, and forget the cache; `fate` as in `blocks.write_out`.

    Raises `Problem` dirty.
    """
    fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        blocks.insist_on_device(fd, node, number)
        blocks.write_out(fd, node, Path(fate), lost=lost)
    finally:
        os.close(fd)
