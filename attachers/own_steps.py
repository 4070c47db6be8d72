"""The steps that say whose a LUN is before it is there, and give it up. Part of `attachers.steps`."""

from dataclasses import dataclass

from attachers import checks


@dataclass(frozen=True, slots=True)
class Own:
    """Say, before the server is asked for it, that one LUN of these targets is ours: FC ports, or an iSCSI target.

    Whenever an FC port returns, also at boot, the kernel itself finds all of its LUNs, and on a session of iSCSI
    anybody's rescan does (udev's 90-scsi-ua.rules; attach.md, case 77), so that it is not the scan that says whose a
    device is. A way on which the LUN is there already stays somebody else's. Changes nothing but the record of what was
    created.
    `lun` is the kernel's number of it; behind FC without the bits of its addressing method.
    """

    targets: tuple[str, ...]
    lun: int

    def __post_init__(self) -> None:
        _insist_on_targets(self.targets)
        checks.lun(self.lun)

    def describe(self) -> str:
        return f"expect LUN {self.lun} of {_names(self.targets)}"


@dataclass(frozen=True, slots=True)
class Disown:
    """Give up what `Own` said: what shows there from now on is not ours.

    Taken at the very end, when the server shows the LUN no more: until then it may come back. Refused while a device of
    ours is there. Gives up the claims of its addresses, too.
    """

    targets: tuple[str, ...]
    lun: int

    def __post_init__(self) -> None:
        _insist_on_targets(self.targets)
        checks.lun(self.lun)

    def describe(self) -> str:
        return f"give up LUN {self.lun} of {_names(self.targets)}"


def _insist_on_targets(targets: tuple[str, ...]) -> None:
    """FC ports in normal form, or iSCSI names."""
    for target in targets:
        if not checks.is_wwpn(target):
            checks.iqn(target)


def _names(targets: tuple[str, ...]) -> str:
    return ", ".join(checks.with_colons(target) if checks.is_wwpn(target) else target for target in targets)
