"""Our links and claims: small files in /run and /dev, made so that each is there whole or not at all."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from agent.host import sysfs
from agent.host.roots import Roots
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


def put_device(roots: Roots, wwid: str, hctl: str, node: str) -> None:
    """The links of a disk, with the very text that udev gives them, so that udev adopts them."""
    put(roots.devices / "path" / hctl, f"../../{node}")
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


def claim(roots: Roots, hctl: str, owner: tuple[int, int] | None = None) -> None:
    """Claim an address before it is scanned; `owner` (uid and gid) is whom udev gives its node to."""
    path = roots.claims / hctl
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{hctl}.new")
    new.write_text(f"CDMI_ATTACH_USER={owner[0]}\nCDMI_ATTACH_GROUP={owner[1]}\n" if owner else "")
    new.replace(path)


def is_claimed(roots: Roots, hctl: str) -> bool:
    """Whether an address is claimed."""
    return (roots.claims / hctl).exists()


def drop_claim(roots: Roots, hctl: str) -> None:
    """Give up the claim of an address."""
    (roots.claims / hctl).unlink(missing_ok=True)


def drop_stale_claims(roots: Roots, keep: Collection[str] = ()) -> None:
    """Give up every claim without a device but `keep`: SCSI host numbers are used again, by disks of anybody."""
    for name in sysfs.entries(roots.claims):
        if name not in keep and not (roots.sys / "class/scsi_device" / name).exists():
            (roots.claims / name).unlink(missing_ok=True)


def is_probed(roots: Roots, number: str) -> bool:
    """Whether udev has finished with a block device (major:minor): its entry is there and the queue is empty.

    Also true where there is no udev. src/udev/udev-manager.c (/run/udev/queue), sd-device (db entry b8:0).
    """
    udev = roots.run / "udev"
    if not (udev / "control").exists():
        return True
    return (udev / "data" / f"b{number}").exists() and not (udev / "queue").exists()
