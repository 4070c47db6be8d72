"""MV: stop, undeploy, their resume, cold migration, another system datastore, and a host that is lost."""

from dataclasses import replace

import pytest

from tests.opennebula.life import (
    BOTH_SYSTEMS,
    deployed,
    ended,
    failed,
    migrated_cold,
    ok,
    powered_off,
    rested,
    resumed,
    two_disks,
)
from tests.opennebula.oned import Lcm, Vm
from tests.opennebula.site import Site


def looks_right(site: Site, vm: Vm, *, elsewhere: str) -> None:
    """Each disk is the one that it was, on its host, and the other host has nothing."""
    assert [site.behind(vm.host, vm, disk) for disk in vm.disks] == ["data5", "base5"]
    assert site.hosts[elsewhere].is_bare()
    assert site.permitted("images/data5") == site.permitted("vms/one-5-1") == {vm.host}


SHARED, OWN = BOTH_SYSTEMS
STOP, UNDEPLOY = (Lcm.EPILOG_STOP, Lcm.PROLOG_RESUME), (Lcm.EPILOG_UNDEPLOY, Lcm.PROLOG_UNDEPLOY)


@pytest.mark.parametrize(("system", "lcm"), [(SHARED, STOP), (OWN, UNDEPLOY)])
async def test_stop_and_undeploy_leave_nothing_on_hosts(
    site: Site, system: tuple[str, int], lcm: tuple[Lcm, Lcm]
) -> None:
    vm = await rested(site, await deployed(site, await two_disks(site, system=system)), lcm[0])
    assert site.all_gone() and site.children("vms") == {"one-5-1"} and site.permitted("images/data5") == set()
    vm = await resumed(site, vm, "hostb", lcm[1])
    looks_right(site, vm, elsewhere="hosta")
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set()


@pytest.mark.parametrize(("system", "lcm"), [(SHARED, Lcm.PROLOG_MIGRATE), (OWN, Lcm.PROLOG_MIGRATE_POWEROFF)])
async def test_cold_migration_there_and_back(site: Site, system: tuple[str, int], lcm: Lcm) -> None:
    vm = await deployed(site, await two_disks(site, system=system))
    vm = await migrated_cold(site, vm, "hostb", lcm)
    looks_right(site, vm, elsewhere="hosta")
    vm = await migrated_cold(site, vm, "hosta", lcm)
    looks_right(site, vm, elsewhere="hostb")


async def test_a_move_that_fails_in_the_middle_is_repeated_whole(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    vm = site.oned.tell(vm.at("hostb"), Lcm.PROLOG_MIGRATE)
    await site.hosts["hostb"].stop()
    failed(await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hostb")), "hostb: cdmi-attachd")
    await site.hosts["hostb"].start()
    ok(await site.oned.retry(vm))
    ok(await site.oned.retry(vm))
    site.boot(vm)
    looks_right(site, vm, elsewhere="hosta")


async def test_nothing_is_attached_there_before_it_is_free_here(site: Site) -> None:
    """The guest was not ended: the disk stays with it."""
    vm = await deployed(site, await two_disks(site))
    there = site.oned.tell(vm.at("hostb"), Lcm.PROLOG_MIGRATE)
    failed(await site.oned.transfer(there, site.oned.moves(there, "hosta", "hostb")), "in use")
    looks_right(site, vm, elsewhere="hostb")


async def test_another_system_datastore_on_the_same_host(site: Site) -> None:
    """Nothing is detached; the link is in the other directory."""
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    there = site.oned.tell(replace(vm, ds=103), Lcm.PROLOG_MIGRATE_POWEROFF)
    before = site.hosts["hosta"].kernel.changes
    ok(await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hosta", to=there)))
    assert [site.behind("hosta", there, disk) for disk in there.disks] == ["data5", "base5"]
    assert site.hosts["hosta"].kernel.changes == before, "the host took no step"


async def test_a_host_that_is_also_the_front_end(site: Site) -> None:
    """The state says what is meant: its name is no word of it."""
    site.configure(FRONT_END="hosta")
    bin_ = site.folder / "bin" / "cdmi-attach"
    bin_.symlink_to(site.folder / "hosts" / "hosta" / "bin" / "cdmi-attach")
    vm = await migrated_cold(site, await deployed(site, await two_disks(site)), "hostb")
    looks_right(site, vm, elsewhere="hosta")
    vm = await migrated_cold(site, vm, "hosta")
    looks_right(site, vm, elsewhere="hostb")
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set()


async def lost(site: Site, lcm: Lcm = Lcm.PROLOG_MIGRATE_UNKNOWN) -> Vm:
    """A VM whose host died in the middle: its permissions are there still, and oned wants it elsewhere."""
    vm = await deployed(site, await two_disks(site))
    await site.hosts["hosta"].stop()
    site.lose("hosta")
    site.guests.open_at.clear()
    site.logins()
    return site.oned.tell(vm.at("hostb"), lcm)


@pytest.mark.parametrize("told", ["by the probe", "by the settings"])
async def test_a_lost_host_is_withdrawn_first_and_never_asked(site: Site, told: str) -> None:
    vm = await lost(site)
    site.names_hosts(told_by_probe=told == "by the probe")
    done = await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hostb"))
    ok(done)
    site.boot(vm)
    assert site.permitted("images/data5") == site.permitted("vms/one-5-1") == {"hostb"}
    assert [site.behind("hostb", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    assert set(site.logins()) == {"hostb"}, "the lost host is never logged in to"
    ok(await site.oned.retry(vm))


async def test_what_was_powered_off_at_a_lost_host_is_withdrawn_once_oned_has_given_it_up(site: Site) -> None:
    """The hook for a lost host has such VMs moved as well. A host that only does not answer now is waited for."""
    vm = await lost(site, Lcm.PROLOG_MIGRATE_POWEROFF)
    site.names_hosts(told_by_probe=True)
    failed(await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hostb")), "hosta cannot be reached")
    assert site.permitted("images/data5") == {"hosta"} and site.hosts["hostb"].is_bare()
    site.tell_hosts(*site.hosts, lost="hosta")
    ok(await site.oned.retry(vm))
    site.boot(vm)
    assert site.permitted("images/data5") == site.permitted("vms/one-5-1") == {"hostb"}
    ok(await site.oned.retry(vm))


async def test_a_lost_host_that_cannot_be_withdrawn_keeps_its_disks(site: Site) -> None:
    vm = await lost(site)
    failed(await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hostb")), "nothing tells what hosta is called")
    assert site.permitted("images/data5") == {"hosta"} and site.hosts["hostb"].is_bare()


async def test_a_host_that_was_withdrawn_comes_back_and_gets_a_disk_again_when_oned_wants_it_there(site: Site) -> None:
    vm = await lost(site)
    site.names_hosts(told_by_probe=True)
    ok(await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hostb")))
    site.boot(vm)
    vm = site.oned.tell(vm, Lcm.RUNNING)
    site.hosts["hosta"].kernel.reboot()
    site.find("hosta")
    await site.hosts["hosta"].start()
    await site.hosts["hosta"].engine.settled()
    assert site.hosts["hosta"].attached() == set() and site.permitted("images/data5") == {"hostb"}
    vm = await migrated_cold(site, vm, "hosta")
    looks_right(site, vm, elsewhere="hostb")


async def test_the_name_of_somebody_unknown_may_be_the_lost_hosts_as_well(site: Site) -> None:
    """Its FC port, say, which its probe did not tell: nothing is attached elsewhere before that is certain."""
    vm = await lost(site)
    site.tell_hosts("hosta")
    await site.attach("hostb", "beside", vm.disks[0].source)
    failed(
        await site.oned.transfer(vm, site.oned.moves(vm, "hosta", "hostb")), "nothing tells that this is not the lost"
    )
