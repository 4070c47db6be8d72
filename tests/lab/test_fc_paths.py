"""Fibre Channel over two fabrics on a real kernel: one map of both ways, one of them lost and back under a writer."""

from collections.abc import Iterator

import pytest

from tests.lab.boot_sector import boot_sector
from tests.lab.execs import traced
from tests.lab.fc_scene import PAIRS, Fibre
from tests.lab.guest import Guest
from tests.lab.stage import LUN_SIZE, SERVICES, Stage
from tests.lab.test_multipath import until
from tests.lab.writing_guest import writing
from tests.lab.writing_sector import writing_sector

ONE, TWO = PAIRS
WAYS = sorted(pair.via for pair in PAIRS)


@pytest.fixture(scope="module")
def fibre(guest: Guest) -> Fibre:
    """A guest with two fabrics, and multipathd as the distribution has it."""
    guest.run("systemctl start multipathd.service")
    return Fibre(Stage(guest)).set(config='protocols = ["fc", "iscsi"]')


@pytest.fixture(autouse=True)
def cables(fibre: Fibre) -> Iterator[None]:
    """Every cable is in its place again after a test, however it ended."""
    yield
    fibre.plug()


def test_two_ways_one_map_no_process_and_nothing_left(fibre: Fibre) -> None:
    """Cases 13 and 44: who holds the map is named; both disks go with it."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("pair", content=boot_sector("booted over both"))
    with traced(fibre.guest, *SERVICES) as executed:
        stage.attach("pair", lun.source)
        view = until(stage, "pair", "attached")
    assert executed.programs == []
    assert view["verified"] and view["device"]["node"].startswith("/dev/dm-")
    assert sorted(path["via"] for path in view["device"]["paths"]) == WAYS
    stage.start_domain("pair", disk=view["disk_xml"], paused=False)
    assert "booted over both" in stage.boot_line("pair", "booted over")
    status, problem = stage.api("DELETE", "/v1/attachments/pair")
    assert (status, problem["code"]) == (409, "in-use") and "domain pair" in problem["detail"], problem
    fibre.guest.run("virsh -q destroy pair")
    with traced(fibre.guest, *SERVICES) as executed:
        stage.detach("pair")
    assert executed.programs == []
    assert fibre.inventory() == before
    assert fibre.export("pair")["permissions"] == []


def test_a_guest_that_writes_sees_nothing_of_a_fabric_that_goes_and_comes(fibre: Fibre) -> None:
    """The kernel takes the disk of a lost way away and brings it back: it joins the map again, and goes with it.

    Then another unit answers behind one way: it is out of the map with the next look, and the guest writes to its own.
    """
    stage = fibre.stage
    before = fibre.inventory()
    lun, other = fibre.make_lun("writer", content=writing_sector()), fibre.make_lun("neighbour")
    stage.attach("writer", lun.source)
    view = until(stage, "writer", "attached")
    with writing(stage, "writer", view["disk_xml"]) as writer:
        writer.goes_on()
        fibre.pull(TWO, lost=True, while_still=writer.while_still)
        view = until(stage, "writer", "degraded")
        assert TWO.via in view["problem"]["detail"], view
        writer.goes_on()
        fibre.plug(TWO)
        view = until(stage, "writer", "attached")
        assert sorted(path["via"] for path in view["device"]["paths"]) == WAYS
        writer.goes_on()
        stage.guest.run("virsh -q suspend writer")  # as for the cable: see tests/lab/writer.py
        fibre.remap(lun, TWO, other)
        stage.guest.run("virsh -q resume writer")
        status, view = stage.api("PUT", "/v1/attachments/writer", {"source": lun.source})
        assert (status, view["problem"]["code"]) == (200, "wrong-device"), view
        writer.goes_on(after=writer.told())  # what it wrote to the other unit before that look is that unit's now
    writer.has_lost_nothing(view["device"]["node"])
    status, problem = stage.api("DELETE", "/v1/attachments/writer")
    assert (status, problem["code"]) == (500, "dirty"), problem
    assert stage.give_up("writer"), "part of what is written to a map goes down each of its paths"
    assert fibre.inventory() == before


def test_a_grown_lun_grows_on_both_ways(fibre: Fibre) -> None:
    """Case 51."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("grows")
    stage.attach("grows", lun.source)
    view = until(stage, "grows", "attached")
    nodes = [view["device"]["node"], *(path["node"] for path in view["device"]["paths"])]
    sizes = " && ".join(f"blockdev --getsize64 {node}" for node in nodes)
    stage.resize("grows", 2 * LUN_SIZE)
    assert fibre.guest.run(sizes).stdout.split() == [str(LUN_SIZE)] * 3, "nobody has told this host"
    assert int(fibre.guest.run("cdmi-attach resize grows").stdout) == 2 * LUN_SIZE
    assert fibre.guest.run(sizes).stdout.split() == [str(2 * LUN_SIZE)] * 3
    stage.detach("grows")
    assert fibre.inventory() == before


def test_another_unit_inside_the_map_is_taken_out(fibre: Fibre) -> None:
    """Case 3: the array maps another LUN at one of its ports; nothing is written to that, and it is named."""
    stage = fibre.stage
    before = fibre.inventory()
    lun, other = fibre.make_lun("mixed"), fibre.make_lun("other", content=b"somebody else's".ljust(512, b"\0"))
    link = stage.attach("mixed", lun.source)
    view = until(stage, "mixed", "attached")
    inside = f"dmsetup deps -o devname {view['device']['node']}"
    assert fibre.guest.run(inside).stdout.startswith("2 dependencies")
    fibre.remap(lun, TWO, other)
    status, view = stage.api("PUT", "/v1/attachments/mixed", {"source": lun.source})
    assert (status, view["phase"], view["problem"]["code"]) == (200, "degraded", "wrong-device"), view
    assert TWO.via in view["problem"]["detail"] and other.wwid in view["problem"]["detail"], view
    assert fibre.guest.run(inside).stdout.startswith("1 dependencies")
    fibre.guest.run(f"dd if=/dev/zero of={link} bs=1M count=8 oflag=direct status=none")
    told = fibre.guest.run([*stage.read_value("other"), "-r", "0-511"]).stdout
    assert told.rstrip("\0") == "somebody else's"
    status, problem = stage.api("DELETE", "/v1/attachments/mixed")
    assert (status, problem["code"]) == (500, "dirty"), problem
    assert stage.give_up("mixed"), "nobody knows what was written to the other unit before"
    assert fibre.inventory() == before


def test_nothing_of_the_daemon_has_failed(fibre: Fibre) -> None:
    assert fibre.stage.defects() == ""
