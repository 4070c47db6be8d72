"""Fibre Channel over two fabrics on a real kernel: one map of both ways, one of them lost and back under a writer."""

import json

import pytest

from tests.lab.boot_sector import boot_sector
from tests.lab.execs import traced
from tests.lab.fc_scene import PAIRS, Fibre
from tests.lab.guest import Guest
from tests.lab.stage import Stage
from tests.lab.test_multipath import until

SERVICES = ("cdmi-attachd.service", "cdmi-attach-helperd.service")
ONE, TWO = PAIRS
WAYS = sorted(pair.via for pair in PAIRS)


@pytest.fixture(scope="module")
def fibre(guest: Guest) -> Fibre:
    """A guest with two fabrics, and multipathd as the distribution has it."""
    guest.run("systemctl start multipathd.service")
    return Fibre(Stage(guest)).set(config='protocols = ["fc", "iscsi"]')


def test_two_ways_one_map_no_process_and_nothing_left(fibre: Fibre) -> None:
    stage = fibre.stage
    before = stage.inventory()
    lun = fibre.make_lun("pair", content=boot_sector("booted over both"))
    with traced(fibre.guest, *SERVICES) as executed:
        stage.attach("pair", lun.source)
        view = until(stage, "pair", "attached")
    assert executed.programs == []
    assert view["verified"] and view["device"]["node"].startswith("/dev/dm-")
    assert sorted(path["via"] for path in view["device"]["paths"]) == WAYS
    stage.start_domain("pair", disk=view["disk_xml"], paused=False)
    assert "booted over both" in stage.boot_line("pair", "booted over")
    fibre.guest.run("virsh -q destroy pair")
    with traced(fibre.guest, *SERVICES) as executed:
        stage.detach("pair")
    assert executed.programs == []
    assert stage.inventory() == before
    assert fibre.export("pair")["permissions"] == []


def test_a_writer_sees_nothing_of_a_fabric_that_goes_and_comes(fibre: Fibre) -> None:
    """The kernel takes the disk of a lost way away and brings it back: it joins the map again, and goes with it."""
    stage = fibre.stage
    before = stage.inventory()
    lun = fibre.make_lun("writer")
    link = stage.attach("writer", lun.source)
    until(stage, "writer", "attached")
    command = f"cd /opt/cdmi-attach && exec /usr/bin/python3 -m tests.lab.inside_writer {link}"
    stage.guest.run(["systemd-run", "--quiet", "--unit=writer", "--property=RemainAfterExit=yes", "sh", "-c", command])
    fibre.pull(TWO, lost=True)
    until(stage, "writer", "degraded")
    fibre.plug(TWO)
    view = until(stage, "writer", "attached")
    assert sorted(path["via"] for path in view["device"]["paths"]) == WAYS
    told = "journalctl -o cat -u writer.service | grep written"
    said = stage.guest.run(f"systemctl kill writer.service; timeout 60 sh -c 'until {told}; do :; done'").stdout
    result = json.loads(said)
    print(result)
    assert result["errors"] == result["wrong"] == 0 and result["written"] > 100, said
    stage.guest.run("systemctl stop writer.service", check=False)
    stage.detach("writer")
    assert stage.inventory() == before
