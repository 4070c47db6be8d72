"""This machine as a world of NFS: the real host, as root, and two servers of this very kernel. For a lab guest only."""

import asyncio
import atexit
import hashlib
import os
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.linux import FUNCTIONS, LinuxHost
from agent.workers.pool import Pool
from attachers.base import Host
from attachers.nfs_share import MOUNTS, Share
from tests.host.linux_world import CLAIMS, DEVICES, LINKS, links_settled, proofs
from tests.host.nfs_server import NfsServer
from tests.host.nfs_world import UNREACHED, NfsWorld

LIO = Path("/sys/kernel/config/target")


class LinuxNfsWorld:
    """The guarded real host, and two servers."""

    patience_s = 4.0
    address = "10.88.1.1"
    unreached = UNREACHED

    def __init__(self, host: Host) -> None:
        self.host = host
        self._servers = servers()
        self.share, self.other = (Share(one.address, str(one.directory), "4") for one in self._servers)
        self._foreign: list[str] = []

    async def put_file(self, path: str, *, size: int = 1 << 20) -> None:
        for server in self._servers:
            file = server.directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_bytes(random.Random(path).randbytes(size))
            file.chmod(0o600)  # root's alone

    async def grow_file(self, path: str, size: int) -> None:
        for server in self._servers:
            os.truncate(server.directory / path, size)

    async def swap_file(self, path: str) -> None:
        for server in self._servers:
            file = server.directory / path
            shutil.copyfile(file, file.with_suffix(".new"))
            file.with_suffix(".new").rename(file)

    async def export_as(self, options: str, *, to: str = "*") -> None:
        self._servers[0].export_as(options, to=to)

    async def content(self, path: str) -> str:
        return hashlib.sha256((self._servers[0].directory / path).read_bytes()).hexdigest()

    async def put_link(self, path: str, to: str) -> None:
        for server in self._servers:
            (server.directory / path).symlink_to(to)

    @asynccontextmanager
    async def dead(self) -> AsyncIterator[None]:
        self._servers[0].die()
        try:
            yield
        finally:
            self._servers[0].live()

    @asynccontextmanager
    async def holding(self, place: str) -> AsyncIterator[None]:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            holder = await asyncio.create_subprocess_exec("sleep", "600", stdin=fd)
        finally:
            os.close(fd)
        try:
            yield
        finally:
            holder.kill()
            await holder.wait()

    async def foreign_mount(self, point: str, source: str) -> None:
        await _run("mkdir", "-p", point)
        await _run("mount", "-t", "nfs", "-o", "vers=4,nosuid,nodev,noexec,nosymfollow", source, point)
        self._foreign.append(point)

    async def foreign_unmount(self, point: str) -> None:
        await _run("umount", point)
        self._foreign.remove(point)

    async def inventory(self) -> frozenset[str]:
        await links_settled()
        return frozenset(_inventory())

    async def close(self) -> None:
        await self.host.close()
        self._servers[0].export_as("")
        _take_disks_down()
        for point in [*_mounted(MOUNTS), *(one for one in reversed(self._foreign) if not one.startswith(MOUNTS))]:
            await _run("umount", point)
        _tidy()
        for server in self._servers:
            shutil.rmtree(server.directory / "a")


@cache
def servers() -> tuple[NfsServer, NfsServer]:
    """The two servers: started once, side by side, since a server lets nobody in for a while."""
    found = []
    for number, without in ((1, ()), (2, ("4.2",))):
        directory = Path(f"/srv/contract-{number}")
        directory.mkdir(parents=True)
        found.append(NfsServer(number, directory, without=without))
        atexit.register(found[-1].close)
    for server in found:
        server.wait_until_ready()
    return found[0], found[1]


async def linux_nfs_world(tmp_path: Path) -> NfsWorld:
    """The guarded real host. The workers are forked before its record is opened."""
    assert os.geteuid() == 0, "the real host needs root, in a guest that may be broken"
    await _run("modprobe", "-a", "target_core_mod", "tcm_loop")
    pool = Pool.start(FUNCTIONS)
    await _run("ip", "route", "replace", "unreachable", UNREACHED)
    host = GuardedHost(LinuxHost(pool), open_created(tmp_path / "created.sqlite"))
    await host.recover()
    return LinuxNfsWorld(host)


def _take_disks_down() -> None:
    """Every disk of the loopback fabric, whoever made it."""
    for target in (LIO / "loopback").glob("naa.*"):
        for link in target.glob("tpgt_1/lun/lun_0/*"):
            if link.is_symlink():
                link.unlink()
        for directory in (*target.glob("tpgt_1/lun/lun_0"), *target.glob("tpgt_1"), target):
            directory.rmdir()
    for directory in (*(LIO / "core").glob("fileio_*/*/info"), *(LIO / "core").glob("fileio_*/hba_info")):
        directory.parent.rmdir()


def _tidy() -> None:
    for link in LINKS.glob("contract-*"):
        link.unlink()
    for directory in Path(MOUNTS).glob("*"):
        directory.rmdir()


def _mounted(below: str) -> list[str]:
    """The mounts below a directory, the uppermost first."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(below)]


def _inventory() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - nfs" in line and "nfsd" not in line:
            yield line.split(" - ")[0]
    for directory in (LIO / "core", LIO / "loopback", LINKS, DEVICES, DEVICES / "path", CLAIMS, Path(MOUNTS)):
        with suppress(FileNotFoundError):
            for entry in directory.iterdir():
                if entry.name not in ("alua", "discovery_auth", "version", "path"):
                    yield f"{entry} -> {entry.readlink() if entry.is_symlink() else ''}"
    yield from proofs()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command
