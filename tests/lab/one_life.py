"""The life of a VM by the drivers, a step at a time; after each the kernels, libvirt and the server are looked at.

Its first disk is persistent, and what its guest boots from (tests/lab/boot_sector.py); the others are copies, stamped;
one more persistent disk comes and goes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.lab.boot_sector import boot_sector
from tests.lab.one_scene import Machines
from tests.opennebula import life
from tests.opennebula.life import ok
from tests.opennebula.oned import IMAGES, Disk, Lcm, Vm
from tests.opennebula.onetm import Done

NUMBER = 5
DOMAIN = f"one-{NUMBER}"
BOOTED = "booted from what disk.0 leads to"


@dataclass
class Life:
    """The VM. `ways` are those by which its disks are reached: the first disk by the first, a copy by each other."""

    site: Machines
    ways: Sequence[str]
    say: Callable[[str], None] = print
    vm: Vm = field(init=False)
    names: dict[int, str] = field(default_factory=dict)
    """The images, by the numbers of the disks."""
    before: dict[str, str] = field(default_factory=dict)

    async def image(self, number: int, way: str, content: bytes = b"") -> str:
        """An object of the storage's becomes an image, for the disk of that number. Returns its SOURCE.

        The first is registered by its PATH, the others by oneadmin, who may say SOURCE.
        """
        name = self.names[number] = f"{way}{number}"
        source = await self.site.image(name, content, way=way)
        if number == 0:
            self.say(f"oneimage create: image {name}, PATH=cdmi://{self.site.address}/images/{name}")
            assert await self.site.registered(number, name) == source
        self.say(f"image {name}: SOURCE={source}")
        return source

    async def deployed(self, host: str) -> None:
        """oneimage create, onetemplate instantiate."""
        self.before = self.site.left()
        first = Disk(0, await self.image(0, self.ways[0], boot_sector(BOOTED)), clone=False)
        ways = enumerate(self.ways[1:] or self.ways, 1)
        others = [Disk(number, await self.image(number, way), clone=True) for number, way in ways]
        self.say(f"onetemplate instantiate: VM {NUMBER} on {host}")
        self.vm = await life.deployed(self.site, Vm(NUMBER, (first, *others), host))
        await self.is_right()

    async def plugged(self, way: str) -> Disk:
        """onevm disk-attach of a persistent image."""
        number = len(self.vm.disks)
        disk = Disk(number, await self.image(number, way), clone=False)
        self.say(f"onevm disk-attach: disk {number}")
        vm = self.site.oned.tell(replace(self.vm, disks=(*self.vm.disks, disk)), Lcm.HOTPLUG)
        ok(await self.site.drivers.transfer([self.site.oned.prolog(vm)[-1]]))
        self.site.plug(vm, disk)
        self.vm = self.site.oned.tell(vm, Lcm.RUNNING)
        await self.is_right()
        return disk

    async def cannot_be_taken(self, disk: Disk) -> None:
        """What libvirt has not let go of stays."""
        done = await self.site.drivers.transfer([self.site.oned.farewell(self.vm, disk, self.vm.host)])
        life.failed(done, "in use")
        await self.is_right()

    async def unplugged(self, disk: Disk) -> None:
        """onevm disk-detach."""
        self.say(f"onevm disk-detach: disk {disk.number}")
        self.site.unplug(self.vm, disk)
        ok(await self.site.drivers.transfer([self.site.oned.farewell(self.vm, disk, self.vm.host)]))
        disks = tuple(one for one in self.vm.disks if one is not disk)
        self.vm = self.site.oned.tell(replace(self.vm, disks=disks), Lcm.RUNNING)
        assert self.permitted(disk.number) == set()
        await self.is_right()

    async def snapshot(self, disk: Disk, action: str, number: int = 0) -> Done:
        """onevm disk-snapshot-create, -revert, -delete."""
        self.say(f"onevm disk-snapshot-{action.split('_')[1].lower()}: disk {disk.number}")
        where = self.vm.place(self.site.oned, self.vm.host, disk)
        return await self.site.oned.transfer(
            self.vm, [f"{action}.{self.vm.system} cdmi {where} {number} {NUMBER} {IMAGES}"]
        )

    async def ended(self) -> None:
        """onevm terminate."""
        self.say("onevm terminate")
        await life.ended(self.site, self.vm)
        assert self.site.children("vms") == set(), "its copies are gone"
        assert not any(self.permitted(number) for number in self.numbers), "no host may use an image"
        assert self.site.left() == self.before and self.site.folders() == "", "every host is as it was"
        assert all(stage.defects() == "" for stage in self.site.hosts.values())

    # What is so.

    @property
    def numbers(self) -> list[int]:
        """The disks that are no copies, and that a server of block storage lets hosts in to."""
        return [disk.number for disk in self.vm.disks if not disk.clone]

    def permitted(self, number: int) -> set[str]:
        """Who may use an image; nobody is named in what is reached by NFS."""
        name = self.names[number]
        return set() if name.startswith("nfs") else set(self.site.server.permissions(f"images/{name}"))

    async def is_right(self) -> None:
        """The guest runs; each disk is the object that it is to be; no other host has anything of it."""
        self.runs()
        for disk, (owner, stamp) in zip(self.vm.disks, self.site.seen(self.vm), strict=True):
            own = stamp == self.names[disk.number] if disk.number else BOOTED in stamp
            assert own, f"{disk} leads to {stamp!r}"
            assert owner == "oneadmin:oneadmin", "QEMU opens it by itself"
        others = {name for name in self.before if name != self.vm.host}
        if others:
            now = self.site.left()
            assert {name: now[name] for name in others} == {name: self.before[name] for name in others}

    def runs(self) -> None:
        """See that the guest is there, and has booted from its first disk."""
        assert self.site.domains(self.vm.host) == [DOMAIN]
        assert BOOTED in self.site.hosts[self.vm.host].boot_line(DOMAIN, BOOTED)
