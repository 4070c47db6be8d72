"""What udev is told of multipath maps before it sees their paths: small files that systemd/10-cdmi-attach.rules reads.

Two for each logical unit. One has the name that the kernel gives the unit (naa.6001...): the disk with that very name
is a path of a map, and multipathd is told which unit it is. The other has the dm uuid of the map: it is ours to link,
and a guest's. There is none for a map of somebody else's: systemd would unmount what is on it (SYSTEMD_READY).
"""

import re
from pathlib import Path

from agent.host import dm, sysfs
from agent.host.roots import Roots


def put(roots: Roots, wwid: str, owner: tuple[int, int] | None = None) -> None:
    """Announce that a logical unit is to have a map; `owner` (uid and gid) is whom udev gives its node to."""
    put_path(roots, wwid)
    given = f"CDMI_ATTACH_USER={owner[0]}\nCDMI_ATTACH_GROUP={owner[1]}\n" if owner else ""
    _write(_of_map(roots, wwid), f"CDMI_ATTACH_WWID={wwid}\n{given}")


def put_path(roots: Roots, wwid: str) -> None:
    """Announce no more than that its disks are paths."""
    name = dm.multipath_name(wwid)
    _write(_of_path(roots, wwid), f"CDMI_ATTACH_MAP={wwid}\nID_BUS=scsi\nID_SERIAL={name}\nID_WWN=0x{name[1:17]}\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def has(roots: Roots, wwid: str) -> bool:
    """Whether a map of that logical unit is announced, be it ours or somebody else's."""
    return _of_path(roots, wwid).exists()


def is_ours(roots: Roots, wwid: str) -> bool:
    """Whether udev was told of the map itself."""
    return _of_map(roots, wwid).exists()


def is_owned(roots: Roots, wwid: str, owner: tuple[int, int]) -> bool:
    """Whether udev was told that its map belongs to them."""
    text = sysfs.text(_of_map(roots, wwid)) or ""
    return re.findall(r"^CDMI_ATTACH_(?:USER|GROUP)=(\d+)$", text, re.MULTILINE) == [str(owner[0]), str(owner[1])]


def drop(roots: Roots, wwid: str) -> None:
    """Take it back."""
    _of_map(roots, wwid).unlink(missing_ok=True)
    _of_path(roots, wwid).unlink(missing_ok=True)


def _of_path(roots: Roots, wwid: str) -> Path:
    return roots.announced / wwid


def _of_map(roots: Roots, wwid: str) -> Path:
    return roots.announced / dm.uuid_of(wwid)
