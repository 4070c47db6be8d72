"""The life of a VM by the drivers, a step at a time; after each the kernels, libvirt and the server are looked at.

Its first disk is persistent, and what its guest boots from; the others are copies, stamped; one more persistent disk
comes and goes. The guest writes to its first disk, and reads that again, all the while (tests/lab/writing_sector.py),
or says only that it has booted (boot_sector.py), which leaves the machine's processors to others.
"""

import base64
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.lab.boot_sector import boot_sector
from tests.lab.one_scene import Machines
from tests.lab.writing_guest import Writer
from tests.lab.writing_sector import EACH, FIRST, SECTOR, SECTORS, lost, newest, writing_sector
from tests.opennebula import life
from tests.opennebula.life import ok
from tests.opennebula.oned import FRONT_END, IMAGES, Disk, Lcm, Vm, message
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
    writes: bool = True
    tag: str = ""
    """What its images are called besides: those of an earlier life stay on the server."""
    vm: Vm = field(init=False)
    names: dict[int, str] = field(default_factory=dict)
    """The images, by the numbers of the disks."""
    before: dict[str, str] = field(default_factory=dict)

    @property
    def guest(self) -> Writer:
        """What runs in it."""
        return Writer(self.site.hosts[self.vm.host], DOMAIN)

    @property
    def boots(self) -> bytes:
        """What is on its first disk."""
        return writing_sector() if self.writes else boot_sector(BOOTED)

    async def image(self, number: int, way: str, content: bytes = b"") -> str:
        """An object of the storage's becomes an image, for the disk of that number. Returns its SOURCE.

        The first is registered by its PATH, the others by oneadmin, who may say SOURCE.
        """
        name = self.names[number] = f"{way}{number}{self.tag}"
        source = await self.site.image(name, content, way=way)
        if number == 0:
            self.say(f"oneimage create: image {name}, PATH=cdmi://{self.site.address}/images/{name}")
            assert await self.site.registered(number, name) == source
        self.say(f"image {name}: SOURCE={source}")
        return source

    async def deployed(self, host: str) -> None:
        """oneimage create, onetemplate instantiate."""
        self.before = self.site.left()
        first = Disk(0, await self.image(0, self.ways[0], self.boots), clone=False)
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

    async def resized(self, disk: Disk, mib: int) -> None:
        """onevm disk-resize: oned lets the guest know when the disk has grown (`virsh blockresize`)."""
        self.say(f"onevm disk-resize: disk {disk.number}, to {mib} MiB")
        where = self.vm.place(self.site.oned, self.vm.host, disk)
        vm = self.site.oned.tell(self.vm, Lcm.DISK_RESIZE)
        line = f"RESIZE.{vm.system} cdmi {where} {mib} {NUMBER} {IMAGES}"
        ok(await self.site.oned.transfer(vm, [line]))
        assert self.site.grown(vm, disk, mib) == mib << 20, "the guest has all of it"
        self.vm = self.site.oned.tell(vm, Lcm.RUNNING)
        await self.is_right()

    async def saved_as(self, disk: Disk, image: int) -> None:
        """onevm disk-saveas, then oneimage delete."""
        self.say(f"onevm disk-saveas: disk {disk.number}, image {image}")
        where, new = self.vm.place(self.site.oned, self.vm.host, disk), f"one-img-{image}"
        vm = self.site.oned.tell(self.vm, Lcm.HOTPLUG_SAVEAS)
        source = f"cdmi://{self.site.address}/vms/{new}"
        ok(await self.site.oned.transfer(vm, [f"CPDS.{vm.system} cdmi {where} {source} -1 {NUMBER} {IMAGES}"]))
        assert new in self.site.children("vms")
        ok(await self.site.drivers.datastore("cdmi", "rm", image, message(image, SOURCE=source)))
        assert new not in self.site.children("vms")
        self.vm = self.site.oned.tell(vm, Lcm.RUNNING)
        await self.is_right()

    async def backed_up(self, disk: Disk) -> None:
        """onevm backup, in full and live: no script of ours is called; meanwhile that disk is in use as ever."""
        self.say("onevm backup")
        self.site.back_up(self.vm, live=True)
        await self.cannot_be_taken(disk)
        self.site.end_backup(self.vm, live=True)
        await self.is_right()

    async def off_and_on(self) -> None:
        """onevm poweroff, backup, resume: no script is called."""
        self.say("onevm poweroff; onevm backup; onevm resume")
        if self.writes:
            self.guest.goes_on()  # it counts from 1 after each boot: what it wrote before would look newer
        self.vm = life.powered_off(self.site, self.vm)
        missing = self.lost()
        assert not missing, missing
        self.site.back_up(self.vm, live=False)
        self.site.end_backup(self.vm, live=False)
        self.site.boot(self.vm)
        self.vm = self.site.oned.tell(self.vm, Lcm.RUNNING)
        await self.is_right()

    async def suspended(self) -> None:
        """onevm suspend, onevm resume: no script is called."""
        self.say("onevm suspend; onevm resume")
        self.site.save(self.vm)
        assert self.site.domains(self.vm.host) == []
        self.site.restore(self.vm)
        await self.is_right()

    async def stopped(self, host: str) -> None:
        """onevm stop, and its resume on some host, where the guest goes on with the memory that it had."""
        self.say(f"onevm stop; onevm resume on {host}")
        self.site.save(self.vm)
        vm = self.site.oned.tell(self.vm, Lcm.EPILOG_STOP)
        ok(await self.site.oned.transfer(vm, self.site.oned.moves(vm, vm.host, FRONT_END)))
        assert not any(self.permitted(number) for number in self.numbers)
        vm = self.site.oned.tell(vm.at(host), Lcm.PROLOG_RESUME)
        ok(await self.site.oned.transfer(vm, self.site.oned.moves(vm, FRONT_END, host)))
        self.site.restore(vm)
        self.vm = self.site.oned.tell(vm, Lcm.RUNNING)
        await self.is_right()

    async def reverted(self, disk: Disk) -> None:
        """onevm poweroff; disk-snapshot-create, what is written after it, -revert, -delete; onevm resume."""
        self.say("onevm poweroff")
        self.vm = life.powered_off(self.site, self.vm)
        ok(await self.snapshot(disk, "SNAP_CREATE", 1))
        self.site.stamp(self.vm, disk, "written since")
        ok(await self.snapshot(disk, "SNAP_REVERT", 1))
        ok(await self.snapshot(disk, "SNAP_DELETE", 1))
        self.say("onevm resume")
        self.site.boot(self.vm)
        self.vm = self.site.oned.tell(self.vm, Lcm.RUNNING)
        await self.is_right()

    async def rested(self, host: str) -> None:
        """onevm undeploy, and its resume on some host."""
        self.say(f"onevm undeploy; onevm resume on {host}")
        self.vm = await life.rested(self.site, self.vm)
        assert not any(self.permitted(number) for number in self.numbers)
        self.vm = await life.resumed(self.site, self.vm, host)
        await self.is_right()

    async def migrated_cold(self, host: str) -> None:
        """onevm migrate."""
        self.say(f"onevm migrate, to {host}")
        self.vm = await life.migrated_cold(self.site, self.vm, host)
        await self.is_right()

    async def migrated_live(self, host: str) -> None:
        """onevm migrate --live: the guest writes all the while."""
        self.say(f"onevm migrate --live, to {host}")
        before = self.vm.host
        self.vm, told = await life.migrated_live(self.site, self.vm, host)
        assert all(done.ok for done in told) and self.vm.host == host, told
        assert self.site.domains(before) == [] and self.site.domains(host) == [DOMAIN]
        await self.is_right()

    async def cannot_move(self, host: str) -> None:
        """The same; libvirt does not find a disk there. The guest stays, and writes; nothing of ours is there."""
        self.say(f"onevm migrate --live, to {host}, which cannot attach a disk")
        there, told = await life.migrated_live(self.site, self.vm, host)
        assert all(done.ok for done in told) and there.host == self.vm.host, "what premigrate says is swallowed"
        assert self.site.domains(host) == []
        self.runs()

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
        """The guest runs, and writes; each disk is the object that it is to be; no other host has anything of it."""
        self.runs()
        for disk, (owner, stamp) in zip(self.vm.disks, self.site.seen(self.vm), strict=True):
            own = stamp == self.names[disk.number] if disk.number else self.writes or BOOTED in stamp
            assert own, f"{disk} leads to {stamp!r}"
            assert owner == "oneadmin:oneadmin", "QEMU opens it by itself"
        others = {name for name in self.before if name != self.vm.host}
        if others:
            now = self.site.left()
            assert {name: now[name] for name in others} == {name: self.before[name] for name in others}

    def runs(self) -> None:
        """See that the guest has booted from its first disk, and that it writes, if it does that."""
        stage = self.site.hosts[self.vm.host]
        assert DOMAIN in self.site.domains(self.vm.host)
        if self.writes:
            self.guest.writes()
        else:
            assert BOOTED in stage.boot_line(DOMAIN, BOOTED)

    def lost(self) -> Sequence[str]:
        """What is missing on the server of what the guest has written since it was booted, once it has ended."""
        if not self.writes:
            return []
        file = self.names[0].startswith("nfs")
        words = self.site.server.read_value(f"images/{self.names[0]}", file=file)
        span = f"{FIRST * SECTOR}-{(FIRST + SECTORS) * SECTOR - 1}"
        line = f"{shlex.join([*words, '-r', span])} | base64 -w0"
        sectors = base64.b64decode(self.site.server.guest.run(line).stdout)
        told = EACH * self.guest.lines()
        return [
            *lost(sectors),
            *([] if newest(sectors) >= told > 0 else [f"{told} were told, {newest(sectors)} are there"]),
        ]
