"""An OpenNebula site in one process: a CDMI server, two hosts, and a front-end."""

import asyncio
import json
import os
import re
import select
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp

from agent.cdmi.server import Server
from agent.host.simulated_san import San
from agent.model import Request
from tests.cdmi_server import targets
from tests.cdmi_server.records import Record
from tests.cdmi_server.runner import ServerHandle, running_server
from tests.opennebula.hosts import LINKS, Guests, SimulatedDaemon
from tests.opennebula.machines import CONF, commands, front_end, program, reached
from tests.opennebula.oned import FRONT_END, LOCAL_DS, Disk, Oned, Vm
from tests.opennebula.onetm import Done, Drivers

SIZE = 1 << 20


@dataclass
class Site:
    """The whole of it. Oracles look at the server and at the hosts, never at what a driver says."""

    folder: Path
    server: ServerHandle
    hosts: dict[str, SimulatedDaemon]
    oned: Oned
    guests: Guests = field(default_factory=Guests)

    @property
    def address(self) -> str:
        """The server as sources name it."""
        return re.sub(r"^https?://([^/]*)/.*$", r"\1", self.server.url)

    @property
    def drivers(self) -> Drivers:
        return self.oned.drivers

    async def image(self, name: str, *, size: int = SIZE, **metadata: str) -> str:
        """A LUN in images/, stamped with its name. Returns its source."""
        source = await self.lun(f"images/{name}", size=size, **metadata)
        self.stamp(f"images/{name}", name)
        return source

    async def lun(self, path: str, *, size: int = SIZE, **metadata: str) -> str:
        """A LUN at a path, exported to nobody. Returns its source."""
        told = {"cdmi_assignedsize": str(size), **metadata}
        made = await put(f"{self.server.url}{path}/", {"metadata": told, "exports": exported()})
        return f"cdmi://{self.address}/cdmi_objectid/{made['objectID']}"

    def configure(self, **values: str) -> None:
        """Change settings of the drivers."""
        conf = self.drivers.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"
        lines = [line for line in conf.read_text().splitlines() if line.partition("=")[0] not in values]
        lines += [f'{name}="{value}"' for name, value in values.items()]
        conf.write_text("\n".join(lines), encoding="utf-8")

    def by_path(self, path: str) -> str:
        """A source that names an object by its path."""
        return f"cdmi://{self.address}/{path}"

    # Oracles.

    def record(self, path: str) -> Record | None:
        """The object at a path of the server, without any request."""
        return self.server.store.find(f"/{path.strip('/')}/")

    def _value(self, path: str) -> Path:
        record = self.record(path)
        assert record, path
        return self.server.store.value_file(record)

    def stamp(self, path: str, text: str) -> None:
        """Write to an object's first bytes, as a guest would."""
        with self._value(path).open("r+b") as file:
            file.write(text.encode().ljust(32, b"\0"))

    def stamped(self, path: str) -> str:
        """What its first bytes say."""
        with self._value(path).open("rb") as file:
            return file.read(32).rstrip(b"\0").decode()

    def permitted(self, path: str) -> set[str]:
        """The hosts that the object's export lets in."""
        record = self.record(path)
        assert record and record.volume, path
        names = record.volume.export.permissions if record.volume.export else ()
        return {name.rpartition(":")[2] for name in names}

    def children(self, path: str) -> set[str]:
        """The names in a container."""
        record = self.record(path)
        assert record, path
        return {child.name for child in self.server.store.children(record)}

    def behind(self, host: str, vm: Vm, disk: Disk) -> str:
        """The stamp on what the guest would find as that disk, by the link that is there."""
        wwid = self.hosts[host].unit(self.link(host, vm, disk))
        for record in self.server.store.volumes():
            if wwid == f"naa.{targets.naa(targets.serial(record.id))}":
                with self.server.store.value_file(record).open("rb") as file:
                    return file.read(32).rstrip(b"\0").decode()
        raise AssertionError(f"the server knows no {wwid}")

    def link(self, host: str, vm: Vm, disk: Disk) -> str:
        """Where disk.N of a VM leads on that host."""
        return str(self.disk(host, vm, disk).readlink())

    def disk(self, host: str, vm: Vm, disk: Disk) -> Path:
        """disk.N as a file of that host."""
        shared = self.oned.location if vm.ds != LOCAL_DS else self.folder / "hosts" / host
        return shared / "datastores" / str(vm.ds) / str(vm.id) / f"disk.{disk.number}"

    # What the hypervisor does.

    def boot(self, vm: Vm, host: str | None = None) -> list[str]:
        """Start the guest on its disks; AssertionError where a disk is not there, as libvirt would refuse."""
        where = host or vm.host
        links = [self.link(where, vm, disk) for disk in vm.disks]
        assert all(link.startswith(LINKS) for link in links), links
        shared = frozenset(
            self.hosts[where].unit(link) for link, disk in zip(links, vm.disks, strict=True) if disk.read_only
        )
        return self.guests.start(f"one-{vm.id}", self.hosts[where], links, shared=shared)

    def halt(self, vm: Vm, host: str | None = None) -> None:
        """End the guest."""
        self.guests.stop(f"one-{vm.id}", self.hosts[host or vm.host])

    def moves(self, vm: Vm, source: str, destination: str) -> None:
        """Let `kvm/migrate` and libvirt move the guest; KeyError where a disk is not there.

        For a moment both have it open. The script makes the links where the hosts do not share them.
        """
        for disk in vm.disks if vm.ds == LOCAL_DS else ():
            link = self.disk(destination, vm, disk)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(self.disk(source, vm, disk).readlink())
        links = [self.link(destination, vm, disk) for disk in vm.disks]
        there = [self.hosts[destination].unit(link) for link in links]
        name = f"one-{vm.id}"
        for unit in there:
            self.hosts[destination].open(unit, name)
        self.guests.stop(name, self.hosts[source])
        self.guests.open_at[name] = (destination, tuple(there))

    def names_hosts(self, *, told_by_probe: bool) -> None:
        """Let it be known what the hosts are called on the storage network."""
        if told_by_probe:
            self.tell_hosts(*self.hosts)
        else:
            self.configure(INITIATORS=" ".join(f"{name}={one.initiator}" for name, one in self.hosts.items()))

    def tell_hosts(self, *told: str, lost: str = "") -> None:
        """What oned knows of the hosts; of these also what their probes have told. One may be in state ERROR."""
        xml = "<HOST_POOL>"
        for number, (name, host) in enumerate(self.hosts.items()):
            probe = f"<CDMI_INITIATORS><![CDATA[{host.initiator}]]></CDMI_INITIATORS>" if name in told else ""
            state = 3 if name == lost else 2
            xml += (
                f"<HOST><ID>{number}</ID><NAME>{name}</NAME><STATE>{state}</STATE><TEMPLATE>{probe}</TEMPLATE></HOST>"
            )
        (self.folder / "vms" / "hosts.xml").write_text(f"{xml}</HOST_POOL>", encoding="utf-8")

    async def quota(self, host: str, size: int) -> None:
        """Let a host's configuration say how much room the server has."""
        daemon = self.hosts[host]
        await daemon.stop()
        daemon.server = replace(daemon.server, quota=size)
        await daemon.start()

    def downloader(self, *, breaks: bool = False, then: str = "") -> None:
        """OpenNebula's downloader.sh FROM TO, of local files; or one whose source breaks off in the middle."""
        breaking = "head -c 1000 \"$1\"; echo 'it broke' >&2; exit 1" if breaks else f'cat "$1"; {then}'
        program(self.drivers.remotes / "datastore" / "downloader.sh", f"#!/bin/sh\n{breaking}\n")

    def dd(self, host: str) -> None:
        """A dd that writes what it gets to a file: a simulated host has no devices."""
        folder = self.folder / "hosts" / host
        text = f'#!/bin/sh\nprintf %s "${{1#of=}}" >{folder}/dd.of\nexec cat >{folder}/written\n'
        program(folder / "bin" / "dd", text)

    def virsh(self, host: str, *, agent: bool) -> None:
        """Let the host have a virsh; without an agent in the guest its file systems cannot be frozen."""
        log = self.folder / "hosts" / host / "virsh.log"
        refuses = "" if agent else '[ "$3" != domfsfreeze ] || exit 1\n'
        text = f'#!/bin/sh\n# virsh -c URI VERB DOMAIN\n[ "$4" = one-5 ] || exit 1\n{refuses}echo "$3" >>{log}\n'
        program(self.folder / "hosts" / host / "bin" / "virsh", text)

    def virsh_calls(self, host: str) -> list[str]:
        """What virsh was asked for, and has done."""
        return (self.folder / "hosts" / host / "virsh.log").read_text().split()

    def lose(self, host: str) -> None:
        """Let the front-end not reach a host any more."""
        (self.folder / "hosts" / host / "up").unlink()

    def find(self, host: str) -> None:
        """Let it be reached again."""
        (self.folder / "hosts" / host / "up").touch()

    def logins(self) -> list[str]:
        """The hosts that were logged in to by ssh, in that order; then they are forgotten."""
        log = self.folder / "ssh.log"
        found = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    @asynccontextmanager
    async def late(self, host: str, action: str, words: Sequence[str], stdin: str = "") -> AsyncIterator[list[Done]]:
        """A script that was given up: inside, it is on its way to a host; it gets there at the end, and is waited for.

        How it ended is in the list then.
        """
        hold, ended = self.folder / "hosts" / host / "hold", list[Done]()
        os.mkfifo(hold)
        task = self.drivers.given_up("cdmi", action, words, stdin)
        fd = await _writer_of(hold)
        hold.unlink()
        try:
            yield ended
        finally:
            os.close(fd)
            ended.append(await task)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so on the server. Raises TimeoutError."""
        async with asyncio.timeout(30):
            while not true():
                await asyncio.to_thread(select.select, [], [], [], 0.01)

    async def attach(self, host: str, name: str, source: str) -> None:
        """Have somebody else attach something on a host, by hand."""
        await self.hosts[host].engine.attach(Request(name, source, protocols=("iscsi",)), wait_s=None)

    def all_gone(self) -> bool:
        """Whether no host has anything left of any disk."""
        return all(host.is_bare() for host in self.hosts.values())


@asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[Site]:
    """A site with nothing on it but two containers."""
    async with running_server(folder / "server") as server:
        for name in ("images", "vms"):
            await put(f"{server.url}{name}/", {})
        known = Server(server.url, allow_http=True, storage_networks=(ip_network("127.0.0.0/8"),))
        san = San(path=server.state / "san.json")
        hosts = {name: SimulatedDaemon(name, folder / "hosts" / name, known, san) for name in ("hosta", "hostb")}
        oned = front_end(folder)
        site = Site(folder, server, hosts, oned)
        _configure(site)
        site.tell_hosts()
        try:
            reached(folder / "hosts" / FRONT_END, folder)
            for host in hosts.values():
                commands(host, folder)
                await host.start()
            yield site
        finally:
            await oned.drivers.close()
            for host in hosts.values():
                await host.end()


async def _writer_of(fifo: Path) -> int:
    """The FIFO, open for writing, once somebody waits to read from it. Raises TimeoutError."""
    opening = asyncio.create_task(asyncio.to_thread(os.open, fifo, os.O_WRONLY))
    done, _ = await asyncio.wait({opening}, timeout=30)
    if not done:
        os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread end
        os.close(await opening)
        raise TimeoutError(f"nobody has come to {fifo}")
    return opening.result()


def _configure(site: Site) -> None:
    conf = site.drivers.remotes / "etc" / "tm" / "cdmi" / "cdmi.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(CONF.format(server=site.address, front_end=FRONT_END), encoding="utf-8")


def exported() -> dict[str, Any]:
    """A block export, open to nobody."""
    return {"Network/iSCSI": {"permissions": []}}


async def put(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make a container of the server's."""
    kind = "application/cdmi-container"
    headers = {"X-CDMI-Specification-Version": "1.1.1", "Content-Type": kind, "Accept": kind}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(url, data=json.dumps(body)) as answer,
    ):
        text = await answer.text()
        assert answer.status == 201, text
        made: dict[str, Any] = json.loads(text)
        return made
