"""Who uses a file that was handed out itself: processes, and what the kernel makes of files. Runs in workers."""

from pathlib import Path

from agent.host import sysfs
from agent.host.holders import file_holders


def file_users(device: str, inode: int, place: str, *, proc: str, sys: str, helper: int, zygote: int) -> list[str]:
    """Who has a file open: by its number on its file system (`device`, major:minor), asking no server.

    `place` is its path, by which loop devices and LIO tell what they are made of.
    """
    used = file_holders(device, inode, proc=proc, helper=helper, zygote=zygote) if inode else _by_name(place, proc)
    return [*used, *(name for name in _made_of(place, Path(sys)))]


def _by_name(place: str, proc: str) -> list[str]:
    """Where the server does not tell the file's number: by the names that processes opened it by."""
    found = []
    for pid in filter(str.isdigit, sysfs.entries(proc)):
        names = (sysfs.link(f"{proc}/{pid}/fd/{fd}") for fd in sysfs.entries(f"{proc}/{pid}/fd"))
        if place in names:
            found.append(f"{sysfs.text(f'{proc}/{pid}/comm') or '?'} (pid {pid})")
    return found


def _made_of(place: str, sys: Path) -> list[str]:
    loops = [file.parent.parent for file in sys.glob("block/loop*/loop/backing_file") if sysfs.text(file) == place]
    disks = [file.parent for file in sys.glob("kernel/config/target/core/*/*/udev_path") if sysfs.text(file) == place]
    return [f"device {loop.name}" for loop in loops] + [f"LIO backstore {disk.name}" for disk in disks]
