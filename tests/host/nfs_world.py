"""What the contract tests need of the world around a host for NFS: two servers, files, and somebody else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_shares import HERE
from attachers.base import Host
from attachers.nfs_share import Share
from tests.host.simulated_world import behind_a_socket

UNREACHED = "10.88.3.2"
SHARE, OTHER = Share("10.88.1.2", "/srv", "4"), Share("10.88.2.2", "/srv", "4")


class NfsWorld(Protocol):
    """One host and two NFS servers; `share` is of the first, `other` of the second, which does not speak NFS 4.2.

    `patience_s` is more than enough time for a step that is broken off because of a dead server. `address` is the
    host's own towards the first server; no route leads to `unreached`.
    """

    host: Host
    share: Share
    other: Share
    patience_s: float
    address: str
    unreached: str

    async def put_file(self, path: str, *, size: int = 1 << 20) -> None:
        """Make a file in both shares, or another one in its place."""
        ...

    async def grow_file(self, path: str, size: int) -> None:
        """Make that very file larger, in both shares."""
        ...

    async def swap_file(self, path: str) -> None:
        """Put another file of the same size in its place, in both shares, while the one that was there still is."""
        ...

    async def export_as(self, options: str, *, to: str = "*") -> None:
        """Export the first share with these options besides (ro, root_squash, fsid=...), to one host or to all."""
        ...

    async def content(self, path: str) -> str:
        """What a file in the first share has: another text where a byte of it, or its being there, has changed."""
        ...

    async def put_link(self, path: str, to: str) -> None:
        """Make a symbolic link in both shares."""
        ...

    def dead(self) -> AbstractAsyncContextManager[None]:
        """The first server does not answer."""
        ...

    def holding(self, place: str) -> AbstractAsyncContextManager[None]:
        """Somebody has a file or a device open."""
        ...

    async def foreign_mount(self, point: str, source: str) -> None:
        """An administrator mounts an export there, over whatever is there, as we would."""
        ...

    async def foreign_unmount(self, point: str) -> None:
        """... and unmounts it."""
        ...

    async def inventory(self) -> frozenset[str]:
        """One line for each mount, disk, link, claim and directory where ours are."""
        ...

    async def close(self) -> None:
        """Take everything away again."""
        ...


@dataclass
class SimulatedNfsWorld:
    """A simulated kernel below whatever is tested."""

    raw: SimulatedHost
    host: Host
    end: Callable[[], Awaitable[None]]
    share: Share = SHARE
    other: Share = OTHER
    patience_s: float = 1.0
    address: str = HERE
    unreached: str = UNREACHED

    async def put_file(self, path: str, *, size: int = 1 << 20) -> None:
        for share in (self.share, self.other):
            self.raw.san.nfs.put(share, path, size=size)

    async def grow_file(self, path: str, size: int) -> None:
        for share in (self.share, self.other):
            files = self.raw.san.nfs.exports[share.source]
            files[path] = replace(files[path], size=size)

    async def swap_file(self, path: str) -> None:
        await self.put_file(path, size=self.raw.san.nfs.exports[self.share.source][path].size)

    async def export_as(self, options: str, *, to: str = "*") -> None:
        servers, source = self.raw.san.nfs, self.share.source
        servers.allowed.pop(source, None)
        if to != "*":
            servers.allowed[source] = {right: {to} for right in ("ro", "rw", "root")}
        servers.fsids.pop(source, None)
        for name, sources in (("ro", servers.read_only), ("root_squash", servers.squashed)):
            sources.discard(source)
            if name in options.split(","):
                sources.add(source)
        if "fsid=" in options:
            servers.fsids[source] = f"{options.partition('fsid=')[2]}:0"

    async def content(self, path: str) -> str:
        return str(self.raw.san.nfs.exports[self.share.source][path])  # of bytes the model knows nothing

    async def put_link(self, path: str, to: str) -> None:
        for share in (self.share, self.other):
            self.raw.san.nfs.put(share, path, size=0, odd=f"is a symbolic link to {to}")

    @asynccontextmanager
    async def dead(self) -> AsyncIterator[None]:
        self.raw.san.nfs.dead.add(self.share.server)
        yield
        self.raw.san.nfs.dead.discard(self.share.server)

    @asynccontextmanager
    async def holding(self, place: str) -> AsyncIterator[None]:
        users = self._users(place)
        users.append("somebody (pid 4711)")
        yield
        users.remove("somebody (pid 4711)")

    def _users(self, place: str) -> list[str]:
        device = next((device for _, device in self.raw.kernel.devices() if device.node == place), None)
        return device.holders if device else self.raw.kernel.shares.open.setdefault(place, [])

    async def foreign_mount(self, point: str, source: str) -> None:
        options = "rw,nosuid,nodev,noexec,nosymfollow,vers=4.2,hard"
        self.raw.kernel.shares.add(point, source, options=options)
        self.raw.touch()

    async def foreign_unmount(self, point: str) -> None:
        self.raw.kernel.shares.drop(point)

    async def inventory(self) -> frozenset[str]:
        return self.raw.inventory()

    async def close(self) -> None:
        await self.end()


async def simulated_nfs_world(tmp_path: Path) -> NfsWorld:
    """The guarded simulated host, in this process."""
    raw, guarded = await _guarded(tmp_path)
    return SimulatedNfsWorld(raw, guarded, guarded.close)


async def remote_nfs_world(tmp_path: Path) -> NfsWorld:
    """The same, behind a socket."""
    raw, guarded = await _guarded(tmp_path)
    host, end = await behind_a_socket(guarded, tmp_path)
    return SimulatedNfsWorld(raw, host, end)


async def _guarded(tmp_path: Path) -> tuple[SimulatedHost, GuardedHost]:
    raw = SimulatedHost()
    raw.kernel.shares.patience_s = 0.2
    raw.san.nfs.versions[OTHER.server] = ("4.1", "4.0")
    raw.san.nfs.unreached.add(UNREACHED)
    guarded = GuardedHost(raw, open_created(tmp_path / "created.sqlite"))
    await guarded.recover()
    return raw, guarded
