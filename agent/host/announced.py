"""What is said of multipath maps before they are made: small files, one of which systemd/10-cdmi-attach.rules reads.

Two for each logical unit. One has its name (naa.6001...): it is to have a map, and each disk is one of its paths once
it has proved itself (`proofs`). The other has the dm uuid of the map: it is ours to link, and a guest's. There is none
for a map of somebody else's: systemd would unmount what is on it (SYSTEMD_READY).
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
    _write(_of_path(roots, wwid), words_of(wwid))


def words_of(wwid: str) -> str:
    """What udev is told of a disk that is a path of the map: by these multipathd knows which."""
    name = dm.multipath_name(wwid)
    return f"CDMI_ATTACH_MAP={wwid}\nID_BUS=scsi\nID_SERIAL={name}\nID_WWN=0x{name[1:17]}\n"


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
