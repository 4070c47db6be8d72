"""What the doctor says of multipathd and the disks that are not proved."""

import subprocess
from pathlib import Path

import pytest

from agent.cli.doctor_host import Done
from tests.unit.test_cli_doctor import World
from tests.unit.test_cli_doctor import world as world


@pytest.mark.parametrize(("find", "level"), [("strict", "warning"), ("greedy", "failure"), ("no", "failure")])
def test_multipathd_has_to_leave_our_disks_alone(world: World, find: str, level: str) -> None:
    """sg3-utils' rules tell ID_WWN of a disk before it is proved: multipathd would make a map of our name of it."""
    world.commands.units["multipathd.service"] = "loaded active enabled"
    world.commands.said["multipathd"] = Done(0, f"defaults {{\n\tfind_multipaths {find}\n}}\n")
    finding = world.finding("multipath")
    assert finding.level == level and "/etc/multipath/conf.d/cdmi-attach.conf" in finding.mend
    written = subprocess.run(["sh", "-c", finding.mend.split("&&")[1].split(">")[0]], capture_output=True, check=True)
    shipped = Path(__file__).parents[2] / "systemd/multipath.conf"
    assert written.stdout.decode() == "".join(
        line for line in shipped.read_text().splitlines(keepends=True) if not line.startswith("#")
    )
