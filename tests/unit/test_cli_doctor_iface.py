"""The doctor on the interface of open-iscsi that is configured: the name that a login by it says."""

from pathlib import Path

import pytest

from agent.cli.doctor_host import Done, Level
from tests.unit.test_cli_doctor import CONFIG, IQN, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root").make()


@pytest.mark.parametrize(
    ("text", "level", "says"),
    [
        (f"iface.initiatorname = {IQN}:storage\n", Level.OK, f"{IQN}:storage (of interface storage)"),
        ("iface.net_ifacename = eth1\n", Level.OK, IQN),
        ("iface.initiatorname = <empty>\n", Level.OK, IQN),
        ("iface.initiatorname = \niface.net_ifacename = eth1\n", Level.OK, IQN),
        ("iface.initiatorname = host one\n", Level.FAILURE, "'host one'"),
        (None, Level.FAILURE, "no interface 'storage'"),
    ],
)
@pytest.mark.parametrize("place", ["etc", "var/lib"])
def test_the_name_of_the_configured_interface(
    world: World, text: str | None, level: Level, says: str, place: str
) -> None:
    """Case 87: it is what a login says, and what is asked for on the server."""
    world.commands.said["cdmi-attachd"] = Done(0, f'{CONFIG}[iscsi]\ninterface = "storage"\n')
    if text is not None:
        world.write(f"{place}/iscsi/ifaces/storage", text)
    finding = world.finding("initiator-name")
    assert finding.level is level and says in finding.says
    assert "of interface" in finding.says or level is Level.FAILURE or finding.says == IQN
