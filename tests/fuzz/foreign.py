"""A host with much on it that is nobody's business: an administrator's disks, sessions, mounts and domains; and what
the storage network has for us. Looked at from the kernel's side, it says what of the former was touched.
"""

from dataclasses import dataclass, field
from ipaddress import ip_network

from agent.host.allowed import Allowed, Place
from agent.host.simulated import SimulatedHost
from agent.host.simulated_kernel import INITIATOR, Device, Kernel
from agent.host.simulated_san import Lun, San
from agent.host.simulated_shares import LOOPBACK, FileDisk
from agent.host.simulated_steps import OURS
from attachers import checks
from attachers.nfs_share import Share
from attachers.steps import DEVICES, LINKS

TARGETS = ("iqn.2026-01.org.example:a", "iqn.2026-01.org.example:b", "iqn.2026-01.org.example:theirs")
CHAP, OPEN = "https://a.example.org/", "https://b.example.org/"
ONE, TWO, OTHER, ABROAD = "10.1.0.1:3260", "10.1.0.2:3260", "10.2.0.1:3260", "192.0.2.1:3260"
PORTALS = (ONE, TWO, OTHER, ABROAD)
LOCAL, ARRAY, STRANGE = "2000020000000010", "2000020000000011", "2000020000000013"
SRV, MORE, SECRET = Share("10.1.0.5", "/srv", "4.2"), Share("10.1.0.5", "/more", "4.1"), Share("192.0.2.5", "/s", "4.2")
SHARES = (SRV, MORE, SECRET)
FILES = ("a.img", "b.img", "busy.img")
OWNER = "oneadmin:disk"
SIZE = 1 << 20
ADMIN = "an administrator (pid 1)"
ALLOWED = Allowed(
    (
        Place(CHAP, (ip_network("10.1.0.0/24"),), (ARRAY,), chap=True),
        Place(OPEN, (ip_network("10.2.0.0/24"),), (ARRAY,)),
    ),
    owner=OWNER,
    nfs_options="hard,noatime",
)


def wwid_of(number: int) -> str:
    """The name of the logical unit of that number."""
    return f"naa.6001405{number:025x}"


ROOT_DISK, MAPPED, THEIR_FILE, BORROWED, USED = 90, 91, 92, 93, 94
NUMBERS = (1, 2, 3, 4, 11, 12, BORROWED, USED, ROOT_DISK, MAPPED, THEIR_FILE)
WWIDS = tuple(map(wwid_of, NUMBERS))
REACHED = frozenset(map(wwid_of, (1, 2, 3, 4, 11, 12, BORROWED, USED)))
"""What is at a configured server's portals and ports, disks of files included."""
UNITS = (
    *((TARGETS[0], portal, number, wwid_of(number)) for portal in (ONE, TWO) for number in (1, 2)),
    (TARGETS[1], OTHER, 3, wwid_of(3)),
    (TARGETS[2], ABROAD, 5, wwid_of(ROOT_DISK)),
    (TARGETS[2], ABROAD, 6, wwid_of(MAPPED)),
    (TARGETS[2], ONE, 7, wwid_of(BORROWED)),
    (TARGETS[2], ONE, 8, wwid_of(USED)),
)
"""Target, portal, LUN and name of what iSCSI leads to."""
FIBRE = ((ARRAY, wwid_of(4)), (STRANGE, wwid_of(ROOT_DISK)))


@dataclass
class Scene:
    """One host, and what was on it before the daemon was taken over. `flaw` says what was done to that since.

    `lent` is what may go all the same: multipathd's knowledge of a path that may be in a map of ours, and leave it.
    """

    raw: SimulatedHost
    before: frozenset[str] = frozenset()
    lent: frozenset[str] = frozenset()
    theirs: dict[str, tuple[object, ...]] = field(default_factory=dict)

    @property
    def kernel(self) -> Kernel:
        return self.raw.kernel

    def flaw(self) -> str:
        """What of somebody else's is not as it was, or what of ours is where it may not be; empty where all is well."""
        if gone := self.before - self.kernel.inventory() - self.lent:
            return f"gone: {sorted(gone)}"
        changed = [hctl for hctl, said in self.theirs.items() if said != _said(self.kernel, hctl)]
        return f"changed: {changed}" if changed else next(filter(None, self._strays()), "")

    def _strays(self) -> list[str]:
        kernel = self.kernel
        made = [portal for (_, portal), by in kernel.records.items() if by == OURS]
        found = [f"dialled {one.portal}" for one in kernel.sessions.values() if not _may_dial(one.target, one.portal)]
        found += [f"record of {portal}" for portal in made if not portal.startswith("10.")]
        found += [f"link to {to}" for name, to in kernel.links.items() if name != "theirs" and not _may_lead(to)]
        found += [f"{disk.path}, in use, is a disk" for disk in kernel.shares.disks.values() if _is_busy(disk)]
        found += [f"owner {owner} announced" for owner in kernel.announced.values() if owner not in (None, "", OWNER)]
        return found


def _may_dial(target: str, portal: str) -> bool:
    return checks.is_wwpn(target) or portal != ABROAD or target == TARGETS[2]


def _may_lead(to: str) -> bool:
    wwid = to.rpartition("/")[2]
    if to.startswith(f"{DEVICES}/"):
        return wwid in REACHED
    return any(to == share.file(name) for share in (SRV, MORE) for name in FILES[:2])


def _is_busy(disk: FileDisk) -> bool:
    return disk.path == "busy.img" and disk.share != SECRET


def _said(kernel: Kernel, hctl: str) -> tuple[object, ...]:
    """All that there is of a disk, or of a map."""
    if above := kernel.maps.get(hctl):
        return (tuple(above.paths), above.owner, above.set_read_only, above.size, above.node)
    found = kernel.device(hctl)
    if found is None:
        return ("gone",)
    device: Device = found[1]
    return (device.owner, device.set_read_only, device.node, device.wwid, found[0].sid)


def scene() -> Scene:
    """Such a host."""
    units = [Lun(target, (portal,), lun, wwid, SIZE, (INITIATOR,)) for target, portal, lun, wwid in UNITS]
    units += [Lun(port, (), 4, wwid, SIZE, (LOCAL,)) for port, wwid in FIBRE]
    raw = SimulatedHost(San(units))
    raw.kernel.multipathd.runs = True
    for share in SHARES:
        for name in FILES:
            raw.san.nfs.put(share, name, size=SIZE)
    raw.kernel.shares.open[SRV.file("busy.img")] = raw.kernel.shares.open[MORE.file("busy.img")] = [ADMIN]
    made = _administrators(raw)
    for remote in (ARRAY, STRANGE):
        raw.fabric.connect(LOCAL, remote)
    scene = Scene(raw, raw.inventory())
    there = {device.hctl: device.wwid for _, device in raw.kernel.devices()}
    scene.lent = frozenset(f"multipathd knows {hctl}" for hctl, wwid in there.items() if wwid in REACHED)
    scene.theirs = {key: _said(raw.kernel, key) for key in (*there, *raw.kernel.maps)}
    assert len(made) == 4
    return scene


def _administrators(raw: SimulatedHost) -> list[str]:
    """What was there before: two sessions, four disks, one of them in a map, a domain that uses one, a mount, a link,
    a disk made of a file.
    """
    kernel, theirs = raw.kernel, TARGETS[2]
    made = []
    for portal, luns in ((ABROAD, (5, 6)), (ONE, (7, 8))):
        raw.foreign_session(theirs, portal)
        for lun in luns:
            kernel.multipathd.greedy = lun == 6
            made.append(raw.foreign_device(theirs, portal, lun))
    kernel.multipathd.greedy = False
    raw.open_device(made[3], holder=ADMIN)
    raw.open_device(made[0], holder="domain web")
    raw.add_domain("web")
    raw.add_domain("idle", active=False)
    raw.add_domain("free")
    kernel.domains["web"].disks["sda"] = "/dev/sda"
    kernel.links["theirs"] = "/srv/somewhere"
    kernel.shares.add("/mnt", SECRET.source)
    kernel.shares.add(SECRET.point, SECRET.source)
    wwid = wwid_of(THEIR_FILE)
    nexus = kernel.nexuses[wwid] = kernel.new_nexus(LOOPBACK, SECRET.source)
    kernel.shares.disks[wwid] = FileDisk(SECRET, "a.img", 1, SIZE)
    kernel.put_device(nexus, f"{nexus.host}:0:1:0", wwid=wwid, size=SIZE)
    kernel.probe()
    return made


def given(kernel: Kernel, name: str) -> Device | None:
    """The disk that a name leads to right now, for who is handed it."""
    at = kernel.device_links.get(kernel.links.get(name, "").rpartition("/")[2], "")
    found = kernel.device(at)
    return found[1] if found else None


def link_of(name: str) -> str:
    """What a domain is told of it."""
    return f"{LINKS}/{name}"
