"""LN and CLONE, and the end of a VM: from a transfer file to a disk, and back to nothing; repeated, and broken off."""

import asyncio
import os
from dataclasses import replace

import pytest

from tests.opennebula.life import BOTH_SYSTEMS, deployed, ended, failed, ok, two_disks
from tests.opennebula.oned import FRONT_END, Disk, Lcm, Vm
from tests.opennebula.site import SIZE, Site


@pytest.mark.parametrize("system", BOTH_SYSTEMS)
async def test_a_vm_lives_and_ends(site: Site, system: tuple[str, int]) -> None:
    vm = await deployed(site, await two_disks(site, system=system))
    persistent, copy = vm.disks
    assert site.link("hosta", vm, persistent) == "/run/cdmi-attach/disk/one-5-0", "the same on every host"
    assert (site.behind("hosta", vm, persistent), site.behind("hosta", vm, copy)) == ("data5", "base5")
    assert site.children("vms") == {"one-5-1"} and site.permitted("vms/one-5-1") == {"hosta"}
    assert site.permitted("images/data5") == {"hosta"} and site.permitted("images/base5") == set()
    assert len(site.logins()) == 2, "one login for each line"
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set()
    assert site.children("images") == {"data5", "base5"} and site.permitted("images/data5") == set()
    assert site.stamped("images/data5") == "data5" and not site.disk("hosta", vm, copy).parent.exists()
    assert FRONT_END not in site.logins()


async def test_a_copy_is_larger_where_the_vm_wants_it_so(site: Site) -> None:
    base = await site.image("base")
    vm = Vm(6, (Disk(0, base, clone=True, size_mb=3),), "hosta")
    await deployed(site, vm)
    record = site.record("vms/one-6-0")
    assert record and record.volume and record.volume.size == 3 * SIZE
    assert site.hosts["hosta"].engine.view("one-6-0")["device"]["size"] == 3 * SIZE


async def test_a_whole_file_is_repeated(site: Site) -> None:
    """After a failure of its last line, and when nothing was wrong."""
    vm = site.oned.tell(await two_disks(site), Lcm.PROLOG)
    site.oned.files[vm.id] = site.oned.prolog(vm)
    broken = [*site.oned.prolog(vm), f"LN.shared cdmi cdmi://nowhere/x hosta:{site.oned.location}//d/disk.2 5 102"]
    failed(await site.drivers.transfer(broken), "oned knows no disk 2 of VM 5")
    ok(await site.oned.retry(vm))
    ok(await site.oned.retry(vm))
    site.boot(vm)
    assert site.children("vms") == {"one-5-1"}
    await ended(site, vm)
    vm = site.oned.tell(vm, Lcm.EPILOG_FAILURE)
    ok(await site.oned.retry(vm))
    assert site.all_gone() and site.children("images") == {"data5", "base5"}


async def test_a_copy_that_another_host_has_begun_is_taken_up(site: Site) -> None:
    """The daemon of the first host is asked no more: only the copy's own note tells what it is."""
    vm = site.oned.tell(await two_disks(site), Lcm.PROLOG)
    ok(await site.oned.transfer(vm, site.oned.prolog(vm)))
    ok(await site.drivers.transfer([site.oned.prolog(vm)[1].replace("hosta:", "hostb:")]))
    assert site.children("vms") == {"one-5-1"} and site.permitted("vms/one-5-1") == {"hosta", "hostb"}


@pytest.mark.parametrize("owner", ["", "one vm 6 disk 1"], ids=["no note", "another's"])
async def test_what_is_not_ours_is_never_taken_for_a_copy(site: Site, owner: str) -> None:
    vm = site.oned.tell(await two_disks(site), Lcm.PROLOG)
    await site.lun("vms/one-5-1", opennebula_owner=owner)
    site.stamp("vms/one-5-1", "somebody's")
    done = await site.oned.transfer(vm, site.oned.prolog(vm))
    failed(done, "something else than the copy")
    await site.oned.no_fail(site.oned.cleanup(site.oned.tell(vm, Lcm.CLEANUP_DELETE), "hosta"))
    assert site.stamped("vms/one-5-1") == "somebody's" and site.permitted("vms/one-5-1") == set()
    assert site.all_gone()


async def test_a_cdrom_serves_many_vms_at_once(site: Site) -> None:
    iso = await site.image("iso")
    vms = [await deployed(site, Vm(number, (Disk(0, iso, clone=False, read_only=True),), "hosta")) for number in (1, 2)]
    assert {site.hosts["hosta"].engine.view(f"one-{vm.id}-0")["access"] for vm in vms} == {"ro"}
    for vm in vms:
        await ended(site, vm)
    assert site.children("images") == {"iso"} and site.all_gone()


async def test_a_shareable_image_serves_two_vms_of_one_host(site: Site) -> None:
    shared = await site.image("shared")
    vms = [Vm(number, (Disk(0, shared, clone=False, shareable=True),), "hosta") for number in (1, 2)]
    for vm in vms:
        site.oned.tell(vm, Lcm.PROLOG)
        ok(await site.oned.transfer(vm, site.oned.prolog(vm)))
    assert site.hosts["hosta"].attached() == {"one-1-0", "one-2-0"}


@pytest.mark.parametrize("ails", ["host", "oned", "daemon", "command"])
async def test_what_cannot_be_reached_is_said_in_one_line(site: Site, ails: str) -> None:
    vm = site.oned.tell(await two_disks(site), Lcm.PROLOG)
    lines = site.oned.prolog(vm)
    match ails:
        case "host":
            site.lose("hosta")
            failed(await site.oned.transfer(vm, lines), "hosta cannot be reached by ssh")
            site.find("hosta")
        case "oned":
            (site.folder / "oned.down").touch()
            failed(await site.oned.transfer(vm, lines), "oned does not tell of VM 5")
            (site.folder / "oned.down").unlink()
        case "daemon":
            await site.hosts["hosta"].stop()
            failed(await site.oned.transfer(vm, lines), "hosta: cdmi-attachd does not listen")
            await site.hosts["hosta"].start()
        case "command":
            command = site.folder / "hosts" / "hosta" / "bin" / "cdmi-attach"
            command.rename(command.with_name("away"))
            failed(await site.oned.transfer(vm, lines), "hosta: cdmi-attach is not there")
            command.with_name("away").rename(command)
    ok(await site.oned.retry(vm))
    site.boot(vm)


async def test_a_daemon_that_dies_between_copy_and_boot(site: Site) -> None:
    vm = site.oned.tell(await two_disks(site), Lcm.PROLOG)
    ok(await site.oned.transfer(vm, site.oned.prolog(vm)))
    await site.hosts["hosta"].stop()
    await site.hosts["hosta"].start()
    ok(await site.oned.retry(vm))
    site.boot(vm)
    await ended(site, vm)
    assert site.all_gone() and site.children("vms") == set()


async def test_a_source_that_is_none_is_refused(site: Site) -> None:
    for source in ("rbd://pool/x", "https://server/x", "cdmi://", "/dev/sda"):
        vm = site.oned.tell(Vm(7, (Disk(0, source, clone=False),), "hosta"), Lcm.PROLOG)
        failed(await site.oned.transfer(vm, site.oned.prolog(vm)), "is no CDMI object")
    assert site.logins() == []


async def test_disks_are_links_that_replace_links(site: Site) -> None:
    """What an earlier VM's directory has left does not matter."""
    vm = await two_disks(site)
    disk = site.disk("hosta", vm, vm.disks[0])
    disk.parent.mkdir(parents=True)
    disk.symlink_to("/nowhere")
    vm = await deployed(site, replace(vm, disks=vm.disks[:1]))
    assert site.link("hosta", vm, vm.disks[0]) == "/run/cdmi-attach/disk/one-5-0"


@pytest.mark.parametrize("disk", [0, 1])
async def test_a_script_that_comes_after_its_vm_has_gone_leaves_nothing(site: Site, disk: int) -> None:
    """recover --delete while LN, or CLONE, is on its way: oned has forgotten it, and it goes on."""
    vm = site.oned.tell(await two_disks(site), Lcm.PROLOG)
    action, _, *words = site.oned.prolog(vm)[disk].split()
    async with site.late("hosta", action.partition(".")[0].lower(), words) as late:
        for done in await site.oned.no_fail(site.oned.cleanup(site.oned.tell(vm, Lcm.CLEANUP_DELETE), "hosta")):
            ok(done)
    failed(late[0], "late")
    assert site.all_gone() and site.children("images") == {"data5", "base5"}
    assert site.permitted("images/data5") == set() and site.children("vms") == set()


CDROM, SHAREABLE = Disk(0, "", clone=False, read_only=True), Disk(0, "", clone=False, shareable=True)


@pytest.mark.parametrize("disk", [CDROM, SHAREABLE], ids=["CDROM", "shareable"])
async def test_what_others_may_have_comes_late_as_well(site: Site, disk: Disk) -> None:
    """LN of what several VMs use: of the one that has gone nothing is left, and the other keeps it."""
    disk = replace(disk, source=await site.image("many"))
    first, second = [site.oned.tell(Vm(number, (disk,), "hosta"), Lcm.PROLOG) for number in (5, 6)]
    action, _, *words = site.oned.prolog(first)[0].split()
    async with site.late("hosta", action.partition(".")[0].lower(), words) as late:
        ok(await site.oned.transfer(second, site.oned.prolog(second)))
        for done in await site.oned.no_fail(site.oned.cleanup(site.oned.tell(first, Lcm.CLEANUP_DELETE), "hosta")):
            ok(done)
    failed(late[0], "late")
    assert site.hosts["hosta"].attached() == {"one-6-0"}


async def test_a_connection_that_ssh_keeps_is_not_waited_for(site: Site) -> None:
    """ControlMaster of OpenNebula's own ssh: in older releases of OpenSSH what stays behind has standard error open."""
    fifo, ssh = site.folder / "kept", site.folder / "bin" / "ssh"
    os.mkfifo(fifo)
    before = ssh.read_text()
    first, _, rest = before.partition("\n")
    ssh.write_text(f"{first}\n{{ exec cat {fifo} >/dev/null; }} &\n{rest}")
    kept = os.open(fifo, os.O_RDWR)
    try:
        vm = await two_disks(site)
        async with asyncio.timeout(30):
            vm = await deployed(site, vm)
    finally:
        os.close(kept)
        ssh.write_text(before)
    await ended(site, vm)
