"""Snapshots of disks: off-line and live, back to them, and their end; each repeated, and broken off."""

from collections.abc import Sequence

import pytest

from tests.cdmi_server.faults import Action, Fault
from tests.opennebula.life import deployed, ended, failed, ok, powered_off, rested, two_disks
from tests.opennebula.oned import IMAGES, Disk, Vm
from tests.opennebula.onetm import Done
from tests.opennebula.site import Site

OBJECTS = ("images/data5", "vms/one-5-1")


async def snapshot(site: Site, vm: Vm, action: str, number: int, disks: Sequence[Disk] = ()) -> Done:
    """`.disk_snapshot`, for these disks, or all."""
    lines = [
        f"{action}.{vm.system} cdmi {vm.place(site.oned, vm.host, disk)} {number} {vm.id} {IMAGES}"
        for disk in disks or vm.disks
    ]
    return await site.oned.transfer(vm, lines)


def kept(site: Site, path: str) -> dict[str, str]:
    """The snapshots of an object: their names, and the stamps on them."""
    if site.record(f"{path}/cdmi_snapshots") is None:
        return {}
    return {name: site.stamped(f"{path}/cdmi_snapshots/{name}") for name in site.children(f"{path}/cdmi_snapshots")}


async def test_there_and_back(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    for path in OBJECTS:
        site.stamp(path, "written since")
    ok(await snapshot(site, vm, "SNAP_CREATE", 1))
    assert [kept(site, path) for path in OBJECTS] == [
        {"one-snap-0": "data5", "one-snap-1": "written since"},
        {"one-snap-0": "base5", "one-snap-1": "written since"},
    ]
    ok(await snapshot(site, vm, "SNAP_REVERT", 0))
    assert [site.behind("hosta", vm, disk) for disk in vm.disks] == ["data5", "base5"]
    ok(await site.oned.retry(vm))
    site.boot(vm)
    powered_off(site, vm)
    ok(await snapshot(site, vm, "SNAP_DELETE", 0))
    ok(await site.oned.retry(vm))
    assert [set(kept(site, path)) for path in OBJECTS] == [{"one-snap-1"}, {"one-snap-1"}]


async def test_one_that_was_left_by_what_broke_off_is_not_taken_for_the_new_one(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    site.stamp("images/data5", "later")
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    assert kept(site, "images/data5") == {"one-snap-0": "later"}


async def test_a_copy_goes_with_its_snapshots_and_what_is_persistent_keeps_them(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    site.boot(vm)
    await ended(site, vm)
    assert site.children("vms") == set() and kept(site, "images/data5") == {"one-snap-0": "data5"}


async def test_nothing_is_brought_back_under_a_guest(site: Site) -> None:
    """What is open refuses; nothing has changed, and the guest goes on."""
    vm = await deployed(site, await two_disks(site))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    site.stamp("images/data5", "later")
    failed(await snapshot(site, vm, "SNAP_REVERT", 0, vm.disks[:1]), "in use")
    assert site.behind("hosta", vm, vm.disks[0]) == "later"


@pytest.mark.parametrize("ails", ["no such snapshot", "the server refuses", "another host may write it"])
async def test_a_revert_that_fails_leaves_the_disk_attached(site: Site, ails: str) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    site.stamp("images/data5", "later")
    number, word = 0, "x"
    match ails:
        case "no such snapshot":
            number, word = 7, "one-snap-7"
        case "the server refuses":
            await site.attach("hostb", "beside", await site.image("beside"))
            site.server.faults.set("put-object", Fault(Action.STATUS, status=507, times=1))
            word = "507"
        case _:
            await site.attach("hostb", "beside", vm.disks[0].source)
            word = "other hosts may use it"
    failed(await snapshot(site, vm, "SNAP_REVERT", number, vm.disks[:1]), word)
    assert site.behind("hosta", vm, vm.disks[0]) == "later"
    site.boot(vm)


@pytest.mark.parametrize(("agent", "called"), [(True, ["domfsfreeze", "domfsthaw"]), (False, ["suspend", "resume"])])
async def test_a_live_snapshot_holds_the_guest_up_and_lets_it_go(site: Site, agent: bool, called: list[str]) -> None:
    vm = await deployed(site, await two_disks(site))
    site.virsh("hosta", agent=agent)
    ok(await snapshot(site, vm, "SNAP_CREATE_LIVE", 0, vm.disks[:1]))
    assert kept(site, "images/data5") == {"one-snap-0": "data5"}
    assert [call for call in site.virsh_calls("hosta") if call in called] == called
    site.server.faults.set("put-object", Fault(Action.STATUS, status=507, times=1))
    failed(await snapshot(site, vm, "SNAP_CREATE_LIVE", 1, vm.disks[:1]), "507")
    assert site.virsh_calls("hosta")[-1] == called[-1], "it goes on, whatever became of the snapshot"


async def test_a_guest_that_cannot_be_held_up_gets_no_live_snapshot(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    failed(await snapshot(site, vm, "SNAP_CREATE_LIVE", 0, vm.disks[:1]), "neither frozen nor held up")
    assert kept(site, "images/data5") == {}


async def test_snapshots_follow_their_disk_to_another_host(site: Site) -> None:
    vm = powered_off(site, await deployed(site, await two_disks(site)))
    ok(await snapshot(site, vm, "SNAP_CREATE", 0))
    site.boot(vm)
    vm = await rested(site, vm)
    assert kept(site, "vms/one-5-1") == {"one-snap-0": "base5"}
