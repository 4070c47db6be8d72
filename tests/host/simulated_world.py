"""The simulated host as a world: in this process, or behind the helper's real server and socket."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.helper.server import HelperServer
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.remote import RemoteHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_kernel import INITIATOR
from agent.host.simulated_san import Lun
from agent.listening import listen
from attachers.base import Host
from tests.host.world import World

OTHER_INITIATOR = "iqn.1993-08.org.debian:01:other"


@dataclass
class SimulatedWorld:
    """A simulated kernel below whatever is tested."""

    raw: SimulatedHost
    host: Host
    end: Callable[[], Awaitable[None]]
    target: str = "iqn.2024-01.org.example:one"
    closed_target: str = "iqn.2024-01.org.example:closed"
    portal: str = "127.0.0.1:3260"
    other_portal: str = "127.0.0.2:3260"
    dead_portal: str | None = "127.0.0.9:3260"
    _made: int = field(default=0)

    async def make_lun(self, lun: int, *, size: int = 16 << 20) -> str:
        wwid = self._next_wwid()
        self.raw.san.add(Lun(self.target, (self.portal, self.other_portal), lun, wwid, size, (INITIATOR,)))
        return wwid

    async def make_twin(self, lun: int, wwid: str) -> None:
        portals = (self.portal, self.other_portal)
        self.raw.san.add(Lun(self.target, portals, lun, wwid, 16 << 20, (INITIATOR,)))

    async def swap_lun(self, lun: int) -> str:
        wwid = self._next_wwid()
        self.raw.san.swap(self.target, lun, wwid=wwid)
        return wwid

    async def resize_lun(self, lun: int, *, size: int) -> None:
        wwid = next(one.wwid for one in self.raw.san.shown(INITIATOR, self.target, self.portal) if one.lun == lun)
        self.raw.san.swap(self.target, lun, wwid=wwid, size=size)

    async def set_access(self, lun: int, state: str) -> None:
        for portal in (self.portal, self.other_portal):
            self.raw.san.access[self.target, portal, lun] = "" if state.startswith("active/") else state

    async def take_offline(self, hctl: str) -> None:
        self.raw.set_device_state(hctl, "offline")

    @asynccontextmanager
    async def holding(self, hctl: str) -> AsyncIterator[None]:
        self.raw.open_device(hctl)
        try:
            yield
        finally:
            self.raw.close_device(hctl)

    @asynccontextmanager
    async def hidden_user(self, hctl: str, how: str, name: str) -> AsyncIterator[str]:
        user = f"a {how} of {name}"
        self.raw.open_device(hctl, holder=user)
        try:
            yield user
        finally:
            self.raw.close_device(hctl, holder=user)

    async def use_multipath(self) -> None:
        self.raw.kernel.multipathd.runs = True

    @asynccontextmanager
    async def holding_map(self, wwid: str) -> AsyncIterator[None]:
        self.raw.open_map(wwid)
        try:
            yield
        finally:
            self.raw.close_map(wwid)

    async def foreign_map(self, wwid: str, hctl: str) -> None:
        found = self.raw.kernel.device(hctl)
        assert found
        self.raw.kernel.join_map(found[1])

    async def foreign_login(self) -> int:
        return self.raw.foreign_session(self.target, self.portal)

    async def foreign_logout(self) -> None:
        self.raw.foreign_logout(self.target, self.portal)

    async def foreign_scan(self, hctl: str) -> None:
        self.raw.foreign_device(self.target, self.portal, int(hctl.rpartition(":")[2]))

    async def foreign_link(self, name: str) -> None:
        self.raw.kernel.links[name] = "/dev/null"

    async def inventory(self) -> frozenset[str]:
        return self.raw.inventory()

    async def close(self) -> None:
        await self.end()

    def _next_wwid(self) -> str:
        self._made += 1
        return f"naa.6001405{self._made:025x}"


async def simulated_world(tmp_path: Path) -> World:
    """The guarded simulated host, in this process."""
    guarded = await _guarded(raw := _raw(), tmp_path)
    return SimulatedWorld(raw, guarded, guarded.close)


async def remote_world(tmp_path: Path) -> World:
    """The same, behind a socket."""
    guarded = await _guarded(raw := _raw(), tmp_path)
    host, end = await behind_a_socket(guarded, tmp_path)
    return SimulatedWorld(raw, host, end)


async def behind_a_socket(guarded: GuardedHost, tmp_path: Path) -> tuple[Host, Callable[[], Awaitable[None]]]:
    """A host behind the helper's real server and socket, and what ends all of it."""
    server = HelperServer(guarded, uids=frozenset({os.getuid()}))
    await server.start(listen(tmp_path / "helper.sock", mode=0o600))
    host = RemoteHost(tmp_path / "helper.sock")

    async def end() -> None:
        await host.close()
        await server.stop(limit_s=1)
        await guarded.close()

    return host, end


def _raw() -> SimulatedHost:
    host = SimulatedHost()
    host.san.add(
        Lun(SimulatedWorld.closed_target, (SimulatedWorld.portal,), 1, "naa.6001405000000001", 1, (OTHER_INITIATOR,))
    )
    host.san.dead.add("127.0.0.9:3260")
    return host


async def _guarded(raw: SimulatedHost, tmp_path: Path) -> GuardedHost:
    guarded = GuardedHost(raw, open_created(tmp_path / "created.sqlite"))
    await guarded.recover()
    return guarded
