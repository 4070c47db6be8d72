"""Fibre Channel over two fabrics on a real kernel: one map of both ways, one of them lost and back under a writer."""

import pytest

from tests.lab.boot_sector import boot_sector
from tests.lab.execs import traced
from tests.lab.fc_scene import PAIRS, Fibre
from tests.lab.guest import Guest
from tests.lab.stage import Stage
from tests.lab.test_multipath import sound, until
from tests.lab.writer import writing

SERVICES = ("cdmi-attachd.service", "cdmi-attach-helperd.service")
ONE, TWO = PAIRS
WAYS = sorted(pair.via for pair in PAIRS)


@pytest.fixture(scope="module")
def fibre(guest: Guest) -> Fibre:
    """A guest with two fabrics, and multipathd as the distribution has it."""
    guest.run("systemctl start multipathd.service")
    return Fibre(Stage(guest)).set(config='protocols = ["fc", "iscsi"]')


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


def test_a_writer_sees_nothing_of_a_fabric_that_goes_and_comes(fibre: Fibre) -> None:
    """The kernel takes the disk of a lost way away and brings it back: it joins the map again, and goes with it."""
    stage = fibre.stage
    before = fibre.inventory()
    lun = fibre.make_lun("writer")
    link = stage.attach("writer", lun.source)
    until(stage, "writer", "attached")
    with writing(fibre.guest, link) as result:
        fibre.pull(TWO, lost=True, writer=True)
        view = until(stage, "writer", "degraded")
        assert TWO.via in view["problem"]["detail"], view
        fibre.plug(TWO)
        view = until(stage, "writer", "attached")
        assert sorted(path["via"] for path in view["device"]["paths"]) == WAYS
    assert result.well
    stage.detach("writer")
    assert fibre.inventory() == before


def test_nothing_of_the_daemon_has_failed(fibre: Fibre) -> None:
    sound(fibre.stage)
