"""LN, CLONE and the end of a VM: the slice from a transfer file to a disk, and back to nothing."""

from dataclasses import replace

from tests.opennebula.oned import FRONT_END, Disk, Lcm, Vm
from tests.opennebula.site import Site


async def two_disks(site: Site, number: int = 5, host: str = "hosta", **more: object) -> Vm:
    """A VM with a persistent disk, and a copy of an image."""
    data, base = await site.image(f"data{number}"), await site.image(f"base{number}")
    return replace(Vm(number, (Disk(0, data, clone=False), Disk(1, base, clone=True)), host), **more)  # type: ignore[arg-type]


async def deployed(site: Site, vm: Vm) -> Vm:
    """PROLOG, and the boot."""
    vm = site.oned.tell(vm, Lcm.PROLOG)
    done = await site.oned.transfer(vm, site.oned.prolog(vm))
    assert done.ok, done.error
    site.boot(vm)
    return site.oned.tell(vm, Lcm.RUNNING)


async def test_a_vm_lives_and_ends(site: Site) -> None:
    vm = await deployed(site, await two_disks(site))
    persistent, copy = vm.disks
    assert site.link("hosta", vm, persistent) == "/run/cdmi-attach/disk/one-5-0", "the same on every host"
    assert (site.behind("hosta", vm, persistent), site.behind("hosta", vm, copy)) == ("data5", "base5")
    assert site.children("vms") == {"one-5-1"} and site.permitted("vms/one-5-1") == {"hosta"}
    assert site.permitted("images/data5") == {"hosta"} and site.permitted("images/base5") == set()
    site.halt(vm)
    vm = site.oned.tell(vm, Lcm.EPILOG)
    done = await site.oned.transfer(vm, site.oned.epilog(vm, "hosta"))
    assert done.ok, done.error
    assert site.all_gone() and site.children("vms") == set()
    assert site.children("images") == {"data5", "base5"} and site.permitted("images/data5") == set()
    assert site.stamped("images/data5") == "data5" and not site.disk("hosta", vm, copy).parent.exists()
    assert FRONT_END not in site.logins()
