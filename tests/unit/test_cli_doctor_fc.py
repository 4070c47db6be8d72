"""The doctor on Fibre Channel: silent where it is not configured, and clear about port, link and zoning where it is."""

from pathlib import Path

import pytest

from agent.cli.doctor_host import Done
from tests.unit.test_cli_doctor import CONFIG, World

HOST, REMOTE = "sys/class/fc_host/host7/port_state", "sys/class/fc_remote_ports/rport-7:0-0/roles"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "root").make()
    world.commands.said["cdmi-attachd"] = Done(0, f'{CONFIG}[attach]\nprotocols = ["iscsi", "fc"]\n')
    return world


@pytest.mark.parametrize(
    ("files", "level", "says", "mend"),
    [
        ({}, "failure", "no Fibre Channel port", "modprobe -a"),
        ({HOST: "Linkdown\n"}, "failure", "host7 is Linkdown", "port_state"),
        ({HOST: "Online\n"}, "warning", "no port sees a target", "roles"),
        ({HOST: "Online\n", REMOTE: "FCP Initiator\n"}, "warning", "no port sees a target", "roles"),
        ({HOST: "Online\n", REMOTE: "FCP Target, FCP Initiator\n"}, "ok", "1 targets are seen", ""),
    ],
)
def test_what_is_missing_is_named(world: World, files: dict[str, str], level: str, says: str, mend: str) -> None:
    for name, text in files.items():
        world.write(name, text)
    finding = world.finding("fc-ports")
    assert finding.level == level and says in finding.says and mend in finding.mend, finding
    assert bool(finding.means) == (level != "ok")


def test_a_host_without_fibre_channel_in_its_configuration_needs_none(world: World) -> None:
    world.commands.said["cdmi-attachd"] = Done(0, CONFIG)
    assert world.finding("fc-ports").level == "ok"
