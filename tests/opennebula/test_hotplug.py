"""Hot attach and detach, what is undone when libvirt refuses, and many VMs at once."""

import asyncio
from dataclasses import replace

from tests.opennebula.life import deployed, ended, failed, ok, powered_off, two_disks
from tests.opennebula.oned import Disk, Lcm, Vm
from tests.opennebula.site import Site


async def hotplugged(site: Site, vm: Vm, disk: Disk) -> Vm:
    """The VMM driver's LN, or CLONE: oned's template has the disk already."""
    vm = site.oned.tell(replace(vm, disks=(*vm.disks, disk)), Lcm.HOTPLUG)
    ok(await site.drivers.transfer([site.oned.prolog(vm)[-1]]))
    return vm


async def test_disks_come_and_go_with_a_running_guest(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    more, base = await site.image("more"), await site.image("another")
    for disk in (Disk(2, more, clone=False), Disk(3, base, clone=True)):
        before, vm = vm, await hotplugged(site, vm, disk)
        assert site.behind("hosta", vm, disk) == {2: "more", 3: "another"}[disk.number]
        wwid = site.hosts["hosta"].unit(site.link("hosta", vm, disk))
        site.hosts["hosta"].open(wwid, "one-5 (hot-plugged)")
        failed(await site.drivers.transfer([site.oned.farewell(vm, disk, "hosta")]), "in use")
        site.hosts["hosta"].close(wwid, "one-5 (hot-plugged)")
        ok(await site.drivers.transfer([site.oned.farewell(vm, disk, "hosta")]))
        ok(await site.drivers.transfer([site.oned.farewell(vm, disk, "hosta")]))
        vm = site.oned.tell(before, Lcm.RUNNING)
    assert site.children("vms") == {"one-5-1"} and site.stamped("images/more") == "more"
    assert site.hosts["hosta"].attached() == {"one-5-0", "one-5-1"}


async def test_a_number_is_another_image_the_next_time(site: Site) -> None:
    """LN worked and its answer was lost: nothing was undone, and the next disk of that number is another one."""
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    first, second = Disk(2, await site.image("first"), clone=False), Disk(2, await site.image("second"), clone=False)
    await hotplugged(site, vm, first)
    there = await hotplugged(site, vm, second)
    assert site.behind("hosta", there, second) == "second" and site.permitted("images/first") == set()


async def test_an_end_that_comes_late_takes_nothing(site: Site) -> None:
    """MVDS of a detach that oned has given up arrives when the disk is attached anew."""
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    vm = await hotplugged(site, vm, Disk(2, await site.image("more"), clone=False))
    _, _, *words = site.oned.farewell(vm, vm.disks[2], "hosta").split()
    async with site.late("hosta", "mvds", words) as late:
        ok(await site.drivers.transfer([site.oned.farewell(vm, vm.disks[2], "hosta")]))
        ok(await site.drivers.transfer([site.oned.prolog(vm)[2]]))
    failed(late[0], "a later request has overtaken this one")
    assert site.behind("hosta", vm, vm.disks[2]) == "more"


async def test_made_anew_in_the_same_place(site: Site) -> None:
    """recover --recreate: DELETE for all, and the prolog again, of the same VM, on another host."""
    vm = await deployed(site, await two_disks(site))
    site.stamp("vms/one-5-1", "written")
    site.halt(vm)
    vm = site.oned.tell(vm, Lcm.CLEANUP_RESUBMIT)
    for done in await site.oned.no_fail(site.oned.cleanup(vm, "hosta")):
        ok(done)
    vm = await deployed(site, vm.at("hostb"))
    assert [site.behind("hostb", vm, disk) for disk in vm.disks] == ["data5", "base5"], "the copy is a new one"
    assert site.hosts["hosta"].is_bare()


async def test_made_anew_where_the_host_was_lost(site: Site) -> None:
    """DELETE has reached nobody: the copy of before is there still, and is not taken for a new one."""
    vm = await deployed(site, await two_disks(site))
    site.stamp("vms/one-5-1", "written")
    await site.hosts["hosta"].stop()
    site.lose("hosta")
    site.guests.open_at.clear()
    vm = site.oned.tell(vm, Lcm.CLEANUP_RESUBMIT)
    assert not any(done.ok for done in await site.oned.no_fail(site.oned.cleanup(vm, "hosta")))
    vm = site.oned.tell(vm.at("hostb"), Lcm.PROLOG)
    failed(await site.oned.transfer(vm, site.oned.prolog(vm)), "other hosts may use it")
    assert site.stamped("vms/one-5-1") == "written", "its host may write it still"
    for disk in ("vms/one-5-1", "images/data5"):
        await site.hosts["hostb"].engine.objects.fence(site.by_path(disk), [site.hosts["hosta"].initiator])
    for _ in range(2):
        ok(await site.oned.retry(vm))
        assert [site.behind("hostb", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    site.boot(vm)


async def test_recovery_in_the_middle_of_a_move_deletes_on_both_hosts(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    there = site.oned.tell(vm.at("hostb"), Lcm.PROLOG_MIGRATE)
    ok(await site.drivers.transfer(site.oned.moves(there, "hosta", "hostb")[:1]))
    there = site.oned.tell(there, Lcm.EPILOG)
    for host in ("hosta", "hostb"):
        ok(await site.drivers.transfer(site.oned.cleanup(there, host)))
    assert site.all_gone() and site.children("vms") == set() and site.stamped("images/data5") == "data5"


async def test_fifteen_at_once(site: Site) -> None:
    """As many as oned runs: each gets its own disk, and all of them go."""
    sources = [await site.image(f"data{number}") for number in range(15)]
    vms = [
        site.oned.tell(
            Vm(number, (Disk(0, source, clone=number % 5 == 0),), ("hosta", "hostb")[number % 2]), Lcm.PROLOG
        )
        for number, source in enumerate(sources)
    ]
    for done in await asyncio.gather(*(site.oned.transfer(vm, site.oned.prolog(vm)) for vm in vms)):
        ok(done)
    assert [site.behind(vm.host, vm, vm.disks[0]) for vm in vms] == [f"data{number}" for number in range(15)]
    for vm in vms:
        site.boot(vm)
    await asyncio.gather(*(ended(site, vm) for vm in vms))
    assert site.all_gone() and site.children("vms") == set()
