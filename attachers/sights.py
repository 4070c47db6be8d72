"""What is asked of a host, and what it saw: read-only questions and their answers, as values."""

from dataclasses import dataclass, field

from attachers import checks
from attachers.blocks_sights import BLOCK as BLOCK
from attachers.blocks_sights import MOST_AT_ONCE as MOST_AT_ONCE
from attachers.blocks_sights import BlocksQuery as BlocksQuery
from attachers.blocks_sights import BlocksSight as BlocksSight
from attachers.host_sights import Ability as Ability
from attachers.host_sights import HostQuery as HostQuery
from attachers.host_sights import HostSight as HostSight
from attachers.host_sights import RouteQuery as RouteQuery
from attachers.host_sights import RouteSight as RouteSight
from attachers.nfs_sights import FileDisk as FileDisk
from attachers.nfs_sights import NfsFile as NfsFile
from attachers.nfs_sights import NfsMount as NfsMount
from attachers.nfs_sights import NfsQuery as NfsQuery
from attachers.nfs_sights import Opening as Opening
from attachers.nfs_sights import Trouble as Trouble
from attachers.record_sights import Dead as Dead
from attachers.record_sights import Made as Made
from attachers.record_sights import RecordQuery as RecordQuery
from attachers.record_sights import RecordSight as RecordSight

LOGGED_IN = "LOGGED_IN"
"""The state of a `Session` that commands can be sent on."""
STANDBY = "standby"
"""The `access` of a path that takes over when others fail: till then it answers to an INQUIRY, and carries no I/O."""


@dataclass(frozen=True, slots=True)
class IscsiQuery:
    """Look at everything that one LUN of one iSCSI target touches on this host.

    `name` is the attachment whose link is looked for, `wwid` the logical unit name that is expected;
    `holders` asks for the (dearer) search for whoever has the disk open, `read` for one block read of every path.
    """

    name: str
    target: str
    portals: tuple[str, ...]
    lun: int
    wwid: str | None = None
    holders: bool = False
    read: bool = False

    def __post_init__(self) -> None:
        checks.name(self.name)
        checks.iqn(self.target)
        checks.lun(self.lun)
        for portal in self.portals:
            checks.portal(portal)
        if self.wwid is not None:
            checks.wwid(self.wwid)


@dataclass(frozen=True, slots=True)
class FcQuery:
    """Look at everything that one LUN behind these Fibre Channel target ports touches on this host.

    `targets` are their names in normal form; the rest is as in `IscsiQuery`.
    """

    name: str
    targets: tuple[str, ...]
    lun: int
    wwid: str | None = None
    holders: bool = False
    read: bool = False

    def __post_init__(self) -> None:
        checks.name(self.name)
        checks.lun(self.lun)
        checks.ports(self.targets)
        if self.wwid is not None:
            checks.wwid(self.wwid)


@dataclass(frozen=True, slots=True)
class FcPort:
    """A Fibre Channel port of this host: its name, SCSI host number and state (fc_host/port_state), and each remote
    port that it knows, in words.
    """

    wwpn: str
    host: int
    state: str
    remote: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A node record in iscsid's database; `ours` when we created it.

    `flaw` says why no login is to be made with it as it is (it is empty, it has every LUN looked for, ...); `old` that
    it was made before the open-iscsi of today came, which may not know all of its keys.
    """

    target: str
    portal: str
    ours: bool = False
    flaw: str = ""
    old: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A way to a target (an I_T nexus of SAM) as sysfs shows it: an iSCSI session, or an FC remote port seen from a
    local one.

    `portal` is the one that the session was made for (persistent address and port), or the local port's name; `host`
    the SCSI host number; `state` as in iscsi_session/state (LOGGED_IN, FAILED, FREE), of a remote port LOGGED_IN or
    what fc_remote_ports says of it (Blocked, Not Present); `devices` are the SCSI addresses of all devices on it,
    whosever they are. `sid` is the session's number, or the remote port's on its host. A remote port is never `ours`.
    """

    sid: int
    host: int
    target: str
    portal: str
    state: str
    devices: tuple[str, ...] = ()
    ours: bool = False
    channel: int = 0
    target_id: int = 0

    def at(self, lun: int) -> str:
        """The SCSI address of a LUN on it."""
        return f"{self.host}:{self.channel}:{self.target_id}:{lun}"

    @property
    def via(self) -> str:
        """This way, as people know it: the portal, or which remote port from which local one."""
        if not checks.is_wwpn(self.target):
            return self.portal
        return f"{checks.with_colons(self.target)} from {checks.with_colons(self.portal)}"


@dataclass(frozen=True, slots=True)
class ScsiPath:
    """One SCSI device that leads to the LUN asked about.

    `node` is the kernel's name (/dev/sda), None until the block device exists; `size` is in bytes.
    `designators` are the strong names of VPD page 0x83 (naa., eui.) that the device itself answered to an INQUIRY
    sent just now; `inquiry_error` says why there is no answer. `sysfs_wwid` is what the kernel remembers, which may
    be old. `holders` names who has it open; None when that was not asked for. `ours` when we made it.
    `unread` says why one block of it could not be read past every cache; empty where it could, or was not asked for.
    `access` is the path's ALUA state as the kernel writes it (standby, ...); empty where nothing tells it.
    `kind` says what it is where it is no disk (a tape drive, ...).
    """

    hctl: str
    via: str
    node: str | None
    state: str
    size: int
    read_only: bool
    sysfs_wwid: str | None
    designators: frozenset[str] = field(default_factory=frozenset)
    inquiry_error: str = ""
    holders: tuple[str, ...] | None = None
    ours: bool = False
    unread: str = ""
    access: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class MapPath:
    """One path in a multipath map, of whatever transport or target; `usable` while device-mapper sends I/O down it.

    Node, size and designators are as in `ScsiPath`; `node` and `hctl` are empty where the kernel has lost the disk.
    """

    hctl: str
    node: str
    usable: bool
    size: int
    designators: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class ScsiMap:
    """The multipath map of a logical unit, found by its dm uuid (mpath-...), never by a name.

    `node` is the kernel's name (/dev/dm-0), `size` is in bytes, `queueing` whether I/O waits while no path is usable,
    `opens` how often it is open, `holders` who has it open (None when that was not asked for). `ours` when it came of
    what we did.
    """

    uuid: str
    node: str
    suspended: bool
    size: int
    read_only: bool
    queueing: bool
    opens: int
    paths: tuple[MapPath, ...] = ()
    holders: tuple[str, ...] | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class MapNotes:
    """What there is of a map besides the map: `announced` to udev as one that a LUN is to have, `listed` in multipath's
    own file of known LUNs (/etc/multipath/wwids). `ours` when either is our doing.
    """

    announced: bool
    listed: bool
    ours: bool = False


@dataclass(frozen=True, slots=True)
class ScsiSight:
    """What a host shows of one LUN, whatever the transport that leads to it.

    `link` is what the attachment's link points at (None: no link); `device_link` the node that
    /dev/cdmi-attach/WWID resolves to; `owner` of that node as `user:group`. `busy` describes operations on these
    very resources that are still under way in the helper: their outcome is not known yet. `ports` are the host's own
    FC ports, told where none of them sees a target that was asked for. `owned` are the targets at which this LUN is
    ours even while no device shows it (FC: the kernel brings it back with its port). `map` is the multipath map of the
    logical unit asked for, `notes` what else there is of one. `main` is the main name of the unit (`unit_names.main`),
    once it has answered, where it is another one than was asked for; `wwid` is the name that links were looked for by
    where none was. `users`
    names who uses the logical unit on this host, by any disk that is it or by its map, whosever they are; None when
    that was not asked for. `dirty`: a write-out of the logical unit failed, or was begun and not seen
    to succeed.
    `kept`: udev was told of the link, and takes it along with what it leads to.
    """

    records: tuple[Record, ...] = ()
    sessions: tuple[Session, ...] = ()
    paths: tuple[ScsiPath, ...] = ()
    link: str | None = None
    device_link: str | None = None
    owner: str = ""
    busy: tuple[str, ...] = ()
    ports: tuple[FcPort, ...] = ()
    owned: tuple[str, ...] = ()
    map: ScsiMap | None = None
    notes: MapNotes | None = None
    main: str | None = None
    wwid: str | None = None
    users: tuple[str, ...] | None = None
    dirty: bool = False
    kept: bool = True


@dataclass(frozen=True, slots=True)
class NfsSight:
    """What a host shows of an NFS share: every mount at its mount point (the uppermost last), the file, and its disk.

    `file` is None where it was not asked for, or where there is not exactly one mount of the share to look into.
    `scsi` has the disk's path, the links, and what is under way.
    """

    mounts: tuple[NfsMount, ...] = ()
    file: NfsFile | None = None
    disk: FileDisk | None = None
    scsi: ScsiSight = ScsiSight()


@dataclass(frozen=True, slots=True)
class DomainQuery:
    """Look at the disks of one libvirt domain."""

    domain: str

    def __post_init__(self) -> None:
        checks.domain(self.domain)


@dataclass(frozen=True, slots=True)
class DomainDisk:
    """A disk of a domain: its place (sda) and the path or link that it was given."""

    target: str
    source: str


@dataclass(frozen=True, slots=True)
class DomainSight:
    """A libvirt domain: whether libvirt knows it, whether it is active, and its live disks.

    `runs`: its guest runs, here; one that is paused, or whose memory is still coming from another host, does not.
    """

    exists: bool
    active: bool
    disks: tuple[DomainDisk, ...] = ()
    busy: tuple[str, ...] = ()
    runs: bool = False


ScsiQuery = IscsiQuery | FcQuery
"""The queries that a `ScsiSight` answers."""
Query = ScsiQuery | NfsQuery | DomainQuery | BlocksQuery | HostQuery | RouteQuery | RecordQuery
Sight = ScsiSight | NfsSight | DomainSight | BlocksSight | HostSight | RouteSight | RecordSight
QUERIES: tuple[type[Query], ...] = (
    *(IscsiQuery, FcQuery, NfsQuery, DomainQuery, BlocksQuery, HostQuery, RouteQuery, RecordQuery),
)
SIGHTS: tuple[type[Sight], ...] = (
    *(ScsiSight, NfsSight, DomainSight, BlocksSight, HostSight, RouteSight, RecordSight),
)
