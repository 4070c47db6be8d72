"""What udev is told of disks that have proved themselves: small files that systemd/10-cdmi-attach.rules reads.

One for each disk, named by its address and its sequence number (diskseq, Linux 5.15), so that it counts for that very
disk and not for the next one at the same address. What udev is told nothing of gets no link of a logical unit, and no
name by which multipathd would take it into a map: what a disk said to the kernel when it was found is no proof, and of
two disks that say the same udev gives the link to the newcomer (attach.md, case 96). All links that udev makes go with
their disk; so none of ours may lead to a kernel name that udev does not keep (case 95).
"""

import re
from collections.abc import Iterator
from pathlib import Path

from agent.host import announced, dm, sysfs
from agent.host.roots import Roots

RULE = "10-cdmi-attach.rules"
_LINK = "CDMI_ATTACH_LINK"


def put_link(roots: Roots, disk: sysfs.Disk, wwid: str) -> None:
    """The disk is the one that the link of a logical unit leads to."""
    _write(_of_disk(roots, disk), f"{_LINK}={wwid}\n")


def put_path(roots: Roots, disk: sysfs.Disk, wwid: str) -> None:
    """The disk is a path of the map of a logical unit, and multipathd may know which."""
    _write(_of_disk(roots, disk), announced.words_of(wwid))


def put_map(roots: Roots, uuid: str, wwid: str) -> None:
    """A map that is somebody else's (by its dm uuid) is the one that the link of a logical unit leads to."""
    _write(roots.proofs / uuid, f"{_LINK}={wwid}\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _of_disk(roots: Roots, disk: sysfs.Disk) -> Path:
    return roots.proofs / f"{disk.hctl}@{sysfs.text(f'{disk.place}/block/{disk.node}/diskseq') or ''}"


def drop(roots: Roots, hctl: str) -> None:
    """The disk at an address is a path of nothing, and nothing leads to it (any more)."""
    for path in roots.proofs.glob(f"{hctl}@*"):
        path.unlink(missing_ok=True)


def drop_links(roots: Roots, wwid: str, *, but: sysfs.Disk | None = None) -> tuple[str, ...]:
    """No link of that logical unit leads anywhere, `but` to this disk. Returns whither they led: addresses, uuids."""
    kept = _of_disk(roots, but) if but else None
    found = [path for path in _all(roots) if path != kept and _says_link(path, wwid)]
    for path in found:
        path.unlink(missing_ok=True)
    return tuple(path.name.partition("@")[0] for path in found)


def drop_stale(roots: Roots) -> None:
    """Forget the disks that are gone; of maps somebody else's word is kept, since they come back as the same."""
    for path in _all(roots):
        disk = sysfs.disk(roots, path.name.partition("@")[0]) if "@" in path.name else None
        if "@" in path.name and (disk is None or _of_disk(roots, disk) != path):
            path.unlink(missing_ok=True)


def _all(roots: Roots) -> Iterator[Path]:
    yield from (roots.proofs / name for name in sysfs.entries(roots.proofs) if not name.startswith("."))


def _says_link(path: Path, wwid: str) -> bool:
    return f"{_LINK}={wwid}" in (sysfs.text(path) or "").splitlines()


def is_linked(roots: Roots, node: str, wwid: str) -> bool:
    """Whether udev was told that the link of a logical unit leads to a disk (sda) or a map (dm-0)."""
    if found := dm.at(roots, node):
        ours = found.uuid == dm.uuid_of(wwid) and announced.is_ours(roots, wwid)
        return ours or _says_link(roots.proofs / found.uuid, wwid)
    hctl = dm.hctl_of(roots, node)
    disk = sysfs.disk(roots, hctl) if hctl else None
    return disk is not None and disk.node == node and _says_link(_of_disk(roots, disk), wwid)


def keeps_link(roots: Roots, number: str, wwid: str) -> bool:
    """Whether udev has taken notice of the link: then it goes with the device (`number` is its major:minor)."""
    return f"S:cdmi-attach/{wwid}" in _entry(roots, number)


def knows_path(roots: Roots, number: str, wwid: str) -> bool:
    """Whether udev has taken notice that a disk is a path of the map, so that multipathd can read it."""
    return f"E:CDMI_ATTACH_MAP={wwid}" in _entry(roots, number)


def _entry(roots: Roots, number: str) -> list[str]:
    return (sysfs.text(f"{roots.run}/udev/data/b{number}") or "").splitlines()


def has_udev(roots: Roots) -> bool:
    """Whether udev runs here."""
    return Path(roots.run, "udev/control").exists()


def has_rule(roots: Roots) -> bool:
    """Whether udev runs here with our rule, of a version that reads proofs: then it is sure to take notice."""
    if not has_udev(roots):
        return False
    if any(Path(place, "udev/rules.d", RULE).exists() for place in (roots.etc, roots.run)):
        return False  # somebody else's stands in its place
    places = (roots.modules.parent, roots.modules.parent.parent / "usr/lib")
    return any("/run/cdmi-attach/proved/" in (sysfs.text(place / "udev/rules.d" / RULE) or "") for place in places)


def take_over(roots: Roots) -> None:
    """Write down what an earlier version, which knew of no proofs, has handed out: once, at the first start.

    Without it the next event of such a disk would take its link, and multipathd would take it out of its map.
    """
    if roots.proofs.exists() or not roots.claims.exists():
        return
    roots.proofs.mkdir(mode=0o755, parents=True, exist_ok=True)
    links = [roots.devices / name for name in sysfs.entries(roots.devices) if re.match(r"(?:naa|eui)\.", name)]
    for hctl in sysfs.entries(roots.claims):
        disk = sysfs.disk(roots, hctl)
        linked = next((link.name for link in links if disk and sysfs.link(link) == f"../{disk.node}"), None)
        if disk and linked:
            put_link(roots, disk, linked)
    for wwid in (name for name in sysfs.entries(roots.announced) if not name.startswith((".", "mpath-"))):
        found = dm.find(roots, [wwid])
        for hctl in (dm.hctl_of(roots, node) for node in (found.slaves if found else ())):
            disk = sysfs.disk(roots, hctl) if hctl else None
            if disk and (roots.claims / hctl).exists():
                put_path(roots, disk, wwid)
