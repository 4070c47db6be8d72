"""What a daemon that was taken over may ask of the helper: each step and each look that is refused it, and why."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from agent.host.allowed import Allowed, Place
from agent.host.confined import ConfinedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import Lun
from attachers.nfs_share import Share
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, FcQuery, IscsiQuery, NfsQuery
from attachers.steps import (
    AnnounceMap,
    CreateRecord,
    DeleteRecord,
    Disown,
    GiveDisk,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    MakeDisk,
    Mount,
    Own,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveMap,
    Rescan,
    ResizeMap,
    Scan,
    Step,
    TakeDisk,
    Unmount,
    Unpublish,
    WriteOutFile,
)
from tests.unit.guarded_world import OTHER, WWID, P, T, a_host, act, guard

A, B = "https://a.example.org/", "https://b.example.org/"
PORT, STRANGE = "2000020000000011", "2000020000000013"
ABROAD = "192.0.2.1:3260"
INSIDE, OUTSIDE = Share("10.0.0.5", "/srv", "4.2"), Share("192.0.2.5", "/srv", "4.2")
DISK = "naa.6001405" + "7" * 25
ALLOWED = Allowed(
    (Place(A, (ip_network("10.0.0.0/24"),), (PORT,), chap=True), Place(B, (ip_network("10.0.1.0/24"),), (PORT,))),
    owner="oneadmin:disk",
    nfs_options="hard",
)


class Rules:
    """The configuration of the moment; a test may change it."""

    def __init__(self) -> None:
        self.says: Allowed | Problem = ALLOWED

    def __call__(self) -> Allowed:
        if isinstance(self.says, Problem):
            raise self.says
        return self.says


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def raw() -> SimulatedHost:
    """A host with an administrator's session at a portal that nobody configured, and files on NFS."""
    raw = a_host()
    raw.san.add(Lun(T, (ABROAD,), 3, OTHER, 1 << 20, (raw.kernel.initiator,)))
    for share in (INSIDE, OUTSIDE):
        raw.san.nfs.put(share, "a.img", size=1 << 20)
    raw.kernel.multipathd.runs = True
    raw.add_domain("web")
    return raw


@pytest.fixture
async def host(raw: SimulatedHost, rules: Rules) -> AsyncIterator[ConfinedHost]:
    host = ConfinedHost(await guard(raw), rules)
    yield host
    await host.close()


async def refused(host: ConfinedHost, step: Step) -> Problem:
    with pytest.raises(Problem) as caught:
        await act(host, step)
    assert caught.value.hint
    return caught.value


async def look(host: ConfinedHost, *, portal: str = P, lun: int = 1, wwid: str = WWID) -> None:
    await host.observe(IscsiQuery("vm", T, (portal,), lun, wwid))


async def attached(host: ConfinedHost, *, read_only: bool = False) -> None:
    await act(host, CreateRecord(T, P), Login(T, P), Scan("3:0:0:1", T, P))
    await look(host)
    await host.changed(host.changes, timeout_s=1)
    await act(host, Publish("vm", "3:0:0:1", WWID, read_only, "oneadmin:disk"))


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (CreateRecord(T, ABROAD), "storage_networks"),
        (CreateRecord(T, "127.0.0.1:3260"), "storage_networks"),
        (Login(T, ABROAD), "storage_networks"),
        (CreateRecord(T, P, iface="other"), "interface"),
        (Login(T, P, iface="other"), "interface"),
        (CreateRecord(T, "10.0.1.1:3260", chap=A), A),
        (Login(T, "10.0.1.1:3260", chap=A), A),
        (CreateRecord(T, "10.0.1.1:3260", chap=B), B),
        (CreateRecord(T, P, chap="https://c.example.org/"), "c.example.org"),
        (Scan("3:0:0:1", T, ABROAD), "storage_networks"),
        (Scan("3:0:0:1", STRANGE, PORT), "storage_wwpns"),
        (Own((PORT, STRANGE), 1), "storage_wwpns"),
        (Mount(OUTSIDE, ""), "storage_networks"),
        (MakeDisk(OUTSIDE, "a.img", DISK, 1 << 20), "storage_networks"),
        (PublishFile("vm", OUTSIDE, "a.img"), "storage_networks"),
        (AnnounceMap(WWID, "mallory:disk"), "device_owner"),
        (Publish("vm", "3:0:0:1", WWID, False, "mallory:disk"), "device_owner"),
    ],
    ids=lambda value: value.describe() if not isinstance(value, str) else "",
)
async def test_what_the_configuration_does_not_allow(
    host: ConfinedHost, raw: SimulatedHost, step: Step, word: str
) -> None:
    before = raw.inventory()
    problem = await refused(host, step)
    assert problem.code is Code.FORBIDDEN and word in problem.detail
    assert raw.inventory() == before and not host.created


async def test_without_storage_wwpns_any_port_may_be_a_servers(host: ConfinedHost, rules: Rules) -> None:
    rules.says = Allowed((Place(A),))
    await act(host, Own((STRANGE,), 1))


async def test_without_any_server_nothing_is_allowed(host: ConfinedHost, rules: Rules) -> None:
    rules.says = Allowed()
    for step in (Own((STRANGE,), 1), CreateRecord(T, P), Mount(INSIDE, "")):
        assert (await refused(host, step)).code is Code.FORBIDDEN


async def test_what_is_allowed_is_attached_and_goes_whatever_is_configured_by_then(
    host: ConfinedHost, raw: SimulatedHost, rules: Rules
) -> None:
    before = raw.inventory()
    await attached(host)
    await act(host, GiveDisk("vm", "web", "sda", "scsi", read_only=False))
    rules.says = Problem(Code.UNAVAILABLE, "no configuration", hint="write one")
    assert (await refused(host, CreateRecord(T, "10.0.0.2:3260"))).code is Code.UNAVAILABLE
    await act(host, TakeDisk("vm", "web", "sda"), Unpublish("vm", WWID))
    await act(host, RemoveDevice("3:0:0:1", WWID), Logout(T, P), DeleteRecord(T, P))
    assert raw.inventory() == before


async def test_mount_options_are_the_configurations(host: ConfinedHost, raw: SimulatedHost) -> None:
    raw.san.nfs.versions[INSIDE.server] = ("4.1",)
    await act(host, Mount(Share(INSIDE.server, INSIDE.export, "4.1"), "soft,port=1"))
    ((_, mount),) = raw.kernel.shares.mounts
    assert "hard" in mount.options and "soft" not in mount.options
    assert (await refused(host, Mount(INSIDE, "", downgrade=True))).code is Code.TARGET_REFUSED


async def test_a_disk_at_a_portal_that_nobody_configured_is_never_handed_out(
    host: ConfinedHost, raw: SimulatedHost
) -> None:
    raw.foreign_session(T, ABROAD)
    hctl = raw.foreign_device(T, ABROAD, 3)
    raw.kernel.probe()
    await look(host, portal=ABROAD, lun=3, wwid=OTHER)
    for step in (
        Publish("vm", hctl, OTHER, True, ""),
        Rescan(hctl, OTHER),
        JoinMap(hctl, OTHER),
        Publish("vm", "9:0:0:1", OTHER, True, ""),
    ):
        assert (await refused(host, step)).code in (Code.FORBIDDEN, Code.UNAVAILABLE)
    assert not raw.kernel.links


async def test_a_map_of_others_is_not_ours_because_its_name_was_announced_first(
    host: ConfinedHost, raw: SimulatedHost
) -> None:
    """multipathd makes it later, of the administrator's disk; udev would hide it, and give it away."""
    assert (await refused(host, AnnounceMap(OTHER, "oneadmin:disk"))).code is Code.UNAVAILABLE
    raw.kernel.multipathd.greedy = True
    raw.foreign_session(T, ABROAD)
    raw.foreign_device(T, ABROAD, 3)
    assert raw.kernel.maps
    await look(host, portal=ABROAD, lun=3, wwid=OTHER)
    before = raw.inventory()
    for step in (
        AnnounceMap(OTHER, "oneadmin:disk"),
        Publish("vm", "", OTHER, True, ""),
        RemoveMap(OTHER),
        ResizeMap(OTHER, 4096),
        LeaveMap("3:0:0:3", OTHER),
    ):
        assert (await refused(host, step)).code is Code.CONFLICT
    assert raw.inventory() == before


async def test_a_lun_that_was_named_before_its_session_is_not_taken_from_an_administrators_one(
    host: ConfinedHost, raw: SimulatedHost
) -> None:
    """Whose target it is cannot be known before there is a session: it is judged by the session that the disk is on."""
    await act(host, Own((T,), 3))
    raw.foreign_session(T, ABROAD)
    hctl = raw.foreign_device(T, ABROAD, 3)
    raw.kernel.probe()
    before = raw.inventory()
    for wwid in (None, OTHER):
        assert (await refused(host, RemoveDevice(hctl, wwid))).code is Code.CONFLICT
    assert raw.inventory() == before


async def test_only_what_is_published_here_is_given_to_a_domain(host: ConfinedHost, raw: SimulatedHost) -> None:
    raw.kernel.links["theirs"] = "/dev/cdmi-attach/naa.6001405000000009"
    for name in ("theirs", "nothing"):
        assert (await refused(host, GiveDisk(name, "web", "sda", "scsi", read_only=True))).code is Code.CONFLICT
    await attached(host)
    raw.kernel.links["vm"] = "/dev/sda"  # somebody has changed it
    assert (await refused(host, GiveDisk("vm", "web", "sda", "scsi", read_only=True))).code is Code.CONFLICT
    assert not raw.kernel.domains["web"].disks


async def test_what_is_published_for_reading_is_not_given_for_writing(host: ConfinedHost, raw: SimulatedHost) -> None:
    await attached(host, read_only=True)
    give = GiveDisk("vm", "web", "sda", "scsi", read_only=False)
    assert "reading only" in (await refused(host, give)).detail
    assert "a disk" in (await refused(host, GiveDisk("vm", "web", "sda", "scsi", True, "file"))).detail
    await act(host, Publish("vm", "3:0:0:1", WWID, False, "oneadmin:disk"), give)
    assert raw.kernel.domains["web"].disks


@pytest.mark.parametrize("first", [True, False])
async def test_what_could_not_be_published_for_writing_is_not_given_for_writing(
    host: ConfinedHost, raw: SimulatedHost, first: bool
) -> None:
    """A refused publication says nothing of the one that stands, nor of the next one."""
    raw.foreign_session(T, P)
    hctl = raw.foreign_device(T, P, 1)
    raw.open_device(hctl)
    await look(host)
    read, write = (Publish("vm", hctl, WWID, read_only, "") for read_only in (True, False))
    for step in (read, write) if first else (write, read):
        await act(host, step) if step is read else await refused(host, step)
    assert "reading only" in (await refused(host, GiveDisk("vm", "web", "sda", "scsi", read_only=False))).detail
    assert (await refused(host, Publish("other", hctl, WWID, False, ""))).code is Code.IN_USE
    await act(host, GiveDisk("vm", "web", "sda", "scsi", read_only=True))


async def test_only_what_is_published_here_is_read(host: ConfinedHost, raw: SimulatedHost) -> None:
    raw.kernel.device_links[OTHER] = "3:0:0:2"
    await attached(host)
    for wwid in (OTHER, "naa.6001405000000009"):
        with pytest.raises(Problem) as caught:
            await host.observe(BlocksQuery(wwid, 0, 4096, 1, 1, 1))
        assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(Problem) as caught:
        await host.observe(BlocksQuery(WWID, 0, 4096, 1, 1 << 20, 1))
    assert caught.value.code is Code.UNAVAILABLE, "there is no such memory: the disk itself may be read"
    with pytest.raises(Problem) as caught:
        await host.act(Unpublish("vm", WWID), timeout_s=1, then=BlocksQuery(WWID, 0, 4096, 1, 1, 1))
    assert caught.value.code is Code.BAD_REQUEST


async def test_no_disk_is_made_of_a_file_that_somebody_has_open_and_none_is_handed_out(
    host: ConfinedHost, raw: SimulatedHost
) -> None:
    await act(host, Mount(INSIDE, ""))
    place = INSIDE.file("a.img")
    raw.kernel.shares.open[place] = ["qemu (pid 4711)"]
    for step in (MakeDisk(INSIDE, "a.img", DISK, 1 << 20), PublishFile("vm", INSIDE, "a.img")):
        problem = await refused(host, step)
        assert problem.code is Code.IN_USE and "4711" in problem.detail
    del raw.kernel.shares.open[place]
    await act(host, PublishFile("vm", INSIDE, "a.img"), GiveDisk("vm", "web", "sda", "scsi", False, "file"))
    await act(host, Unpublish("vm", None), PublishFile("vm", INSIDE, "a.img"))  # a refused detach puts it back
    assert (await refused(host, PublishFile("other", OUTSIDE, "a.img"))).code is Code.FORBIDDEN
    assert (await refused(host, WriteOutFile(OUTSIDE, "a.img", DISK))).code is Code.CONFLICT, "no mount of ours"
    assert (await refused(host, MakeDisk(INSIDE, "a.img", DISK, 1 << 20))).code is Code.IN_USE


async def test_no_disk_gets_the_name_of_another_one(host: ConfinedHost, raw: SimulatedHost) -> None:
    """multipathd would write to it in place of that one. Its name may be one of LIO's as well."""
    raw.san.add(Lun(T, (ABROAD,), 9, DISK, 1 << 20, (raw.kernel.initiator,)))
    raw.kernel.multipathd.greedy = True
    raw.foreign_session(T, ABROAD)
    raw.foreign_device(T, ABROAD, 9)
    await refused(host, AnnounceMap(DISK))
    await act(host, Mount(INSIDE, ""))
    before = raw.inventory()
    assert (await refused(host, MakeDisk(INSIDE, "a.img", DISK, 1 << 20))).code is Code.CONFLICT
    assert raw.inventory() == before


async def test_a_disk_that_others_made_of_a_file_is_not_handed_out(host: ConfinedHost, raw: SimulatedHost) -> None:
    theirs = await guard(raw)
    await act(theirs, Mount(OUTSIDE, ""), MakeDisk(OUTSIDE, "a.img", DISK, 1 << 20))
    raw.kernel.probe()
    hctl = next(device.hctl for _, device in raw.kernel.devices())
    await host.observe(NfsQuery("vm", OUTSIDE, "a.img", DISK))
    assert (await refused(host, Publish("vm", hctl, DISK, True, ""))).code is Code.CONFLICT
    before = raw.inventory()
    for step in (Unmount(OUTSIDE), Rescan(hctl, DISK)):
        assert (await refused(host, step)).code is Code.CONFLICT
    assert raw.inventory() == before


async def test_a_port_that_came_by_itself_is_a_servers_or_stays(host: ConfinedHost, raw: SimulatedHost) -> None:
    for target in (PORT, STRANGE):
        raw.san.add(Lun(target, (), 1, WWID if target == PORT else OTHER, 1 << 20, ("2000020000000010",)))
        raw.fabric.connect("2000020000000010", target)
    for target, wwid in ((PORT, WWID), (STRANGE, OTHER)):
        await host.observe(FcQuery("vm", (target,), 1, wwid))
        hctl = next(device.hctl for session, device in raw.kernel.devices() if session.target == target)
        step = Publish("vm", hctl, wwid, True, "")
        if target == PORT:
            await act(host, step, Unpublish("vm", wwid))
        else:
            assert "storage_wwpns" in (await refused(host, step)).detail


async def test_nobody_fills_the_disk_with_what_he_has_made(raw: SimulatedHost, rules: Rules) -> None:
    host = ConfinedHost(await guard(raw), rules, most=2)
    await act(host, Own((PORT,), 1), Own((PORT,), 2))
    for step in (Own((PORT,), 3), AnnounceMap(WWID), CreateRecord(T, P)):
        assert (await refused(host, step)).code is Code.CONFLICT
    await act(host, Disown((PORT,), 1), Own((PORT,), 3))
