"""The steps that change a host: values with one text each, the same in log, events, API and problem.

Every step is idempotent: done twice, it leaves what it left the first time. Every field is checked when the value
is made, so a step that exists is well formed, on whichever side of the border it was made.
"""

from dataclasses import dataclass

from attachers import checks
from attachers.domain_steps import GiveDisk as GiveDisk
from attachers.domain_steps import ResizeDisk as ResizeDisk
from attachers.domain_steps import TakeDisk as TakeDisk
from attachers.nfs_steps import GrowDisk as GrowDisk
from attachers.nfs_steps import MakeDisk as MakeDisk
from attachers.nfs_steps import Mount as Mount
from attachers.nfs_steps import PublishFile as PublishFile
from attachers.nfs_steps import RemoveDisk as RemoveDisk
from attachers.nfs_steps import Unmount as Unmount
from attachers.own_steps import Disown as Disown
from attachers.own_steps import Own as Own

LINKS = "/run/cdmi-attach/disk"
DEVICES = "/dev/cdmi-attach"


@dataclass(frozen=True, slots=True)
class CreateRecord:
    """Put a node record with our settings into iscsid's database (manual start-up and scan, short login limits).

    `chap` names the server whose CHAP entry says how to log in (its URL; the secrets never leave the helper), `iface`
    the interface of open-iscsi to use; both may be empty.
    """

    target: str
    portal: str
    chap: str = ""
    iface: str = ""

    def __post_init__(self) -> None:
        checks.iqn(self.target)
        checks.portal(self.portal)
        checks.chap(self.chap)
        checks.iface(self.iface)

    def describe(self) -> str:
        return f"record {self.target} at {self.portal}"


@dataclass(frozen=True, slots=True)
class Login:
    """Log in to a target at one portal; `chap` and `iface` as in its record."""

    target: str
    portal: str
    chap: str = ""
    iface: str = ""

    def __post_init__(self) -> None:
        checks.iqn(self.target)
        checks.portal(self.portal)
        checks.chap(self.chap)
        checks.iface(self.iface)

    def describe(self) -> str:
        return f"log in to {self.target} at {self.portal}"


@dataclass(frozen=True, slots=True)
class Scan:
    """Claim one SCSI address for us (udev rule), then ask the kernel to look at exactly that one.

    `target` and `portal` name the session that the address belongs to, or the remote and the local FC port. That
    nothing is found there is no failure of the step (the server may still map the LUN); the claim is given up then.
    """

    hctl: str
    target: str
    portal: str

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        checks.nexus(self.target, self.portal)

    def describe(self) -> str:
        return f"scan {self.hctl}"


@dataclass(frozen=True, slots=True)
class Publish:
    """Hand out a disk whose identity was proved: /dev/cdmi-attach/WWID, its owner, and the link of that name.

    `hctl` is its address, or empty for the multipath map of the logical unit, which has to be usable (attach.md, case
    42). `wwid` is what it answered to INQUIRY; `owner` is `user:group` or empty. Refused where anybody on this host
    uses the unit, by whatever path, who was not given it by us (case 79).

    What follows is for whoever keeps the record of what was created to say: `borrowed`, that the disk or the map was
    there before us, keeps owner, mode and read-only flag, and may be read beside its users; `again`, that it was handed
    out by that very name before, to whoever uses it now.
    """

    name: str
    hctl: str
    wwid: str
    read_only: bool
    owner: str
    borrowed: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        checks.name(self.name)
        if self.hctl:
            checks.hctl(self.hctl)
        checks.wwid(self.wwid)
        checks.owner(self.owner)

    def describe(self) -> str:
        return f"publish {self.wwid} as {self.name}"


@dataclass(frozen=True, slots=True)
class Unpublish:
    """Take the link of that name away; with a `wwid`, the device's own link too (nobody else needs it)."""

    name: str
    wwid: str | None

    def __post_init__(self) -> None:
        checks.name(self.name)
        if self.wwid is not None:
            checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"unpublish {self.name}"


@dataclass(frozen=True, slots=True)
class RemoveDevice:
    """Delete one SCSI device that we made; refused while anything has it open.

    With a `wwid`, what the host still caches of it is written out before: refused when its INQUIRY does not answer that
    name, or when that fails. Without, nothing is written, since nobody knows to which volume it would go.
    """

    hctl: str
    wwid: str | None = None

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        if self.wwid is not None:
            checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"flush and remove {self.hctl}" if self.wwid else f"remove {self.hctl}"


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

    Where no path is usable, nothing can be written out any more: it stops queueing then, and goes. With `listed` the
    logical unit is struck off multipath's own file of known LUNs, so that a disk that comes back gets no map.
    """

    wwid: str
    listed: bool = True

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"flush and remove the map of {self.wwid}"


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


@dataclass(frozen=True, slots=True)
class Rescan:
    """Have the kernel read the size of a disk again.

    Refused when its INQUIRY does not answer `wwid`, and when it has become smaller: nothing is changed then.
    """

    hctl: str
    wwid: str

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"read the size of {self.hctl} again"


@dataclass(frozen=True, slots=True)
class Logout:
    """Log out of a session that we made; refused while it carries any device.

    `sid` is its number, where others have a session to the same portal as well.
    """

    target: str
    portal: str
    sid: int | None = None

    def __post_init__(self) -> None:
        checks.iqn(self.target)
        checks.portal(self.portal)

    def describe(self) -> str:
        return f"log out of {self.target} at {self.portal}"


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """Take a node record that we made out of iscsid's database; refused while a session uses it."""

    target: str
    portal: str

    def __post_init__(self) -> None:
        checks.iqn(self.target)
        checks.portal(self.portal)

    def describe(self) -> str:
        return f"forget the record of {self.target} at {self.portal}"


MapStep = AnnounceMap | JoinMap | LeaveMap | ResizeMap | RemoveMap | ForgetMap
"""What is done to a multipath map."""

Step = (
    CreateRecord
    | Login
    | Scan
    | MapStep
    | Publish
    | Unpublish
    | RemoveDevice
    | Own
    | Disown
    | Rescan
    | Logout
    | DeleteRecord
    | Mount
    | Unmount
    | MakeDisk
    | GrowDisk
    | RemoveDisk
    | PublishFile
    | GiveDisk
    | ResizeDisk
    | TakeDisk
)
STEPS: tuple[type[Step], ...] = (
    CreateRecord,
    Login,
    Scan,
    AnnounceMap,
    JoinMap,
    LeaveMap,
    ResizeMap,
    RemoveMap,
    ForgetMap,
    Publish,
    Unpublish,
    RemoveDevice,
    Own,
    Disown,
    Rescan,
    Logout,
    DeleteRecord,
    Mount,
    Unmount,
    MakeDisk,
    GrowDisk,
    RemoveDisk,
    PublishFile,
    GiveDisk,
    ResizeDisk,
    TakeDisk,
)
