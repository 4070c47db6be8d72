"""What is read from sysfs, iscsid's database and our own links, over trees as the kernel and iscsid lay them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.host import iscsiadm, links, node_db, sysfs
from agent.host.roots import Roots
from agent.host.uevents import alarms, matters
from attachers.steps import DEVICES
from tests.unit.linux_tree import PORTAL, TARGET, WWID, add_disk, add_session, roots_in, write


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return roots_in(tmp_path)


def test_a_host_without_iscsi_shows_nothing(roots: Roots) -> None:
    assert sysfs.sessions(roots, TARGET) == ()
    assert node_db.portals(roots, TARGET) == ()
    assert sysfs.disk(roots, "0:0:0:0") is None
    assert iscsiadm.initiator_name(roots) == ""


def test_a_session_with_its_portal_host_and_all_its_devices(roots: Roots) -> None:
    session = add_session(roots, 3, host=9)
    add_disk(roots, session, 2, "sdb")
    add_disk(roots, session, 1)
    add_session(roots, 4, host=10, target="iqn.2003-01.org.cdmi:other")
    (found,) = sysfs.sessions(roots, TARGET.upper().replace("IQN", "iqn"))
    assert (found.sid, found.host, found.portal, found.state) == (3, 9, PORTAL, "LOGGED_IN")
    assert found.devices == ("9:0:0:1", "9:0:0:2")


@pytest.mark.parametrize(
    ("address", "portal"),
    [
        ("10.0.0.7", "10.0.0.7:3260"),
        ("fd00::7", "[fd00::7]:3260"),
        ("[fd00::7]", "[fd00::7]:3260"),
        ("FD00:0:0::0007", "[fd00::7]:3260"),
        ("storage.example", PORTAL),
        ("", PORTAL),
        ("(null)", PORTAL),
    ],
)
def test_portals_are_canonical_and_names_give_way_to_the_address_in_use(
    roots: Roots, address: str, portal: str
) -> None:
    add_session(roots, address=address)
    assert [session.portal for session in sysfs.sessions(roots, TARGET)] == [portal]


def test_several_sessions_to_one_portal_are_all_seen(roots: Roots) -> None:
    add_session(roots, 10, host=7)
    add_session(roots, 9, host=6, state="FAILED")
    assert [(s.sid, s.state) for s in sysfs.sessions(roots, TARGET)] == [(9, "FAILED"), (10, "LOGGED_IN")]


def test_a_target_is_asked_for_as_it_is_written_and_found_in_capitals_too(roots: Roots) -> None:
    """Case 81: names are folded to be compared, and never to be sent."""
    add_session(roots, target=TARGET.upper())
    (session,) = sysfs.sessions(roots, TARGET)
    assert session.target == TARGET


def test_a_session_that_vanishes_while_it_is_read_is_left_out(roots: Roots) -> None:
    session = add_session(roots)
    (session / "iscsi_session/session1/device").unlink()
    assert sysfs.sessions(roots, TARGET) == ()


def test_a_disk_with_its_size_its_names_and_its_numbers(roots: Roots) -> None:
    hctl = add_disk(roots, add_session(roots), 1, wwid=WWID.upper())
    place = f"{roots.sys}/class/scsi_device/{hctl}/device"
    disk = sysfs.disk(roots, hctl)
    assert disk == sysfs.Disk(hctl, place, "sda", "8:16", "running", 64 << 20, False, WWID)
    assert (sysfs.numbers(disk), sysfs.character_numbers(disk)) == (["8:16", "8:17"], ["250:1"])
    assert sysfs.is_still(disk)
    write(Path(place) / "block/sda/dev", "8:32")
    assert not sysfs.is_still(disk)


def test_a_disk_has_no_node_before_the_block_device_is_there(roots: Roots) -> None:
    disk = sysfs.disk(roots, add_disk(roots, add_session(roots), 1, None, wwid="t10.LIO-ORG d1"))
    assert disk is not None
    assert (disk.node, disk.size, disk.number, disk.wwid) == (None, 0, "", "t10.LIO-ORG d1")
    assert sysfs.is_still(disk)


@pytest.mark.parametrize(
    ("entry", "portal"),
    [
        ("10.0.0.1,3260,1", "10.0.0.1:3260"),
        ("10.0.0.1,3260", "10.0.0.1:3260"),
        ("10.0.0.1,3260,-1", "10.0.0.1:3260"),
        ("10.0.0.1,860,65535", "10.0.0.1:860"),
        ("fd00::1,3260,1", "[fd00::1]:3260"),
        ("[fd00::1],3260,1", "[fd00::1]:3260"),
        (",3260,-1", None),
        ("storage.example,3260,1", None),
        ("10.0.0.1", None),
        ("10.0.0.1,99999,1", None),
    ],
)
@pytest.mark.parametrize("where", ["etc", "lib"])
def test_records_of_both_forms_in_either_place(roots: Roots, entry: str, portal: str | None, where: str) -> None:
    (getattr(roots, where) / "iscsi/nodes" / TARGET / entry).mkdir(parents=True)
    assert node_db.portals(roots, TARGET) == ((portal,) if portal else ())


def test_a_portal_with_and_without_a_tpgt_is_one_portal(roots: Roots) -> None:
    for entry in ("10.0.0.1,3260", "10.0.0.1,3260,1"):
        (roots.etc / "iscsi/nodes" / TARGET / entry).mkdir(parents=True)
    assert node_db.portals(roots, TARGET) == (PORTAL,)


def test_the_initiators_name(roots: Roots) -> None:
    write(roots.etc / "iscsi/initiatorname.iscsi", "## a comment\nInitiatorName=iqn.1993-08.org.debian:01:8d2\n")
    assert iscsiadm.initiator_name(roots) == "iqn.1993-08.org.debian:01:8d2"


OWN, HOST = "iqn.2026-01.org.example:storage", "iqn.1993-08.org.debian:01:8d2"


def add_iface(roots: Roots, text: str, where: str = "etc") -> None:
    """The interface `storage`, on a host with a name."""
    write(roots.etc / "iscsi/initiatorname.iscsi", f"InitiatorName={HOST}\n")
    write(getattr(roots, where) / "iscsi/ifaces/storage", f"# BEGIN RECORD 2.1.8\n{text}\n# END RECORD\n")


@pytest.mark.parametrize("where", ["etc", "lib"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"iface.iscsi_ifacename = storage\niface.initiatorname = {OWN}\niface.transport_name = tcp", OWN),
        (f"iface.initiatorname={OWN}", OWN),
        (f"  iface.initiatorname\t=  {OWN} \t", OWN),
        (f"iface.initiatorname = {HOST}:old\niface.initiatorname = {OWN}", OWN),
        (f"iface.initiatorname = {OWN}\niface.initiatorname = <empty>", HOST),
        ("iface.initiatorname = <empty>", HOST),
        ("iface.initiatorname =", HOST),
        ("iface.initiatorname", HOST),
        (f"#iface.initiatorname = {OWN}", HOST),
        (f"  # iface.initiatorname = {OWN}", HOST),
        (f"iface.initiatorname_old = {OWN}", HOST),
        (f"iface.initiatorname = {OWN} and more", HOST),
        (f"iface.initiatorname = {'i' * 224}", HOST),
        ("iface.net_ifacename = eth1", HOST),
        ("", HOST),
    ],
)
def test_the_name_that_a_login_by_an_interface_says(roots: Roots, where: str, text: str, name: str) -> None:
    """Case 87: its own where it has one, else the host's."""
    add_iface(roots, text, where)
    assert iscsiadm.initiator_name(roots, "storage") == name
    assert iscsiadm.initiator_name(roots) == HOST


def test_an_interface_that_is_not_there_or_is_open_iscsis_own_has_the_hosts_name(roots: Roots) -> None:
    add_iface(roots, f"iface.initiatorname = {OWN}")
    for name in ("", "default", "iser"):  # of which open-iscsi reads no file
        write(roots.etc / "iscsi/ifaces" / (name or "x"), f"iface.initiatorname = {OWN}\n")
        assert iscsiadm.initiator_name(roots, name) == HOST
    assert iscsiadm.initiator_name(roots, "other") == HOST


def test_the_interface_beside_the_records_counts(roots: Roots) -> None:
    """What another version left elsewhere is read by no iscsiadm."""
    add_iface(roots, f"iface.initiatorname = {HOST}:old", "etc")
    add_iface(roots, f"iface.initiatorname = {OWN}", "lib")
    (roots.lib / "iscsi/nodes").mkdir()
    assert iscsiadm.initiator_name(roots, "storage") == OWN


# The lock that a killed iscsiadm leaves behind (attach.md, case 25)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lock there is was taken long ago."""
    monkeypatch.setattr(node_db, "HELD_S", -1.0)


@pytest.mark.usefixtures("old")
def test_a_stale_lock_is_removed(roots: Roots) -> None:
    write(roots.run / "lock/iscsi/lock.write", "")
    write(roots.proc / "17/comm", "iscsid")
    write(roots.proc / "17/maps", "7f00-7f01 r-xp 0 8:1 1 /usr/lib/libc.so.6")
    assert node_db.clear_stale_lock(roots)
    assert not node_db.clear_stale_lock(roots)


def test_a_lock_that_was_just_taken_stays_though_nobody_seems_to_hold_it(roots: Roots) -> None:
    """Case 88."""
    write(roots.run / "lock/iscsi/lock.write", "")
    assert node_db.is_just_taken(roots)
    assert not node_db.clear_stale_lock(roots)


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("how", ["by the library", "by another name", "not to be looked into"])
def test_a_lock_that_somebody_else_may_hold_stays(roots: Roots, how: str) -> None:
    """Case 88: udisks takes it through libopeniscsiusr."""
    write(roots.run / "lock/iscsi/lock.write", "")
    write(roots.proc / "17/comm", "udisksd")
    match how:
        case "by the library":
            write(roots.proc / "17/maps", "7f00-7f01 r-xp 0 8:1 1 /usr/lib/libopeniscsiusr.so.0.2.0")
        case "by another name":
            (roots.proc / "17/exe").symlink_to("/usr/sbin/iscsiadm (deleted)")
        case _:
            (roots.proc / "17/maps").mkdir()
    assert not node_db.clear_stale_lock(roots)


@pytest.mark.usefixtures("old")
def test_a_lock_in_use_stays(roots: Roots) -> None:
    write(roots.run / "lock/iscsi/lock.write", "")
    write(roots.proc / "17/comm", "iscsiadm")
    assert not node_db.clear_stale_lock(roots)
    assert (roots.run / "lock/iscsi/lock.write").exists()


@pytest.mark.usefixtures("old")
def test_a_lock_that_changes_hands_during_the_look_stays(roots: Roots) -> None:
    """Its new owner began after the processes had been listed."""
    link, name = roots.run / "lock/iscsi/lock.write", roots.proc / "17/comm"
    write(link, "")
    before = link.stat().st_ctime_ns
    name.parent.mkdir(parents=True)
    os.mkfifo(name)
    with ThreadPoolExecutor(1) as pool:
        cleared = pool.submit(node_db.clear_stale_lock, roots)
        with name.open("w") as comm:  # opens when the look is at this process
            while link.stat().st_ctime_ns == before:  # the file system's clock ticks every few milliseconds
                link.unlink()
                write(link, "")
            comm.write("sh")
        assert not cleared.result(timeout=10)
    assert link.exists()


# Links and claims


def test_links_are_made_changed_and_taken_away(roots: Roots) -> None:
    links.claim(roots, "6:0:0:1")
    links.put_device(roots, WWID, "6:0:0:1", "sda")
    links.put_name(roots, "vm1", WWID)
    assert (roots.devices / WWID).readlink() == Path("../sda")
    assert (roots.devices / "path/6:0:0:1").readlink() == Path("../../sda")
    assert links.of_name(roots, "vm1") == f"{DEVICES}/{WWID}"
    assert links.of_device(roots, WWID) == "/dev/sda"
    links.put_device(roots, WWID, "6:0:0:1", "sdb")
    assert links.of_device(roots, WWID) == "/dev/sdb"
    assert {link.name for link in links.to_node(roots.devices, "sdb")} == {WWID, "6:0:0:1"}
    assert links.to_node(roots.devices, "sda") == []
    assert links.names_of(roots, WWID) == {"vm1"}
    for _ in range(2):
        links.drop_name(roots, "vm1")
        links.drop_device(roots, WWID)
    assert links.of_name(roots, "vm1") is None
    assert links.of_device(roots, WWID) is None


def test_a_claim_tells_udev_the_owner(roots: Roots) -> None:
    links.claim(roots, "6:0:0:1")
    assert links.is_claimed(roots, "6:0:0:1")
    links.claim(roots, "6:0:0:1", (64055, 106))
    assert (roots.claims / "6:0:0:1").read_text() == "CDMI_ATTACH_USER=64055\nCDMI_ATTACH_GROUP=106\n"
    assert [path.name for path in roots.claims.iterdir()] == ["6:0:0:1"]
    links.drop_claim(roots, "6:0:0:1")
    assert not links.is_claimed(roots, "6:0:0:1")


def test_udev_has_finished_when_its_entry_is_there_and_its_queue_is_not(roots: Roots) -> None:
    disk = sysfs.disk(roots, add_disk(roots, add_session(roots), 1))
    assert disk is not None
    assert links.is_probed(roots, disk)  # no udev at all
    write(roots.run / "udev/control", "")
    assert not links.is_probed(roots, disk)
    write(roots.run / "udev/data/b8:16", "")
    assert links.is_probed(roots, disk)
    write(roots.run / "udev/queue", "")
    assert not links.is_probed(roots, disk)


def test_udev_has_finished_with_this_disk_and_not_with_the_one_before(roots: Roots) -> None:
    disk = sysfs.disk(roots, add_disk(roots, add_session(roots), 1))
    assert disk is not None
    for name, content in (("control", ""), ("queue", ""), ("data/b8:16", "S:x\nE:CDMI_ATTACH_DISKSEQ=6\n")):
        write(roots.run / "udev" / name, content)
    write(Path(disk.place) / "block/sda/diskseq", "7")
    assert not links.is_probed(roots, disk)
    write(roots.run / "udev/data/b8:16", "S:x\nE:CDMI_ATTACH_DISKSEQ=7\n")
    assert links.is_probed(roots, disk), "whatever else udev has to do"


# Events


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        (b"add@/devices/x\0ACTION=add\0SUBSYSTEM=block\0SEQNUM=1\0", True),
        (b"change@/devices/x\0SUBSYSTEM=scsi\0SDEV_UA=INQUIRY_DATA_HAS_CHANGED\0", True),
        (b"libudev\0\xfe\xed\xca\xfe(\0\0\0(\0\0\0\0SUBSYSTEM=iscsi_session\0", True),
        (b"change@/devices/x\0SUBSYSTEM=fc_remote_ports\0", True),
        (b"add@/devices/x\0SUBSYSTEM=net\0INTERFACE=SUBSYSTEM=block\0", False),
        (b"", False),
    ],
)
def test_events_of_storage_matter(message: bytes, ours: bool) -> None:
    assert matters(message) is ours


@pytest.mark.parametrize(
    ("message", "alarm"),
    [
        (b"remove@/devices/x\0ACTION=remove\0DEVPATH=/devices/x\0SUBSYSTEM=block\0SEQNUM=1\0", True),
        (b"libudev\0\xfe\xed\xca\xfe(\0\0\0(\0\0\0\0UDEV_DATABASE_VERSION=1\0ACTION=remove\0SUBSYSTEM=scsi\0", True),
        (b"change@/devices/x\0ACTION=change\0SUBSYSTEM=scsi\0SDEV_UA=REPORTED_LUNS_DATA_HAS_CHANGED\0", True),
        (b"change@/devices/x\0ACTION=change\0SUBSYSTEM=block\0RESIZE=1\0", False),
        (b"add@/devices/x\0ACTION=add\0SUBSYSTEM=block\0", False),
        (b"", False),
    ],
)
def test_some_events_are_a_reason_to_look_at_once(message: bytes, alarm: bool) -> None:
    assert alarms(message) is alarm
