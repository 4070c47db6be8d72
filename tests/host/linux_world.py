"""This machine as a world: the real host, as root, against LIO targets on the loopback. For a lab guest only."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from agent.host import dm
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.linux import FUNCTIONS, LinuxHost
from agent.host.multipathd import Multipathd
from agent.host.roots import Roots
from agent.workers.pool import Pool
from attachers.base import Host
from tests.host import hidden
from tests.host.lio import Lio
from tests.host.world import World

SYS = Path("/sys")
NODES = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
LINKS = Path("/run/cdmi-attach/disk")
DEVICES = Path("/dev/cdmi-attach")
CLAIMS = Path("/run/cdmi-attach/claim")
ANNOUNCED = Path("/run/cdmi-attach/map")
PROOFS = Path("/run/cdmi-attach/proved")
WWIDS = Path("/etc/multipath/wwids")


class LinuxWorld:
    """The guarded real host, and a target that this very kernel serves."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        unique = secrets.token_hex(4)
        self.target = f"iqn.2024-01.org.example:{unique}.one"
        self.closed_target = f"iqn.2024-01.org.example:{unique}.closed"
        self.portal = "127.0.0.1:3260"
        self.other_portal = "127.0.0.2:3260"
        self.dead_portal: str | None = None
        self._lio = Lio(directory, unique)
        self._foreign_links: list[Path] = []
        self._multipathd: Multipathd | None = None
        self._lio.make_target(self.target, self.portal, [_initiator()])
        self._lio.add_portal(self.target, self.other_portal)
        self._lio.make_target(self.closed_target, self.portal, [])

    async def make_lun(self, lun: int, *, size: int = 16 << 20) -> str:
        return self._lio.make_lun(self.target, lun, size=size)

    async def make_twin(self, lun: int, wwid: str) -> None:
        self._lio.make_lun(self.target, lun, size=16 << 20, serial=wwid.removeprefix("naa.6001405"))

    async def swap_lun(self, lun: int) -> str:
        return self._lio.swap_lun(self.target, lun)

    async def resize_lun(self, lun: int, *, size: int) -> None:
        self._lio.resize_lun(self.target, lun, size=size)

    async def set_access(self, lun: int, state: str) -> None:
        self._lio.set_access(self.target, lun, state)

    async def take_offline(self, hctl: str) -> None:
        (SYS / f"class/scsi_device/{hctl}/device/state").write_text("offline\n")

    @asynccontextmanager
    async def holding(self, hctl: str) -> AsyncIterator[None]:
        node = os.open(f"/dev/{_node(hctl)}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            holder = await asyncio.create_subprocess_exec("sleep", "600", stdin=node)
        finally:
            os.close(node)
        try:
            yield
        finally:
            holder.kill()
            await holder.wait()

    @asynccontextmanager
    async def hidden_user(self, hctl: str, how: str, name: str) -> AsyncIterator[str]:
        async with hidden.USERS[how](_node(hctl), str(LINKS / name)) as user:
            yield user

    async def use_multipath(self) -> None:
        await self._run("systemctl", "start", "multipathd.service")
        self._multipathd = Multipathd(Roots())

    @asynccontextmanager
    async def holding_map(self, wwid: str) -> AsyncIterator[None]:
        found = dm.find(Roots(), [wwid])
        assert found, wwid
        node = os.open(f"/dev/{found.node}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            holder = await asyncio.create_subprocess_exec("sleep", "600", stdin=node)
        finally:
            os.close(node)
        try:
            yield
        finally:
            holder.kill()
            await holder.wait()

    async def foreign_map(self, wwid: str, hctl: str) -> None:
        assert self._multipathd
        await links_settled()
        await self._multipathd.add_path(_node(hctl))
        await self._multipathd.add_map(dm.multipath_name(wwid))

    async def foreign_login(self) -> int:
        await self._iscsiadm("-o", "new")
        await self._iscsiadm("-o", "update", "-n", "node.session.scan", "-v", "manual")
        await self._iscsiadm("-l")
        return next(_host_of(session) for session in _sessions(self.target))

    async def foreign_logout(self) -> None:
        await self._iscsiadm("-u")

    async def foreign_scan(self, hctl: str) -> None:
        host, channel, target, lun = hctl.split(":")
        (SYS / f"class/scsi_host/host{host}/scan").write_text(f"{channel} {target} {lun}")

    async def foreign_link(self, name: str) -> None:
        self._foreign_links.append(_link_to_null(LINKS / name))

    async def inventory(self) -> frozenset[str]:
        await links_settled()
        known = await self._multipathd.paths() if self._multipathd else ()
        return frozenset(self._inventory()) | {f"multipathd knows {path}" for path in known}

    async def close(self) -> None:
        for link in self._foreign_links:
            link.unlink(missing_ok=True)
        if self._multipathd:
            await links_settled()  # it reads a map that has changed, which `-F` takes for use
            await self._run("multipath", "-F")
        for session in _sessions(self.target):
            await self._run("iscsiadm", "-m", "session", "-r", session.name.removeprefix("session"), "-u")
        if any((nodes / self.target).exists() for nodes in NODES):
            await self._iscsiadm("-o", "delete")
        if self._multipathd:
            await self._run("systemctl", "stop", "multipathd.service", "multipathd.socket")
        await self.host.close()
        self._lio.close()

    def _inventory(self) -> Iterator[str]:
        for nodes in NODES:
            for record in nodes.glob(f"{self.target}/*"):
                yield f"record {record.name}"
        for session in _sessions(self.target):
            yield f"session {session.name}"
            for device in _devices(session):
                yield f"device {device}"
        for node in SYS.glob("block/dm-*/dm/uuid"):
            yield f"map {node.read_text().strip()}"
        if WWIDS.exists():
            yield from (f"multipath lists {line}" for line in WWIDS.read_text().splitlines() if line[:1] != "#")
        for directory in (LINKS, DEVICES, DEVICES / "path", CLAIMS, ANNOUNCED):
            with suppress(FileNotFoundError):
                for entry in directory.iterdir():
                    if entry.is_symlink() or entry.is_file():
                        yield f"{entry} -> {entry.readlink() if entry.is_symlink() else ''}"
        yield from proofs()

    async def _iscsiadm(self, *arguments: str) -> None:
        await self._run("iscsiadm", "-m", "node", "-T", self.target, "-p", self.portal, *arguments)

    async def _run(self, *command: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, f"{' '.join(command)}: {output.decode(errors='replace')}"


def proofs() -> Iterator[str]:
    """What udev is told of disks that have proved themselves, whichever disk it is at an address."""
    with suppress(FileNotFoundError):
        yield from (f"proof of {entry.name.partition('@')[0]}: {entry.read_text()}" for entry in PROOFS.iterdir())


async def links_settled() -> None:
    """Wait until udev has come to its end: a disk that is gone has its links until then."""
    process = await asyncio.create_subprocess_exec("udevadm", "settle", "--timeout=60")
    assert await process.wait() == 0, "udev does not come to its end"


async def linux_world(tmp_path: Path) -> World:
    """The guarded real host. The workers are forked before its record is opened."""
    assert os.geteuid() == 0, "the real host needs root, in a guest that may be broken"
    pool = Pool.start(FUNCTIONS)
    host = GuardedHost(LinuxHost(pool), open_created(tmp_path / "created.sqlite"))
    await host.recover()
    return LinuxWorld(host, tmp_path)


def _link_to_null(link: Path) -> Path:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/dev/null")
    return link


def _initiator() -> str:
    lines = Path("/etc/iscsi/initiatorname.iscsi").read_text().splitlines()
    return next(line.partition("=")[2].strip() for line in lines if line.startswith("InitiatorName="))


def _sessions(target: str) -> list[Path]:
    """The sessions to a target (/sys/class/iscsi_session/sessionN)."""
    found = []
    for session in SYS.glob("class/iscsi_session/session*"):
        with suppress(OSError):
            if (session / "targetname").read_text().strip() == target:
                found.append(session)
    return found


def _host_of(session: Path) -> int:
    """.../host3/session1/iscsi_session/session1 -> 3"""
    return next(int(part.name.removeprefix("host")) for part in session.resolve().parents if part.name[:4] == "host")


def _devices(session: Path) -> list[str]:
    host = _host_of(session)
    return [entry.name for entry in SYS.glob(f"class/scsi_device/{host}:*")]


def _node(hctl: str) -> str:
    return next(entry.name for entry in SYS.glob(f"class/scsi_device/{hctl}/device/block/*"))
