"""Disks and multipath maps that carry no I/O any more, whoever made them: read from sysfs, which asks no device."""

from pathlib import Path

from agent.host import sysfs
from agent.host.roots import Roots
from attachers.sights import Dead

RUNNING, DISK = "running", "0"
"""`state` and `type` of a SCSI device (drivers/scsi/scsi_sysfs.c)."""


def find(roots: Roots) -> tuple[Dead, ...]:
    """Disks whose kernel state is not `running`, and maps (dm uuid mpath-...) of which no path is."""
    return (*_disks(roots), *_maps(roots))


def _disks(roots: Roots) -> list[Dead]:
    found = []
    for hctl in sorted(sysfs.entries(roots.sys / "class/scsi_device")):
        device = roots.sys / "class/scsi_device" / hctl / "device"
        state = sysfs.text(device / "state") or ""
        if sysfs.text(device / "type") == DISK and state and state != RUNNING:
            node = next(iter(sysfs.entries(device / "block")), "")
            used = bool(sysfs.entries(device / "block" / node / "holders")) if node else False
            found.append(Dead("disk", f"/dev/{node}" if node else "", f"the kernel says {state}", hctl, used))
    return found


def _maps(roots: Roots) -> list[Dead]:
    found = []
    for name in sorted(one for one in sysfs.entries(roots.sys / "block") if one.startswith("dm-")):
        place = roots.sys / "block" / name
        if not (sysfs.text(place / "dm/uuid") or "").startswith("mpath-"):
            continue
        paths = sysfs.entries(place / "slaves")
        if not any(_runs(place / "slaves" / path) for path in paths):
            says = "none of its paths runs" if paths else "it has no path"
            found.append(Dead("map", f"/dev/{name}", says, used=bool(sysfs.entries(place / "holders"))))
    return found


def _runs(path: Path) -> bool:
    return sysfs.text(path / "device/state") in (RUNNING, None)  # what has no state (NVMe) is not judged
