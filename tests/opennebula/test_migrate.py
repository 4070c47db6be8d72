"""Live migration: the system datastore's scripts fan out and swallow what is said, and nobody may be called after a
failure.
"""

from dataclasses import replace

import pytest

from tests.opennebula.life import (
    BOTH_SYSTEMS,
    Libvirt,
    deployed,
    ended,
    failed,
    migrated_live,
    ok,
    two_disks,
)
from tests.opennebula.oned import Lcm
from tests.opennebula.site import Site


@pytest.mark.parametrize("system", BOTH_SYSTEMS)
async def test_there_and_back(site: Site, system: tuple[str, int]) -> None:
    vm = await deployed(site, await two_disks(site, system=system))
    for host, before in (("hostb", "hosta"), ("hosta", "hostb")):
        site.logins()
        vm, told = await migrated_live(site, vm, host)
        assert [done.ok for done in told] == [True, True]
        assert [site.behind(host, vm, disk) for disk in vm.disks] == ["data5", "base5"]
        assert site.hosts[before].is_bare()
        assert site.permitted("images/data5") == site.permitted("vms/one-5-1") == {host}
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set()


async def test_one_that_fails_in_libvirt_and_is_made_again(site: Site) -> None:
    """FAILMIGRATE is never told to us; the guest has its disks, and the next try finds what it needs."""
    vm = await deployed(site, await two_disks(site))
    vm, told = await migrated_live(site, vm, "hostb", Libvirt.FAILS)
    assert told[-1].ok and vm.host == "hosta"
    assert [site.behind("hosta", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    vm, told = await migrated_live(site, vm, "hostb")
    assert vm.host == "hostb" and site.hosts["hosta"].is_bare()


async def test_what_was_attached_for_a_migration_that_nobody_ends_goes_by_itself(site: Site) -> None:
    """The network of the destination fails: neither FAILMIGRATE nor anything else is called."""
    site.configure(LEASE_S="60")
    vm = await deployed(site, await two_disks(site))
    vm, _ = await migrated_live(site, vm, "hostb", Libvirt.NETWORK_FAILS)
    leases = [site.hosts["hostb"].engine.view(f"one-5-{disk.number}")["lease"] for disk in vm.disks]
    assert [lease["seconds"] for lease in leases] == [60.0, 60.0]
    vm, _ = await migrated_live(site, vm, "hostb")
    assert [site.hosts["hostb"].engine.view(f"one-5-{disk.number}")["lease"] for disk in vm.disks] == [None, None]


async def test_failmigrate_where_it_is_called(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    words = ["hosta", "hostb", "/d", "5", "100"]
    ok(await site.drivers.tm("cdmi", "premigrate", words, vm.base64()))
    assert site.hosts["hostb"].attached() == {"one-5-0", "one-5-1"}
    ok(await site.drivers.tm("cdmi", "failmigrate", words, vm.base64()))
    ok(await site.drivers.tm("cdmi", "failmigrate", words, vm.base64()))
    assert site.hosts["hostb"].is_bare() and site.hosts["hosta"].attached() == {"one-5-0", "one-5-1"}


async def test_a_premigrate_that_fails_leaves_nothing_and_the_guest_stays(site: Site) -> None:
    """One disk of two is attached there before it fails; libvirt then finds nothing."""
    vm = await deployed(site, await two_disks(site))
    await site.attach("hostb", "elsewhere", site.by_path("vms/one-5-1"))
    failed(await site.drivers.tm("cdmi", "premigrate", ["hosta", "hostb", "/d", "5", "100"], vm.base64()), "elsewhere")
    assert site.hosts["hostb"].attached() == {"elsewhere"}
    vm, told = await migrated_live(site, vm, "hostb")
    assert told[0].ok, "the failure is swallowed"
    assert vm.host == "hosta" and [site.behind("hosta", vm, disk) for disk in vm.disks] == ["data5", "base5"]


async def test_what_an_earlier_migration_has_left_there_is_never_taken_for_the_disk(site: Site) -> None:
    """Disk 1 was another image when a migration failed: its attachment of that name is there still."""
    vm = await deployed(site, await two_disks(site))
    await site.attach("hostb", "one-5-1", await site.image("other"))
    vm, _ = await migrated_live(site, vm, "hostb")
    assert [site.behind("hostb", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    assert site.permitted("images/other") == set()


async def test_postmigrate_takes_nothing_from_a_guest(site: Site) -> None:
    """It is called though the guest is still at the source: nothing is lost but a line in the log."""
    vm = await deployed(site, await two_disks(site))
    words = ["hosta", "hostb", "/d", "5", "100"]
    ok(await site.drivers.tm("cdmi", "premigrate", words, vm.base64()))
    failed(await site.drivers.tm("cdmi", "postmigrate", words, vm.base64()), "in use")
    assert [site.behind("hosta", vm, disk) for disk in vm.disks] == ["data5", "base5"]


@pytest.mark.parametrize("system", ["shared", "ssh"])
async def test_within_one_host_it_goes_to_another_system_datastore(site: Site, system: str) -> None:
    """`onevm migrate --live VM HOST DATASTORE`: kvm/migrate copies files, and the directory before is deleted."""
    vm = await deployed(site, replace(await two_disks(site), system=system))
    there = site.oned.tell(replace(vm.at("hosta"), ds=110), Lcm.MIGRATE)
    (site.disk("hosta", there, vm.disks[0]).parent).mkdir(parents=True)
    words = ["hosta", "hosta", there.folder(site.oned, "hosta").partition(":")[2], "5", "110"]
    for action in ("premigrate", "postmigrate", "postmigrate"):
        ok(await site.drivers.tm(system, action, words, there.base64()))
    assert not site.disk("hosta", vm, vm.disks[0]).parent.exists()
    assert [site.behind("hosta", there, disk) for disk in vm.disks] == ["data5", "base5"]
    assert site.hosts["hosta"].attached() == {"one-5-0", "one-5-1"} and site.hosts["hostb"].is_bare()
    await ended(site, there)
    assert site.all_gone() and site.children("vms") == set()


async def test_a_migration_that_is_withdrawn_does_not_come_late(site: Site) -> None:
    """A premigrate that oned has given up goes on after the failmigrate of its migration: it attaches nothing."""
    vm = await deployed(site, await two_disks(site))
    words = ["hosta", "hostb", "/d", "5", "100"]
    async with site.late("hostb", "premigrate", words, vm.base64()) as late:
        ok(await site.drivers.tm("cdmi", "failmigrate", words, vm.base64()))
    failed(late[0], "late")
    assert site.hosts["hostb"].is_bare() and site.hosts["hosta"].attached() == {"one-5-0", "one-5-1"}


async def test_what_is_no_vm_is_said(site: Site) -> None:
    failed(await site.drivers.tm("cdmi", "premigrate", ["hosta", "hostb", "/d", "5", "100"], "?"), "standard input")
