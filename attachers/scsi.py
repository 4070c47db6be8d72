"""What every SCSI transport shares: is it the right logical unit, and what is handed out."""

from collections.abc import Iterable

from attachers import unit_names
from attachers.base import Device, PathInfo
from attachers.sights import ScsiPath
from attachers.steps import DEVICES


def is_right(path: ScsiPath, wwid: str) -> bool:
    """Design rule 1: the device itself answers with the wanted name, and the kernel does not remember another unit.

    A unit is the set of all names that it answers: which of them is wanted, and which one the kernel remembers, is all
    the same (attach.md, cases 76 and 86).
    """
    return not path.kind and wwid in path.designators and not _is_another(path)


def _is_another(path: ScsiPath) -> bool:
    """Whether the kernel remembers a name that the device does not answer (any more).

    Only a name that counts can say so: one of another kind (T10, an iSCSI name, ...) is not asked for.
    """
    remembered = unit_names.as_kernel_has(path.sysfs_wwid)
    return remembered is not None and unit_names.is_name(remembered) and remembered not in path.designators


def is_wrong(path: ScsiPath, wwid: str) -> bool:
    """The device answered, and it is another one, or the kernel still takes it for another one; or it is no disk."""
    return bool(path.kind) or (bool(path.designators) and not is_right(path, wwid))


def identity_of(path: ScsiPath, wanted: str | None) -> str | None:
    """The name to publish: the wanted one, else the device's own main one, else None."""
    return wanted if wanted is not None else unit_names.main(path.designators)


def main_name(paths: Iterable[ScsiPath], wanted: str | None) -> str | None:
    """The main name of the unit that is wanted, where a path to it says one, and that is another (case 86)."""
    names = (unit_names.main(path.designators) for path in paths if wanted in path.designators and not path.kind)
    return next((name for name in names if name != wanted), None)


def what_it_is(path: ScsiPath) -> str:
    """Which logical unit a path leads to, for a sentence."""
    seen = ", ".join(sorted(path.designators)) or "nothing"
    if path.kind:
        return f"a {path.kind} and no disk"
    return f"{seen} (the kernel still takes it for {path.sysfs_wwid})" if _is_another(path) else seen


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
