"""The drivers as they are installed, run by oneadmin without any sudo, on real kernels, with libvirt's own domains."""

import pytest

from tests.lab.guest import Guest
from tests.lab.one_life import Life
from tests.lab.one_scene import Machines, one_machine
from tests.opennebula.life import ok


@pytest.fixture(scope="module")
def machine(guest: Guest) -> Machines:
    """One guest is front-end and host."""
    return one_machine(guest)


def test_oneadmin_may_do_nothing_but_ask_the_daemon(machine: Machines) -> None:
    (stage,) = machine.hosts.values()
    assert stage.guest.run(["id", "-nG", "oneadmin"]).stdout.split() == ["oneadmin", "cdmi-attach"]
    assert stage.guest.run("command -v sudo pkexec doas", check=False).stdout == ""


def test_what_the_daemon_cannot_read_fails_its_reload(machine: Machines) -> None:
    """Else its devices would not be given to oneadmin, and the first VM would be the one to tell."""
    (stage,) = machine.hosts.values()
    folder, reload = "/etc/cdmi-attach/conf.d", "systemctl reload cdmi-attachd.service"
    done = stage.guest.run(f"chmod 700 {folder}; {reload}; s=$?; chmod 755 {folder}; exit $s", check=False)
    assert done.returncode
    assert "Permission denied" in stage.guest.run("journalctl -q -b -o cat -u cdmi-attachd -n 10").stdout
    stage.guest.run(reload)


async def test_a_vm_with_a_disk_of_every_kind_lives_and_ends(machine: Machines) -> None:
    (host,) = machine.hosts
    life = Life(machine, ("iscsi", "fc", "nfs"), writes=False)
    await life.deployed(host)
    more = await life.plugged("iscsi")
    await life.cannot_be_taken(more)
    await life.backed_up(more)
    await life.unplugged(more)
    ok(await life.snapshot(life.vm.disks[0], "SNAP_CREATE_LIVE"))
    await life.is_right()
    await life.ended()
