"""What every SCSI transport shares: is it the right logical unit, and what is handed out."""

from attachers.base import Device, PathInfo
from attachers.sights import ScsiPath
from attachers.steps import DEVICES


def is_right(path: ScsiPath, wwid: str) -> bool:
    """Design rule 1: the device itself answers with the wanted name, and the kernel does not remember another unit.

    A unit may have several names (NAA and EUI): the kernel remembers one of them, not always the wanted one.
    """
    return wwid in path.designators and (path.sysfs_wwid is None or path.sysfs_wwid in path.designators)


def is_wrong(path: ScsiPath, wwid: str) -> bool:
    """The device answered, and it is another one, or the kernel still takes it for another one."""
    return bool(path.designators) and not is_right(path, wwid)


def identity_of(path: ScsiPath, wanted: str | None) -> str | None:
    """The name to publish: the wanted one, else the device's own (NAA first), else None."""
    if wanted is not None:
        return wanted
    return min(path.designators, key=lambda d: (not d.startswith("naa."), d), default=None)


def what_it_is(path: ScsiPath) -> str:
    """Which logical unit a path leads to, for a sentence."""
    seen = ", ".join(sorted(path.designators)) or "nothing"
    if path.sysfs_wwid and path.sysfs_wwid not in path.designators:
        return f"{seen} (the kernel still takes it for {path.sysfs_wwid})"
    return seen


def as_device(path: ScsiPath, wwid: str, *, read_only: bool) -> Device:
    """The device that a single verified path hands out. The path must have its node."""
    node = path.node or ""
    return Device(
        kind="block",
        path=f"{DEVICES}/{wwid}",
        node=node,
        wwid=wwid,
        size=path.size,
        read_only=read_only or path.read_only,
        paths=(PathInfo(node=node, hctl=path.hctl, via=path.via, state=path.state),),
    )
