"""The steps of a multipath map. Part of `attachers.steps`, where their rules are told."""

from dataclasses import dataclass

from attachers import checks


@dataclass(frozen=True, slots=True)
class AnnounceMap:
    """Tell udev, before it sees a path, that a logical unit is to have a multipath map: its link leads to that.

    `owner` is `user:group` of the map's node, or empty. `borrowed`: there is a map of somebody else's already, of which
    udev is told nothing, so that whoever uses it on this host keeps it as it is.
    """

    wwid: str
    owner: str = ""
    borrowed: bool = False

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)
        checks.owner(self.owner)

    def describe(self) -> str:
        return f"announce a map of {self.wwid}"


@dataclass(frozen=True, slots=True)
class JoinMap:
    """Have multipathd take a path into the map of its logical unit, and make the map where there is none.

    Refused when the disk is not announced, or multipathd takes it for another logical unit. That multipathd adds a path
    later, when udev has seen the map, is no failure.
    """

    hctl: str
    wwid: str

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"join {self.hctl} to the map of {self.wwid}"


@dataclass(frozen=True, slots=True)
class LeaveMap:
    """Have multipathd take a path out of the map of that logical unit; refused for the last one of a map in use."""

    hctl: str
    wwid: str

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"take {self.hctl} out of the map of {self.wwid}"


@dataclass(frozen=True, slots=True)
class ResizeMap:
    """Give the map of a logical unit the size (bytes) that all of its paths have; refused where one has another."""

    wwid: str
    size: int

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)
        if self.size <= 0:
            raise checks.refuse("size", self.size, "a number of bytes")

    def describe(self) -> str:
        return f"resize the map of {self.wwid} to {self.size} bytes"


@dataclass(frozen=True, slots=True)
class RemoveMap:
    """Flush and remove a map that came of what we did; refused while anything has it open.

    Refused, too, where what the host caches cannot be written out, unless that loss is known (`lost`): then it stops
    queueing, and goes. With `listed` the logical unit is struck off multipath's own file of known LUNs, so that a disk
    that comes back gets no map.
    """

    wwid: str
    listed: bool = True
    lost: bool = False

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"{'remove' if self.lost else 'flush and remove'} the map of {self.wwid}"


@dataclass(frozen=True, slots=True)
class ForgetMap:
    """Take back what was announced of a map, and see to it that multipathd knows no path of the logical unit any more.

    With `listed` it is also struck off multipath's own file of known LUNs. Refused while there is a map of ours.
    """

    wwid: str
    listed: bool = True

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"forget the map of {self.wwid}"


MapStep = AnnounceMap | JoinMap | LeaveMap | ResizeMap | RemoveMap | ForgetMap
"""What is done to a multipath map."""
