"""The steps that change a host: values with one text each, the same in log, events, API and problem.

Every step is idempotent: done twice, it leaves what it left the first time. Every field is checked when the value
is made, so a step that exists is well formed, on whichever side of the border it was made.
"""

from dataclasses import dataclass, field

from attachers import checks
from attachers.domain_steps import GiveDisk as GiveDisk
from attachers.domain_steps import ResizeDisk as ResizeDisk
from attachers.domain_steps import TakeDisk as TakeDisk
from attachers.map_steps import AnnounceMap as AnnounceMap
from attachers.map_steps import ForgetMap as ForgetMap
from attachers.map_steps import JoinMap as JoinMap
from attachers.map_steps import LeaveMap as LeaveMap
from attachers.map_steps import MapStep as MapStep
from attachers.map_steps import RemoveMap as RemoveMap
from attachers.map_steps import ResizeMap as ResizeMap
from attachers.nfs_steps import GrowDisk as GrowDisk
from attachers.nfs_steps import MakeDisk as MakeDisk
from attachers.nfs_steps import Mount as Mount
from attachers.nfs_steps import PublishFile as PublishFile
from attachers.nfs_steps import RemoveDisk as RemoveDisk
from attachers.nfs_steps import Unmount as Unmount
from attachers.nfs_steps import WriteOutFile as WriteOutFile
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

    `target` and `portal` name the session that the address belongs to, or the remote and the local FC port; `wwid` is
    the logical unit that is expected there (None: the export names none), which the claim says. That
    nothing is found there is no failure of the step (the server may still map the LUN); the claim is given up then.
    """

    hctl: str
    target: str
    portal: str
    wwid: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        checks.nexus(self.target, self.portal)
        if self.wwid is not None:
            checks.wwid(self.wwid)

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
    name, or when that fails, unless the loss is known (`lost`). Without, nothing is written, since nobody knows to
    which volume it would go.
    """

    hctl: str
    wwid: str | None = None
    lost: bool = False

    def __post_init__(self) -> None:
        checks.hctl(self.hctl)
        if self.wwid is not None:
            checks.wwid(self.wwid)

    def describe(self) -> str:
        if self.lost:
            return f"remove {self.hctl}, its cache lost or not"
        return f"flush and remove {self.hctl}" if self.wwid else f"remove {self.hctl}"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Say that the loss of what could not be written out of a logical unit is known: it is not `dirty` any more."""

    wwid: str

    def __post_init__(self) -> None:
        checks.wwid(self.wwid)

    def describe(self) -> str:
        return f"give up what was not written out of {self.wwid}"


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


Step = (
    CreateRecord
    | Login
    | Scan
    | MapStep
    | Publish
    | Unpublish
    | RemoveDevice
    | GiveUp
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
    | WriteOutFile
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
    GiveUp,
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
    WriteOutFile,
    PublishFile,
    GiveDisk,
    ResizeDisk,
    TakeDisk,
)
