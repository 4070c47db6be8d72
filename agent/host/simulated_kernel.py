"""The state of a simulated host: what a Linux kernel, iscsid, udev and libvirt would hold between them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from agent.host.simulated_san import Lun, San
from agent.host.simulated_shares import LOOPBACK, Shares
from attachers import checks
from attachers.sights import LOGGED_IN, STANDBY

UNPROVED = "cdmi-attach-"
INITIATOR = "iqn.1993-08.org.debian:01:simulated"


@dataclass(slots=True)
class Device:
    """A SCSI device. `wwid`, `size` and `read_only` are what was true when the kernel last looked, not now.

    `set_read_only` is what was asked of the block device on top (BLKROSET), `cached` what was written to it and has not
    reached the logical unit: it goes with the device.
    """

    hctl: str
    lun: int
    wwid: str
    size: int
    read_only: bool
    node: str | None = None
    owner: str = "root:disk"
    set_read_only: bool = False
    holders: list[str] = field(default_factory=list)
    state: str = "running"
    cached: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Map:
    """A multipath map over some devices (by SCSI address), of the size that they had when it was made.

    `cached` is as in `Device`.
    """

    wwid: str
    node: str
    size: int
    paths: list[str] = field(default_factory=list)
    suspended: bool = False
    queueing: bool = True
    owner: str = "root:disk"
    set_read_only: bool = False
    holders: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Multipathd:
    """multipathd and its file: `listed` are the logical units in it, `known` its paths (hctl: the name it has them by).

    `greedy` makes it build a map of any disk, `blacklisted` are the units that it refuses (UNPROVED: all disks that are
    not proved), `early` says that udev tells ID_WWN of a disk before that, as rules of sg3-utils do, `deaf` stops it
    hearing that a disk has gone, `settling` makes it leave later paths for later, until it has seen udev's word of the
    map.
    """

    runs: bool = False
    greedy: bool = False
    early: bool = False
    deaf: bool = False
    settling: bool = False
    blacklisted: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """An iSCSI session, or an FC remote port seen from a local one, and the devices on it, by SCSI address."""

    sid: int
    host: int
    target: str
    portal: str
    state: str = "LOGGED_IN"
    devices: dict[str, Device] = field(default_factory=dict)
    target_id: int = 0
    initiator: str = ""

    def at(self, lun: int) -> str:
        """The SCSI address of a LUN on it."""
        return f"{self.host}:0:{self.target_id}:{lun}"


@dataclass(slots=True)
class Domain:
    """A libvirt domain and its live disks: place -> source, and place -> the size (bytes) it was told of since.

    `paused`: it is active, and its guest does not run, as while its memory comes from another host.
    """

    active: bool = True
    paused: bool = False
    disks: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Kernel:
    """Everything that outlives the processes on top. `records` (and domains' names) outlive the kernel, too.

    `records` are iscsid's: (target, portal) -> who wrote the settings; `flaws` says why one of them is of no use.
    `ifaces` are the interfaces of open-iscsi that have an initiator name of their own, `named` the records that were
    made by one of these: they keep the name of that time; `several` are those of which a login makes so many sessions.
    `links` are /run/cdmi-attach/disk, `device_links` /dev/cdmi-attach (wwid -> SCSI address, or the map's node),
    `claims` the addresses that udev is to leave to us, `expected` the unit that each was claimed for, `proofs` the
    disks (by address) that udev was told of and the unit that each is, the newest last, `announced` the logical units
    of which it knows that they are to have a map (wwid -> owner; None: there is one of somebody else's, of which it
    knows nothing).
    `fabric` are the FC ports that see each other: local and remote. `unwritten` are the logical units of which a
    write-out failed, or is under way (/run/cdmi-attach/unwritten).
    """

    san: San
    initiator: str = INITIATOR
    boot_id: str = field(default_factory=lambda: str(uuid4()))
    records: dict[tuple[str, str], str] = field(default_factory=dict)
    flaws: dict[tuple[str, str], str] = field(default_factory=dict)
    ifaces: dict[str, str] = field(default_factory=dict)
    named: dict[tuple[str, str], str] = field(default_factory=dict)
    several: dict[tuple[str, str], int] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    device_links: dict[str, str] = field(default_factory=dict)
    claims: set[str] = field(default_factory=set)
    expected: dict[str, str] = field(default_factory=dict)
    proofs: dict[str, str] = field(default_factory=dict)
    announced: dict[str, str | None] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    multipathd: Multipathd = field(default_factory=Multipathd)
    domains: dict[str, Domain] = field(default_factory=dict)
    fabric: list[tuple[str, str]] = field(default_factory=list)
    shares: Shares = field(default_factory=Shares)
    nexuses: dict[str, Session] = field(default_factory=dict)
    unwritten: set[str] = field(default_factory=set)
    last_sid: int = 0
    last_host: int = 2
    last_node: int = 0
    last_map: int = 0

    def devices(self) -> Iterator[tuple[Session, Device]]:
        """Every SCSI device, with its session."""
        for session in (*self.sessions.values(), *self.nexuses.values()):
            for device in session.devices.values():
                yield session, device

    def device(self, hctl: str) -> tuple[Session, Device] | None:
        """The device at that address, with its session."""
        return next((pair for pair in self.devices() if pair[1].hctl == hctl), None)

    def session(self, target: str, portal: str) -> Session | None:
        """The first session to the target at that portal."""
        return next((s for s in self.sessions.values() if (s.target, s.portal) == (target, portal)), None)

    def add_session(self, target: str, portal: str) -> Session:
        """A new session with the next numbers; numbers are never used again."""
        self.last_sid += 1
        self.last_host += 1
        session = Session(self.last_sid, self.last_host, target, portal)
        self.sessions[session.sid] = session
        return session

    def add_device(self, session: Session, lun: int) -> Device | None:
        """What a scan of one address does: a device without a node yet, or nothing where no LUN answers."""
        unit = self.answer(session, lun)
        if unit is None:
            return None
        hctl = session.at(lun)
        device = Device(hctl, lun, unit.wwid, unit.size, unit.read_only)
        session.devices[hctl] = device
        return device

    def new_nexus(self, target: str, portal: str) -> Session:
        """A SCSI host of its own, with the next number, that is no session of iSCSI."""
        self.last_host += 1
        return Session(0, self.last_host, target, portal)

    def put_device(self, session: Session, hctl: str, *, wwid: str, size: int) -> None:
        """A device that needs no looking for."""
        session.devices[hctl] = Device(hctl, 0, wwid, size, read_only=False)

    def names(self, session: Session, device: Device) -> frozenset[str]:
        """What the device answers to an INQUIRY sent now; nothing where nobody answers."""
        unit = self.answer(session, device.lun)
        return unit.names if unit and session.state == LOGGED_IN and device.state == "running" else frozenset()

    def access(self, session: Session, device: Device) -> str:
        """The ALUA state that keeps a device from carrying I/O; empty where none does."""
        return self.san.access.get((session.target, session.portal, device.lun), "")

    def answer(self, session: Session, lun: int) -> Lun | None:
        """What answers a command on a session now, None when nothing does."""
        if session.target == LOOPBACK:
            wwid = next(name for name, nexus in self.nexuses.items() if nexus is session)
            return Lun(LOOPBACK, (), lun, wwid, self.shares.disks[wwid].size, ())
        return self.san.answer(self.name_on(session), session.target, session.portal, lun)

    def name_on(self, session: Session) -> str:
        """What this host is called on a session: its initiator name, or its port's."""
        return session.portal if checks.is_wwpn(session.target) else session.initiator or self.initiator

    def probe(self) -> bool:
        """Let sd finish: every device without a node gets one. Whether there was any.

        What a disk says then is no proof: udev links none of ours, and has multipathd leave it alone.
        """
        waiting = [device for _, device in self.devices() if device.node is None]
        for device in waiting:
            device.node = f"/dev/sd{_letters(self.last_node)}"
            self.last_node += 1
            if device.hctl not in self.claims:
                self._tell_multipathd(device)
            elif self.multipathd.runs and self.multipathd.greedy and self.multipathd.early:
                self._misname(device)
        return bool(waiting)

    def prove(self, hctl: str, wwid: str) -> None:
        """udev hears that a disk is that unit: of two that are it takes the newcomer (systemd, udev-node.c)."""
        self.proofs.pop(hctl, None)
        self.proofs[hctl] = wwid
        self.device_links[wwid] = hctl

    def unlink_unit(self, wwid: str) -> None:
        """Nothing leads to a unit any more, and udev hears of it."""
        self.device_links.pop(wwid, None)
        self.proofs = {hctl: unit for hctl, unit in self.proofs.items() if unit != wwid}

    def _tell_multipathd(self, device: Device) -> None:
        """It takes a new disk into the map of its unit, or makes one where it is told to."""
        daemon = self.multipathd
        if not daemon.runs or device.wwid in daemon.blacklisted:
            return
        daemon.known[device.hctl] = device.wwid
        if device.wwid in self.maps or daemon.greedy or device.wwid in daemon.listed:
            self.join_map(device)

    def _misname(self, device: Device) -> None:
        """A disk that is not proved has a name of our rule's: multipathd makes a map of it, unless told not to."""
        name = f"{UNPROVED}{device.hctl}"
        if UNPROVED not in self.multipathd.blacklisted:
            self.maps[name] = Map(name, f"/dev/dm-{self.last_map}", device.size, [device.hctl])
            self.last_map += 1
            self.multipathd.listed.add(name)

    def map_of(self, wwid: str) -> Map | None:
        """The map of a unit, or that which multipathd has made of a disk of it under another name."""
        misnamed = (one for name, one in self.maps.items() if name.startswith(UNPROVED))
        known = (one for one in misnamed if any(d.wwid == wwid and d.hctl in one.paths for _, d in self.devices()))
        return self.maps.get(wwid) or next(known, None)

    def join_map(self, device: Device) -> None:
        """Take a path into the map of its unit; make the map where there is none."""
        found = self.maps.get(device.wwid)
        if found is None:
            found = Map(device.wwid, f"/dev/dm-{self.last_map}", device.size)
            self.last_map += 1
            self.maps[device.wwid] = found
            self.multipathd.listed.add(device.wwid)
            owner = self.announced.get(device.wwid)
            if owner is not None:
                found.owner = owner or found.owner
                self.device_links[device.wwid] = found.node
        elif self.multipathd.settling or found.size != device.size:
            return
        if device.hctl not in found.paths:
            found.paths.append(device.hctl)

    def leave_map(self, hctl: str) -> None:
        """Take a path out of every map; one without any path goes, unless somebody has it open."""
        for found in [found for found in self.maps.values() if hctl in found.paths]:
            found.paths.remove(hctl)
            if not found.paths and not found.holders:
                self.drop_map(found)

    def drop_map(self, found: Map) -> None:
        """Remove a map; udev takes its link along."""
        del self.maps[found.wwid]
        self.device_links = {wwid: at for wwid, at in self.device_links.items() if at != found.node}

    def is_usable(self, hctl: str) -> bool:
        """Whether I/O gets through to a device."""
        found = self.device(hctl)
        return found is not None and bool(self.names(*found)) and self.access(*found) in ("", STANDBY)

    def users(self, wwid: str) -> list[str]:
        """Who uses a logical unit, by any device that the kernel takes for it, or by its map."""
        devices = [device.holders for _, device in self.devices() if device.wwid == wwid]
        above = [self.maps[wwid].holders] if wwid in self.maps else []
        return list(dict.fromkeys(user for users in [*devices, *above] for user in users))

    def drop_device(self, session: Session, hctl: str, *, with_claim: bool = True) -> None:
        """Delete a device; udev takes its links along, and multipathd its path."""
        self._write_back(session, session.devices.pop(hctl, None))
        if not self.multipathd.deaf:
            self.multipathd.known.pop(hctl, None)
        self.leave_map(hctl)
        self.claims -= {hctl} if with_claim else set()
        self.proofs.pop(hctl, None)
        lost = [wwid for wwid, at in self.device_links.items() if at == hctl]
        for wwid in lost:
            others = [other for other, unit in self.proofs.items() if unit == wwid]
            self.device_links |= {wwid: others[-1]} if others else {}
            if not others:
                del self.device_links[wwid]

    def _write_back(self, session: Session, device: Device | None) -> None:
        """What is cached of a disk that goes is sent to whatever unit answers there now, unless the disk is offline
        (block/bdev.c writes out at the last close, and sd flushes; scsi_lib.c scsi_device_state_check refuses).

        The disk of a file is none that another one can be behind.
        """
        if device is None or device.state != "running" or session.state != LOGGED_IN or session.target == LOOPBACK:
            return
        if device.cached and (unit := self.answer(session, device.lun)):
            self.san.stored.setdefault(unit.wwid, []).extend(device.cached)
        device.cached.clear()

    def reboot(self) -> None:
        """Forget what lives in memory and /run; keep iscsid's records and the domains' names."""
        self.boot_id = str(uuid4())
        self.sessions.clear()
        self.links.clear()
        self.device_links.clear()
        self.claims.clear()
        self.expected.clear()
        self.proofs.clear()
        self.announced.clear()
        self.unwritten.clear()
        self.maps.clear()
        self.multipathd.known.clear()
        self.shares = Shares()
        self.nexuses.clear()
        self.domains = {name: Domain(active=False) for name in self.domains}
        self.last_sid, self.last_host, self.last_node, self.last_map = 0, 2, 0, 0

    def inventory(self) -> frozenset[str]:
        """One line for each thing that exists: equal inventories mean that nothing was left, and nothing taken."""
        lines = {f"record {target} at {portal}: {by}" for (target, portal), by in self.records.items()}
        lines |= self.shares.inventory()
        lines |= {f"session {s.sid}: {s.target} at {s.portal}" for s in self.sessions.values()}
        lines |= {f"device {d.hctl} of session {s.sid}" for s, d in self.devices()}
        lines |= {f"link {name} -> {to}" for name, to in self.links.items()}
        lines |= {f"device link {wwid} -> {hctl}" for wwid, hctl in self.device_links.items()}
        lines |= {f"claim {hctl}" for hctl in self.claims}
        lines |= {f"not written out: {wwid}" for wwid in self.unwritten}
        lines |= {f"proof of {hctl}: {wwid}" for hctl, wwid in self.proofs.items()}
        lines |= {f"announced paths of {wwid}" for wwid in self.announced}
        lines |= {f"announced map of {wwid}" for wwid, owner in self.announced.items() if owner is not None}
        lines |= {f"map of {found.wwid}: {', '.join(sorted(found.paths))}" for found in self.maps.values()}
        lines |= {f"multipathd lists {wwid}" for wwid in self.multipathd.listed}
        lines |= {f"multipathd knows {hctl}" for hctl in self.multipathd.known}
        for name, domain in self.domains.items():
            lines |= {f"disk {place} of {name}: {source}" for place, source in domain.disks.items()}
        return frozenset(lines)


def _letters(number: int) -> str:
    """The letters of the n-th disk: a, b, ..., z, aa."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
