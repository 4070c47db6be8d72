"""Devices that a process has mapped into its memory, though it may have closed every descriptor. Runs in workers."""

import os
from collections.abc import Iterator

FOLDER = b" /dev/"
_NO_DEVICE = (b"/dev/shm/", b"/dev/hugepages", b"/dev/zero (deleted)")


def mapped(process: str) -> Iterator[str]:
    """The links (/proc/N/map_files/...) to what a process has mapped of a /dev, its own or ours.

    Raises `OSError` where it cannot be looked into. A thread of the kernel, or a process that has ended, has none.
    proc(5); fs/proc/task_mmu.c show_map_vma, fs/proc/base.c proc_map_files_readdir.
    """
    fd = os.open(f"{process}/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    finally:
        os.close(fd)
    if FOLDER not in content:
        return
    for line in content.split(b"\n"):
        name = line[line.find(b" /") + 1 :]
        if FOLDER in line and not name.startswith(_NO_DEVICE):
            first, last = (int(half, 16) for half in line.partition(b" ")[0].split(b"-"))
            yield f"{process}/map_files/{first:x}-{last:x}"
