"""Live migration by libvirt between two machines, with the drivers as they are installed, and a guest that writes."""

import pytest

from tests.lab.conftest import NewGuest
from tests.lab.one_life import Life
from tests.lab.one_lost import Lost
from tests.lab.one_scene import Machines, two_machines


@pytest.fixture(scope="module")
def site(new_guest: NewGuest) -> Machines:
    """Two hosts, the first of which is the front-end as well."""
    return two_machines(new_guest("test"), new_guest("test-other"))


async def test_a_guest_that_writes_moves_there_and_back(site: Machines) -> None:
    """What libvirt refuses first: a disk of the VM's that its destination could not attach, which nobody was told."""
    near, far = site.hosts
    life = Life(site, ("iscsi", "nfs"))
    await life.deployed(near)
    copy = f"cdmi://{site.address}/vms/one-5-1"
    site.hosts[far].attach("elsewhere", copy)
    await life.cannot_move(far)
    assert site.attached(far) == {"elsewhere"}
    site.hosts[far].detach("elsewhere")
    await life.migrated_live(far)
    await life.migrated_live(near)
    await life.ended()
    assert life.lost() == []


async def test_a_lost_host_is_withdrawn_before_its_vm_runs_elsewhere_and_gets_nothing_when_it_comes_back(
    site: Machines,
) -> None:
    near, far = site.hosts
    life = Life(site, ("iscsi",), tag="-lost")
    await life.deployed(far)
    lost = Lost(life, host=far, other=near)
    lost.stands_still()
    await lost.withdrawn()
    await lost.made_anew()
    lost.comes_back()
    lost.is_cleared()
    await life.ended()
    assert life.lost() == []
