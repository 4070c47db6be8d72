"""What may be deleted, and what never is: whatever oned sends, in whatever state, as often as it likes."""

import asyncio
import os
from asyncio.subprocess import DEVNULL
from dataclasses import replace

import pytest

from agent.cdmi import deleting
from tests.cdmi_server.faults import Action, Fault
from tests.opennebula.life import (
    as_clone,
    deployed,
    ended,
    failed,
    migrated_cold,
    migrated_live,
    ok,
    powered_off,
    rested,
    two_disks,
)
from tests.opennebula.oned import FRONT_END, IMAGES, Disk, Lcm, Vm
from tests.opennebula.site import Site
from tests.opennebula.test_datastore import act, printed


@pytest.mark.parametrize("times", [1, 2])
async def test_recover_delete_of_a_running_vm_keeps_what_is_persistent(site: Site, times: int) -> None:
    vm = await deployed(site, await two_disks(site))
    site.halt(vm)
    vm = site.oned.tell(vm, Lcm.CLEANUP_DELETE)
    for _ in range(times):
        for done in await site.oned.no_fail(site.oned.cleanup(vm, "hosta")):
            ok(done)
    assert site.all_gone() and site.children("images") == {"data5", "base5"}
    assert site.stamped("images/data5") == "data5" and site.children("vms") == set()


def slow(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server accepts what is to be deleted (202), and is not done when the daemon's minute is over, twice."""
    monkeypatch.setattr(deleting, "TRIES", 1)
    site.server.faults.set("delete", Fault(Action.STATUS, status=202, times=2))


def is_done(site: Site) -> bool:
    return not site.server.faults.describe()["delete"]["left"]


async def test_a_copy_that_takes_long_to_delete_is_asked_for_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = await deployed(site, await two_disks(site))
    slow(site, monkeypatch)
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set() and is_done(site)


async def test_the_copy_of_an_earlier_deployment_may_take_long_to_delete(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = await deployed(site, await two_disks(site))
    site.stamp("vms/one-5-1", "of before")
    site.halt(vm)
    slow(site, monkeypatch)
    await deployed(site, vm.at(vm.host))
    assert site.stamped("vms/one-5-1") == "base5" and is_done(site)


@pytest.mark.parametrize("verb", ["rm", "snap_delete", "policy"])
async def test_an_image_or_a_snapshot_that_takes_long_to_delete_is_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    if verb == "rm":
        source = await printed(site, "mkfs", SIZE=1, FORMAT="raw")
    else:
        source = await site.image("debian")
    site.configure(ON_DELETE="delete")
    await site.hosts["hosta"].engine.operations.snapshot(source, "one-snap-3", wait_s=10)
    if verb == "policy":
        ok(await act(site, "snap_delete", SOURCE=source, TARGET_SNAPSHOT=3))
    slow(site, monkeypatch)
    ok(await act(site, verb.replace("policy", "rm"), SOURCE=source, TARGET_SNAPSHOT=3))
    assert is_done(site)
    assert site.children("vms") == set() and (site.children("images") == {"debian"}) is (verb == "snap_delete")


async def test_it_says_in_the_log_of_the_vm_what_it_keeps(site: Site) -> None:
    vm = site.oned.tell(await two_disks(site), Lcm.CLEANUP_DELETE)
    done = await site.drivers.transfer([site.oned.gone(vm, vm.disks[0], "hosta")])
    ok(done)
    assert done.log == ((5, f"cdmi: disk 0 is no copy: {vm.disks[0].source} stays"),)


async def test_an_immutable_disk_ends_in_delete_and_stays(site: Site) -> None:
    iso = await site.image("iso")
    vm = await deployed(site, Vm(5, (Disk(0, iso, clone=False, read_only=True),), "hosta"))
    await ended(site, vm)
    assert site.children("images") == {"iso"} and site.all_gone()


async def test_in_use_is_not_taken_away(site: Site) -> None:
    """DELETE while QEMU still has it: nothing goes, not even the link; afterwards all of it does."""
    vm = await deployed(site, await two_disks(site))
    site.oned.tell(vm, Lcm.EPILOG)
    lines = site.oned.epilog(vm, "hosta")
    failed(await site.oned.transfer(vm, lines), "in use")
    for line in lines[:2]:
        assert not (await site.drivers.transfer([line])).ok
    assert site.hosts["hosta"].attached() == {"one-5-0", "one-5-1"} and site.children("vms") == {"one-5-1"}
    assert site.link("hosta", vm, vm.disks[1]) == "/run/cdmi-attach/disk/one-5-1"
    await ended(site, vm)
    assert site.all_gone()


async def test_oned_that_says_copy_of_what_is_none_deletes_nothing(site: Site) -> None:
    """The VM's flag alone is not enough: the object has to be noted as the copy, at the copy's place."""
    vm = await deployed(site, await two_disks(site))
    site.halt(vm)
    lying = site.oned.tell(as_clone(vm, clone=True), Lcm.CLEANUP_DELETE)
    await site.oned.no_fail(site.oned.cleanup(lying, "hosta"))
    assert site.children("images") == {"data5", "base5"} and site.children("vms") == set()


async def test_a_flag_that_says_no_keeps_even_a_copy(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    site.halt(vm)
    lying = site.oned.tell(as_clone(vm, clone=False), Lcm.CLEANUP_DELETE)
    await site.oned.no_fail(site.oned.cleanup(lying, "hosta"))
    assert site.children("vms") == {"one-5-1"} and site.all_gone()


async def test_without_oned_nothing_is_deleted(site: Site) -> None:
    """It is detached; whether it was a copy is asked again by a retry."""
    vm = await deployed(site, await two_disks(site))
    site.halt(vm)
    (site.folder / "oned.down").touch()
    line = site.oned.gone(vm, vm.disks[1], "hosta")
    failed(await site.drivers.transfer([line]), "oned does not tell of VM 5")
    assert site.children("vms") == {"one-5-1"} and site.hosts["hosta"].attached() == {"one-5-0"}
    (site.folder / "oned.down").unlink()
    ok(await site.drivers.transfer([line]))
    assert site.children("vms") == set()


async def test_the_end_of_an_undeployed_vm_names_the_front_end(site: Site) -> None:
    """There is no daemon there, and nothing attached: the copy goes all the same, through another host."""
    vm = await rested(site, await deployed(site, await two_disks(site)))
    assert site.all_gone() and site.children("vms") == {"one-5-1"}
    site.logins()
    vm = site.oned.tell(vm, Lcm.EPILOG)
    ok(await site.oned.transfer(vm, site.oned.epilog(vm, FRONT_END)[:-1]))
    assert site.children("vms") == set() and site.stamped("images/data5") == "data5"
    assert set(site.logins()) == {"hosta"}


async def test_a_bridge_that_is_away_is_passed_over(site: Site) -> None:
    vm = await rested(site, await deployed(site, await two_disks(site)))
    site.lose("hosta")
    vm = site.oned.tell(vm, Lcm.EPILOG)
    ok(await site.oned.transfer(vm, site.oned.epilog(vm, FRONT_END)[:-1]))
    assert site.children("vms") == set()


async def test_the_host_before_lets_go_as_well(site: Site) -> None:
    """recover --delete during a migration names the destination only."""
    vm = await deployed(site, await two_disks(site))
    there = vm.at("hostb")
    words = ["hosta", "hostb", there.folder(site.oned, "hostb").partition(":")[2], "5", "100"]
    ok(await site.drivers.tm("cdmi", "premigrate", words, there.base64()))
    site.halt(vm)
    there = site.oned.tell(there, Lcm.CLEANUP_DELETE)
    for done in await site.oned.no_fail(site.oned.cleanup(there, "hostb")):
        ok(done)
    assert site.all_gone() and site.children("vms") == set() and site.stamped("images/data5") == "data5"


@pytest.mark.parametrize("done", [False, True], ids=["at once", "already over"])
async def test_a_cold_migration_that_is_given_up_leaves_nothing(site: Site, done: bool) -> None:
    """recover --delete after an MV that failed: one file with both hosts, the destination first; the VM may be DONE."""
    vm = await deployed(site, await two_disks(site))
    site.halt(vm)
    there = site.oned.tell(replace(vm.at("hostb"), done=done), Lcm.INIT if done else Lcm.CLEANUP_DELETE)
    ok(
        await site.oned.transfer(
            there, [site.oned.gone(there, disk, at) for at in ("hostb", "hosta") for disk in vm.disks]
        )
    )
    assert site.all_gone() and site.children("vms") == set() and site.stamped("images/data5") == "data5"


async def test_a_vm_that_is_only_powered_off_keeps_its_copy_where_it_is(site: Site) -> None:
    """A DELETE that names a host where it was once: LCM_STATE is 0 then as well."""
    vm = await deployed(site, await two_disks(site))
    vm = await migrated_cold(site, vm, "hostb")
    vm = powered_off(site, await migrated_cold(site, vm, "hosta"))
    await site.oned.transfer(vm, [site.oned.gone(vm, vm.disks[1], "hostb")])
    assert site.hosts["hosta"].attached() == {"one-5-0", "one-5-1"} and site.children("vms") == {"one-5-1"}


async def test_a_copy_that_another_host_may_use_stays(site: Site) -> None:
    """The note says that it is ours; that hostb is let in says that somebody may still write it."""
    vm = await deployed(site, await two_disks(site))
    ok(await site.drivers.transfer([site.oned.prolog(vm)[1].replace("hosta:", "hostb:")]))
    site.halt(vm)
    site.oned.tell(replace(vm), Lcm.EPILOG)
    failed(await site.drivers.transfer([site.oned.gone(vm, vm.disks[1], "hosta")]), "other hosts may use it")
    assert site.children("vms") == {"one-5-1"}


async def test_a_directory_is_the_system_datastores(site: Site) -> None:
    vm = site.oned.tell(await two_disks(site), Lcm.EPILOG)
    ok(await site.drivers.transfer([f"DELETE cdmi {vm.folder(site.oned, 'hosta')} 5 100"]))
    assert site.logins() == []


async def test_a_copy_in_the_making_goes_as_well(site: Site) -> None:
    """recover --delete while the server still copies: CLONE was cancelled, and waits on."""
    base = await site.image("slow", x_copy_reads="400")
    vm = site.oned.tell(Vm(5, (Disk(0, base, clone=True),), "hosta"), Lcm.PROLOG)
    _, _, *words = site.oned.prolog(vm)[0].split()
    task = site.drivers.given_up("cdmi", "clone", words)
    await site.until(lambda: site.children("vms") == {"one-5-0"})
    for done in await site.oned.no_fail(site.oned.cleanup(site.oned.tell(vm, Lcm.CLEANUP_DELETE), "hosta")):
        ok(done)
    failed(await task, "clone")
    assert site.children("vms") == set() and site.all_gone()


async def test_what_is_told_is_ascii(site: Site) -> None:
    """one_tm.rb reads nothing else: in LANG=C a DELETE that went well would be told to have failed."""
    vm = Vm(5, (Disk(0, site.by_path("images/Größe"), clone=False),), "hosta")
    site.oned.tell(vm, Lcm.CLEANUP_DELETE)
    done = await site.oned.transfer(vm, site.oned.cleanup(vm, "hosta"))
    ok(done)
    assert (5, f"cdmi: disk 0 is no copy: {site.by_path('images/Gr')}\\xf6\\xdfe stays") in done.log


async def test_who_was_given_up_goes_on_though_nobody_hears_it(site: Site) -> None:
    """DRIVER_CANCEL ends one_tm.rb's thread, which closes the pipe; a line for the log is no reason to stop there."""
    vm, _ = await migrated_live(site, await deployed(site, await two_disks(site)), "hostb")
    site.halt(vm)
    vm = site.oned.tell(vm, Lcm.CLEANUP_DELETE)
    site.lose("hosta")
    reads, writes = os.pipe()
    os.close(reads)
    script = site.drivers.remotes / "tm" / "cdmi" / "delete"
    words = [vm.place(site.oned, "hostb", vm.disks[1]), "5", str(IMAGES)]
    process = await asyncio.create_subprocess_exec(
        script, *words, cwd=site.drivers.home, env=site.drivers.environ, stdin=DEVNULL, stdout=DEVNULL, stderr=writes
    )
    os.close(writes)
    async with asyncio.timeout(60):
        await process.wait()
    assert site.children("vms") == set()
