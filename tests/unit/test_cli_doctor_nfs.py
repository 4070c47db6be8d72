"""The doctor on NFS: silent where it is not configured, and clear about modules and LIO where it is."""

from pathlib import Path

import pytest

from agent.cli.doctor_host import Done, Level
from tests.unit.test_cli_doctor import CONFIG, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root").make()


def test_nfs_is_looked_at_where_it_is_enabled(world: World) -> None:
    assert [world.finding(check).level for check in ("nfs-module", "lio")] == [Level.OK, Level.OK]
    world.commands.said["cdmi-attachd"] = Done(0, f'{CONFIG}[attach]\nprotocols = ["nfs"]\n', "OK\n")
    assert world.finding("nfs-module").level is Level.OK, "it can be loaded"
    missing = world.finding("lio")
    assert missing.level is Level.FAILURE and missing.mend.endswith("modprobe target_core_mod")
    (world.root / "sys/kernel/config/target/core").mkdir(parents=True)
    assert world.finding("lio").level is Level.OK
    world.commands.said["modprobe"] = Done(1)
    assert {world.finding(check).level for check in ("nfs-module", "lio")} == {Level.FAILURE}
    world.write("proc/filesystems", "nodev\tnfs4\n")
    assert world.finding("nfs-module").level is Level.OK
