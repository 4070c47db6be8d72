"""What the kernel serves to others: LIO's backstores and NVMe's namespaces, by the names that they were made of.

Both keep open what they were given, and tell it by name only: of a link, so that the name has to be followed, and may
lead nowhere by now. Runs in workers.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.host.sysfs import found

MOST_LINKS = 40
OURS = "cdmi-attach-"
"""How the backstores begin that we have LIO make of files."""
_REMOTE = re.compile(r"nfs4?|cifs|smb3|ceph|9p|fuse(\..*)?|afs|lustre|glusterfs")
_FILE = re.compile(r"\bFile: (\S+)")
_NUMBER = re.compile(r"\bMajor: (\d+) Minor: (\d+)")


def backstores(sys: Path) -> Iterator[tuple[str, set[str], str]]:
    """LIO's: the name of each, what it was made of, and the number (8:0) of its block device where it tells that.

    `udev_path` is what whoever made it says; `info` what the kernel opened (show_configfs_dev_params in
    drivers/target/target_core_iblock.c and target_core_file.c). A name in /proc was a descriptor of whoever made it, as
    of our own disks made of files: here it would lead to whatever this process has open under that number.
    """
    for backstore in found(sys, "kernel/config/target/core/*/*/udev_path"):
        info = _text(backstore.parent / "info")
        file, number = _FILE.search(info), _NUMBER.search(info)
        names = {_text(backstore).strip(), file[1] if file else ""} - {""}
        names = {name for name in names if not name.startswith("/proc/")}
        yield backstore.parent.name, names, f"{number[1]}:{number[2]}" if number else ""


def namespaces(sys: Path) -> Iterator[tuple[str, str, bool]]:
    """Those of the kernel's NVMe target: name, what each is made of, and whether it has that open."""
    for device in found(sys, "kernel/config/nvmet/subsystems/*/namespaces/*/device_path"):
        enabled = _text(device.with_name("enable")).strip() == "1"
        yield f"{device.parents[2].name}/{device.parent.name}", _text(device).strip(), enabled


def remote_places(proc: str) -> list[str]:
    """Where file systems of servers are mounted: nothing is followed into these, since it may wait for ever."""
    lines = (line.split(" ") for line in _text(Path(proc, "self/mountinfo")).split("\n") if line)
    return [fields[4] for fields in lines if _REMOTE.fullmatch(fields[fields.index("-") + 1])]


def resolved(name: str, remote: list[str]) -> str:
    """Where a name leads to; of a link that leads nowhere, as far as it goes."""
    for _ in range(MOST_LINKS):
        if not name.startswith("/") or _is_below(name, remote):
            break
        folder, last = os.path.split(name)
        name = os.path.join(os.path.realpath(folder), last)  # noqa: PTH118  text: it may be below a dead server
        if _is_below(name, remote):
            break
        try:
            name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))  # noqa: PTH115,PTH118,PTH120
        except OSError:
            break
    return name


def _is_below(name: str, places: list[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
