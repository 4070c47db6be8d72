"""Our links and claims: small files in /run and /dev, made so that each is there whole or not at all."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from agent.host import fc_sysfs, proofs, sysfs
from agent.host.roots import Roots
from attachers import checks
from attachers.steps import DEVICES


def put(link: Path, to: str) -> None:
    """Make a symbolic link, or change it, at once."""
    link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if _text(link) == to:
        return
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(to)
    new.replace(link)


def _text(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None


DISKSEQ = "CDMI_ATTACH_DISKSEQ"
"""What our udev rule calls the sequence number of a disk."""
UNIT = "CDMI_ATTACH_UNIT"
"""What a claim calls the logical unit that is expected."""
NEXUS = "CDMI_ATTACH_NEXUS"
"""What a claim calls the remote and the local FC port of its address."""


def put_device(roots: Roots, wwid: str, hctl: str, node: str) -> None:
    """The links of a disk of ours, with the very text that udev gives them, so that udev adopts them.

    Only where it is sure to (see `linux_links`): a link that udev does not know of stays when the disk goes, and leads
    to whatever is called sda next.
    """
    put(roots.devices / "path" / hctl, f"../../{node}")
    put(roots.devices / wwid, f"../{node}")


def by_id(roots: Roots, node: str, kinds: tuple[str, ...]) -> str | None:
    """A link that the host's own rules have made to a disk or map by what it is, seen from ours; None without one."""
    place, wanted = roots.dev / "disk/by-id", os.path.realpath(roots.dev / node)
    names = [name for name in sysfs.entries(place) if name.startswith(kinds)]
    return next((f"../disk/by-id/{name}" for name in names if os.path.realpath(place / name) == wanted), None)


def put_map(roots: Roots, wwid: str, node: str) -> None:
    """The link of a logical unit that has a map (dm-0), as udev gives it."""
    put(roots.devices / wwid, f"../{node}")


def put_name(roots: Roots, name: str, wwid: str) -> None:
    """The link of an attachment, which is what callers open."""
    put(roots.links / name, f"{DEVICES}/{wwid}")


def drop_name(roots: Roots, name: str) -> None:
    """Take the link of an attachment away."""
    (roots.links / name).unlink(missing_ok=True)


def drop_device(roots: Roots, wwid: str) -> None:
    """Take the link of a logical unit away."""
    (roots.devices / wwid).unlink(missing_ok=True)


def drop_path(roots: Roots, hctl: str) -> None:
    """Take what is there for a SCSI address: its claim, its proof and its link."""
    drop_claim(roots, hctl)
    proofs.drop(roots, hctl)
    (roots.devices / "path" / hctl).unlink(missing_ok=True)


def of_name(roots: Roots, name: str) -> str | None:
    """What the link of an attachment points at."""
    return _text(roots.links / name)


def names_of(roots: Roots, wwid: str) -> frozenset[str]:
    """The attachments that a logical unit is published for."""
    try:
        found = (path for path in roots.links.iterdir() if not path.name.startswith("."))  # half made, by a crash
        return frozenset(path.name for path in found if _text(path) == f"{DEVICES}/{wwid}")
    except FileNotFoundError:
        return frozenset()


def of_device(roots: Roots, wwid: str) -> str | None:
    """The node that the link of a logical unit leads to, as /dev/sda."""
    target = _text(roots.devices / wwid)
    if target is None:
        return None
    node = os.path.relpath(os.path.realpath(roots.devices / target), os.path.realpath(roots.dev))
    return f"/dev/{node}"


def to_node(devices: Path, node: str) -> list[Path]:
    """All our links (in `Roots.devices`) to a node (sda): of its logical unit and of its path."""
    found = [*devices.glob("*.*"), *devices.glob("path/*")]
    return [link for link in found if re.fullmatch(rf"(?:\.\./)+{re.escape(node)}", _text(link) or "")]


# Claims: a file for each SCSI address that is ours to scan; systemd/10-cdmi-attach.rules looks for it.


def claim(
    roots: Roots,
    hctl: str,
    owner: tuple[int, int] | None = None,
    *,
    nexus: tuple[str, str] | None = None,
    unit: str | None = None,
) -> None:
    """Claim an address before it is scanned; `owner` (uid and gid) is whom udev gives its node to.

    `unit` is the logical unit that is expected there: nothing else at that address is handed out.
    `nexus` are the remote and the local FC port that the address is for: the disk comes back with them, so that its
    claim outlasts it. What an earlier claim said of the address is kept.
    """
    said = _claimed(roots, hctl)
    if owner:
        said |= {"CDMI_ATTACH_USER": str(owner[0]), "CDMI_ATTACH_GROUP": str(owner[1])}
    if unit:
        said[UNIT] = unit
    if nexus:
        said[NEXUS] = f"{nexus[0]}@{nexus[1]}"
    path = roots.claims / hctl
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{hctl}.new")
    new.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
    new.replace(path)


def _claimed(roots: Roots, hctl: str) -> dict[str, str]:
    lines = (sysfs.text(roots.claims / hctl) or "").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def expected_at(roots: Roots, hctl: str) -> str | None:
    """The logical unit that a claim was made for; None where it names none."""
    return _claimed(roots, hctl).get(UNIT)


def is_claimed(roots: Roots, hctl: str) -> bool:
    """Whether an address is claimed."""
    return (roots.claims / hctl).exists()


def drop_claim(roots: Roots, hctl: str) -> None:
    """Give up the claim of an address."""
    (roots.claims / hctl).unlink(missing_ok=True)


def drop_stale_claims(roots: Roots, keep: Collection[str] = ()) -> None:
    """Give up every claim without a device but `keep`: SCSI host numbers are used again, by disks of anybody.

    That of an FC disk stays for as long as that number still is the local port's that it came through, and that of a
    disk made of a file for as long as its host is LIO's: it is made for that disk, which comes a moment later.
    """
    proofs.drop_stale(roots)
    for name in sysfs.entries(roots.claims):
        there = (roots.sys / "class/scsi_device" / name).exists()
        if name not in keep and not there and not _may_come_back(roots, name):
            (roots.claims / name).unlink(missing_ok=True)


def _may_come_back(roots: Roots, hctl: str) -> bool:
    if sysfs.text(roots.sys / f"class/scsi_host/host{hctl.partition(':')[0]}/proc_name") == "tcm_loopback":
        return True
    nexus = _claimed(roots, hctl).get(NEXUS, "")
    return bool(nexus) and fc_sysfs.local(roots, hctl) == nexus.partition("@")[2]


def drop_claims_of(roots: Roots, targets: Collection[str], lun: int) -> None:
    """Give up the claims of a LUN behind FC ports, wherever it was."""
    for name in sysfs.entries(roots.claims):
        nexus = _claimed(roots, name).get(NEXUS, "")
        if nexus.partition("@")[0] in targets and checks.lun_of(name) == lun:
            (roots.claims / name).unlink(missing_ok=True)


def is_probed(roots: Roots, disk: sysfs.Disk) -> bool:
    """Whether udev has finished with a disk: its entry is there, and is this disk's.

    Our rule writes the kernel's sequence number of the disk (diskseq, Linux 5.15) into the entry; a number such as 8:0
    is used again, and the entry of the disk before may still be there. Without that number the whole queue has to be
    empty. True where there is no udev. src/udev/udev-manager.c (/run/udev/queue), sd-device (db entry b8:0).
    """
    udev = f"{roots.run}/udev"
    if not Path(udev, "control").exists():
        return True
    entry = sysfs.text(f"{udev}/data/b{disk.number}")
    if entry is None:
        return False
    sequence = sysfs.text(f"{disk.place}/block/{disk.node}/diskseq")
    told = f"E:{DISKSEQ}=" in entry and sequence is not None
    return f"E:{DISKSEQ}={sequence}" in entry.splitlines() if told else not Path(udev, "queue").exists()
