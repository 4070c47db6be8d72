"""The steps of a VM's life as tests take them: each with the states that oned goes through, and the guest's part."""

from dataclasses import replace
from enum import Enum, auto
from typing import Protocol

from tests.opennebula.oned import FRONT_END, LOCAL_DS, Disk, Lcm, Oned, Vm
from tests.opennebula.onetm import Done, Drivers

BOTH_SYSTEMS = (("shared", 100), ("ssh", LOCAL_DS))


class Site(Protocol):
    """What a VM's life needs of a site: simulated hosts (`site.py`), or machines with a kernel (`tests/lab`)."""

    @property
    def oned(self) -> Oned: ...

    @property
    def drivers(self) -> Drivers: ...

    async def image(self, name: str) -> str:
        """An object that may be an image, stamped with its name. Returns its source."""

    def boot(self, vm: Vm, host: str | None = None) -> object:
        """Start the guest on its disks; fails where one of them is not there."""

    def halt(self, vm: Vm, host: str | None = None) -> None:
        """End the guest."""

    def moves(self, vm: Vm, source: str, destination: str) -> None:
        """Let libvirt migrate the guest live; KeyError where it does not."""


class Libvirt(Enum):
    """What becomes of a live migration once PREMIGRATE was called."""

    MIGRATES = auto()
    FAILS = auto()
    NETWORK_FAILS = auto()


async def two_disks(
    site: Site, number: int = 5, *, host: str = "hosta", system: tuple[str, int] = ("shared", 100)
) -> Vm:
    """A VM with a persistent disk, and a copy of an image."""
    data, base = await site.image(f"data{number}"), await site.image(f"base{number}")
    disks = (Disk(0, data, clone=False), Disk(1, base, clone=True))
    return Vm(number, disks, host, system=system[0], ds=system[1])


async def deployed(site: Site, vm: Vm) -> Vm:
    """PROLOG, and the boot."""
    vm = site.oned.tell(vm, Lcm.PROLOG)
    ok(await site.oned.transfer(vm, site.oned.prolog(vm)))
    site.boot(vm)
    return site.oned.tell(vm, Lcm.RUNNING)


async def ended(site: Site, vm: Vm) -> None:
    """Shutdown, and EPILOG."""
    site.halt(vm)
    vm = site.oned.tell(vm, Lcm.EPILOG)
    ok(await site.oned.transfer(vm, site.oned.epilog(vm, vm.host)))


async def rested(site: Site, vm: Vm, lcm: Lcm = Lcm.EPILOG_UNDEPLOY) -> Vm:
    """Stop or undeploy of a running VM."""
    site.halt(vm)
    vm = site.oned.tell(vm, lcm)
    ok(await site.oned.transfer(vm, site.oned.moves(vm, vm.host, FRONT_END)))
    return site.oned.tell(vm, Lcm.INIT)


async def resumed(site: Site, vm: Vm, host: str, lcm: Lcm = Lcm.PROLOG_UNDEPLOY) -> Vm:
    """Resume of a stopped or undeployed VM, on some host."""
    vm = site.oned.tell(vm.at(host), lcm)
    ok(await site.oned.transfer(vm, site.oned.moves(vm, FRONT_END, host)))
    site.boot(vm)
    return site.oned.tell(vm, Lcm.RUNNING)


async def migrated_cold(site: Site, vm: Vm, host: str, lcm: Lcm = Lcm.PROLOG_MIGRATE) -> Vm:
    """Cold migration of a running VM."""
    site.halt(vm)
    before, vm = vm.host, site.oned.tell(vm.at(host), lcm)
    ok(await site.oned.transfer(vm, site.oned.moves(vm, before, host)))
    site.boot(vm)
    return site.oned.tell(vm, Lcm.RUNNING)


async def migrated_live(site: Site, vm: Vm, host: str, libvirt: Libvirt = Libvirt.MIGRATES) -> tuple[Vm, list[Done]]:
    """Live migration, as one_vmm_exec has it: its scripts say what they like, but that of the system datastore."""
    before, there = vm.host, site.oned.tell(vm.at(host), Lcm.MIGRATE)
    folder = there.folder(site.oned, host).partition(":")[2]
    words = [before, host, folder, str(vm.id), str(vm.ds)]

    async def script(action: str) -> Done:
        return await site.drivers.tm(vm.system, action, words, there.base64())

    told = [await script("premigrate")]
    if not told[0].ok or libvirt is Libvirt.NETWORK_FAILS:
        return site.oned.tell(vm, Lcm.RUNNING), told
    try:
        if libvirt is Libvirt.FAILS:
            raise KeyError("libvirt does not migrate it")
        site.moves(there, before, host)
    except KeyError:
        told.append(await script("failmigrate"))
        return site.oned.tell(vm, Lcm.RUNNING), told
    told.append(await script("postmigrate"))
    return site.oned.tell(there, Lcm.RUNNING), told


def powered_off(site: Site, vm: Vm) -> Vm:
    """Poweroff: no script is called."""
    site.halt(vm)
    return site.oned.tell(vm, Lcm.INIT)


def ok(done: Done) -> None:
    """It went well, and nothing but lines for logs was on standard error."""
    assert done.ok and done.plain == (), done.error


def failed(done: Done, word: str) -> None:
    """It failed with exactly one plain line, which has that word in it, and a remedy."""
    assert not done.ok and len(done.plain) == 1 and word in done.error, done
    assert "; " in done.error, f"no remedy: {done.error}"


def as_clone(vm: Vm, *, clone: bool) -> Vm:
    """The VM with all its disks copies, or none."""
    return replace(vm, disks=tuple(replace(disk, clone=clone) for disk in vm.disks))
