"""The steps that say whose a LUN is before it is there, and give it up. Part of `attachers.steps`."""

from dataclasses import dataclass

from attachers import checks


@dataclass(frozen=True, slots=True)
class Own:
    """Say, before the server is asked for it, that one LUN behind these FC target ports is ours.

    Whenever a port returns, also at boot, the kernel itself finds all of its LUNs, so that it is not the scan that says
    whose a device is. A way on which the LUN is there already stays somebody else's. Changes nothing but the record of
    what was created.
    """

    targets: tuple[str, ...]
    lun: int

    def __post_init__(self) -> None:
        checks.ports(self.targets)
        checks.lun(self.lun)

    def describe(self) -> str:
        return f"expect LUN {self.lun} of {', '.join(checks.with_colons(target) for target in self.targets)}"


@dataclass(frozen=True, slots=True)
class Disown:
    """Give up what `Own` said: what shows there from now on is not ours.

    Taken at the very end, when the server shows the LUN no more: until then it may come back. Refused while a device of
    ours is there. Gives up the claims of its addresses, too.
    """

    targets: tuple[str, ...]
    lun: int

    def __post_init__(self) -> None:
        checks.ports(self.targets)
        checks.lun(self.lun)

    def describe(self) -> str:
        return f"give up LUN {self.lun} of {', '.join(checks.with_colons(target) for target in self.targets)}"
