"""RESIZE in every state, and CPDS: what is on a disk becomes an image."""

import asyncio
from dataclasses import replace

import pytest

from tests.opennebula.life import deployed, failed, ok, powered_off, rested, two_disks
from tests.opennebula.oned import FRONT_END, IMAGES, Disk, Lcm, Vm
from tests.opennebula.onetm import Done
from tests.opennebula.site import SIZE, Site
from tests.opennebula.test_snapshots import snapshot


async def resized(site: Site, vm: Vm, mib: int) -> Done:
    """RESIZE of the copy."""
    line = f"RESIZE.{vm.system} cdmi {vm.place(site.oned, vm.host, vm.disks[1])} {mib} {vm.id} {IMAGES}"
    return await site.oned.transfer(vm, [line])


def size(site: Site, path: str) -> int:
    record = site.record(path)
    assert record and record.volume
    return record.volume.size


@pytest.mark.parametrize("lcm", [Lcm.DISK_RESIZE, Lcm.DISK_RESIZE_POWEROFF])
async def test_it_grows_on_the_server_and_on_the_host(site: Site, lcm: Lcm) -> None:
    vm = site.oned.tell(await deployed(site, await two_disks(site)), lcm)
    for _ in range(2):
        ok(await resized(site, vm, 3))
        assert site.hosts["hosta"].engine.view("one-5-1")["device"]["size"] == 3 * SIZE == size(site, "vms/one-5-1")
    failed(await resized(site, vm, 2), "attached here as one-5-1")
    assert size(site, "vms/one-5-1") == 3 * SIZE, "no disk ever becomes smaller"
    failed(await resized(site, vm, -1), "no size")


async def test_a_running_disk_that_is_not_there_is_no_success(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    site.halt(vm)
    await site.hosts["hosta"].engine.detach("one-5-1", force=False)
    failed(await resized(site, site.oned.tell(vm, Lcm.DISK_RESIZE), 3), "no attachment one-5-1")
    ok(await resized(site, site.oned.tell(vm, Lcm.DISK_RESIZE_POWEROFF), 3))


@pytest.mark.parametrize("is_there", [True, False])
async def test_an_undeployed_disk_grows_though_its_last_host_has_nothing(site: Site, is_there: bool) -> None:
    vm = await rested(site, await deployed(site, await two_disks(site)))
    if not is_there:
        site.lose("hosta")
    vm = site.oned.tell(vm, Lcm.DISK_RESIZE_UNDEPLOYED)
    ok(await resized(site, vm, 2))
    ok(await resized(site, vm, 2))
    assert size(site, "vms/one-5-1") == 2 * SIZE and site.all_gone()


async def saved(site: Site, vm: Vm, number: int, host: str, disk: int = 1) -> Done:
    """CPDS of the copy, or another disk, to a new image."""
    place = vm.place(site.oned, host, vm.disks[disk])
    return await site.oned.transfer(
        vm, [f"CPDS.shared cdmi {place} {site.by_path('vms/one-img-9')} {number} 5 {IMAGES}"]
    )


@pytest.mark.parametrize("lcm", [Lcm.HOTPLUG_SAVEAS, Lcm.RUNNING])
async def test_what_is_on_a_disk_becomes_an_image(site: Site, lcm: Lcm) -> None:
    vm = site.oned.tell(await deployed(site, await two_disks(site)), lcm)
    site.stamp("vms/one-5-1", "of the guest")
    ok(await saved(site, vm, -1, "hosta"))
    ok(await site.oned.retry(vm))
    assert site.stamped("vms/one-img-9") == "of the guest" and site.permitted("vms/one-img-9") == set()
    record = site.record("vms/one-img-9")
    assert record and record.metadata["opennebula_owner"] == "one image 9", "and not the VM's any more"
    folder = site.record("vms/one-5-1/cdmi_snapshots")
    assert folder is None or site.children("vms/one-5-1/cdmi_snapshots") == set()


async def test_a_snapshot_becomes_an_image(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    site.stamp("vms/one-5-1", "later")
    ok(await saved(site, vm, 0, "hosta"))
    assert site.stamped("vms/one-img-9") == "base5"


async def test_that_of_an_undeployed_vm_names_the_front_end(site: Site) -> None:
    vm = await rested(site, await deployed(site, await two_disks(site)))
    vm = site.oned.tell(vm, Lcm.SAVEAS_UNDEPLOYED)
    ok(await saved(site, vm, -1, FRONT_END))
    assert site.stamped("vms/one-img-9") == "base5" and site.all_gone()


async def test_an_image_that_is_there_is_not_written_over(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    await site.lun("vms/one-img-9")
    site.stamp("vms/one-img-9", "another")
    failed(await saved(site, vm, -1, "hosta"), "something else is at")
    assert site.stamped("vms/one-img-9") == "another"


async def test_a_copy_that_is_still_made_is_no_image_and_keeps_what_it_is_made_of(site: Site) -> None:
    """The daemon that has begun it is gone: nobody else is asked to begin it anew, nor says that it is done."""
    slow = await site.image("slow", x_copy_reads="100000")
    vm = await deployed(site, Vm(5, (Disk(0, slow, clone=False),), "hosta"))
    site.logins()
    saving = asyncio.create_task(saved(site, vm, -1, "hosta", 0))
    await site.until(lambda: site.children("vms") == {"one-img-9"})
    await site.hosts["hosta"].stop()
    asked = set(site.logins())
    async with asyncio.timeout(120):  # whoever is asked elsewhere has hours for it
        while not saving.done() and asked == {"hosta"}:
            await asyncio.wait({saving}, timeout=0.1)
            asked |= set(site.logins())
    assert asked == {"hosta"}
    failed(await saving, "hosta: ")
    for lcm in (Lcm.RUNNING, Lcm.HOTPLUG_SAVEAS):
        failed(await saved(site, site.oned.tell(vm, lcm), -1, "hosta", 0), "is no image yet")
    assert site.record("images/slow/cdmi_snapshots") is None, "none is taken, so that none goes"


async def test_verbs_of_system_datastores_are_refused_with_the_reason(site: Site) -> None:
    vm = replace(await two_disks(site))
    failed(
        await site.drivers.transfer([f"MKIMAGE cdmi 10 raw {vm.place(site.oned, 'hosta', vm.disks[0])} 5 100"]),
        "not supported",
    )
