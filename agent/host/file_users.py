"""Who uses a file in a mounted share: processes, and what the kernel makes of files. Runs in workers."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from agent.host import served, sysfs
from agent.host.holders import file_holders


def file_users(
    devices: list[str], inode: int, places: list[str], own: str, *, proc: str, sys: str, helper: int, zygote: int
) -> list[list[str]]:
    """Who has a file open, and who of them may write to it: by its number on its file system, asking no server.

    `devices` (major:minor) and `places` (its path) are those of every mount of the share on this host: by a path loop
    devices, LIO and NVMe tell what they are made of. `own` is the backstore that we have made of it, no user.
    """
    by_number = file_holders(devices, inode, proc=proc, helper=helper, zygote=zygote)
    used, written = by_number if inode else _by_name(places, proc)
    made = [*_made_of(places, Path(sys), own)]
    readers = {
        f"device {name}" for name in sysfs.entries(f"{sys}/block") if sysfs.text(f"{sys}/block/{name}/ro") == "1"
    }
    return [[*used, *made], [*written, *(name for name in made if name not in readers)]]


def _by_name(places: Collection[str | None], proc: str) -> tuple[list[str], list[str]]:
    """Where the server does not tell the file's number: by the names that processes opened it by."""
    used: dict[str, None] = {}
    written: dict[str, None] = {}
    for pid in filter(str.isdigit, sysfs.entries(proc)):
        links = [f"{proc}/{pid}/fd/{fd}" for fd in sysfs.entries(f"{proc}/{pid}/fd")]
        for link in (one for one in links if sysfs.link(one) in places):
            name = f"{sysfs.text(f'{proc}/{pid}/comm') or '?'} (pid {pid})"
            used[name] = None
            if _is_for_writing(link):
                written[name] = None
    return list(used), list(written)


def _is_for_writing(link: str) -> bool:
    try:
        return bool(os.lstat(link).st_mode & stat.S_IWUSR)
    except OSError:
        return False


def _made_of(places: Collection[str | None], sys: Path, own: str) -> list[str]:
    files = sysfs.found(sys, "block/loop*/loop/backing_file")
    loops = [file.parent.parent for file in files if sysfs.text(file) in places]
    disks = [name for name, made_of, _ in served.backstores(sys) if name != own and made_of & {*places}]
    spaces = [name for name, device, enabled in served.namespaces(sys) if enabled and device in places]
    return [
        *(f"device {loop.name}" for loop in loops),
        *(f"LIO backstore {name}" for name in disks),
        *(f"NVMe target namespace {name}" for name in spaces),
    ]
