"""The simulated host with Fibre Channel as a world: in this process, or behind the helper's real server and socket."""

import os
from pathlib import Path

from agent.helper.server import HelperServer
from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.remote import RemoteHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import Lun
from agent.listening import listen
from attachers.base import Host
from tests.host.fc_world import FcWorld


class SimulatedFcWorld:
    """A simulated kernel with a port, and a cable."""

    def __init__(self, raw: SimulatedHost, guarded: GuardedHost, server: HelperServer | None, host: Host) -> None:
        self.raw, self.guarded, self.server, self.host = raw, guarded, server, host
        self.local, self.target = "2000020000000010", "2000020000000011"
        raw.fabric.connect(self.local, self.target)
        self._made = 0

    async def make_lun(self, lun: int) -> str:
        wwid = self._next_wwid()
        self.raw.san.add(Lun(self.target, (), lun, wwid, 16 << 20, (self.local,)))
        return wwid

    async def swap_lun(self, lun: int) -> str:
        wwid = self._next_wwid()
        self.raw.san.swap(self.target, lun, wwid=wwid)
        return wwid

    async def pull(self) -> None:
        self.raw.fabric.pull(self.target)

    async def lose(self) -> None:
        self.raw.fabric.lose(self.target)

    async def plug(self) -> None:
        self.raw.fabric.plug(self.target)

    async def foreign_scan(self, hctl: str) -> None:
        self.raw.foreign_device(self.target, self.local, int(hctl.rpartition(":")[2]))

    async def inventory(self) -> frozenset[str]:
        return frozenset(line for line in self.raw.inventory() if not line.startswith("session"))

    async def close(self) -> None:
        if self.server:
            await self.host.close()
            await self.server.stop(limit_s=1)
        await self.guarded.close()

    def _next_wwid(self) -> str:
        self._made += 1
        return f"naa.6001405{self._made:025x}"


async def simulated_fc_world(tmp_path: Path) -> FcWorld:
    """The guarded simulated host, in this process."""
    guarded = await _guarded(raw := SimulatedHost(), tmp_path)
    return SimulatedFcWorld(raw, guarded, None, guarded)


async def remote_fc_world(tmp_path: Path) -> FcWorld:
    """The same, behind a socket."""
    guarded = await _guarded(raw := SimulatedHost(), tmp_path)
    server = HelperServer(guarded, uids=frozenset({os.getuid()}))
    await server.start(listen(tmp_path / "helper.sock", mode=0o600))
    return SimulatedFcWorld(raw, guarded, server, RemoteHost(tmp_path / "helper.sock"))


async def _guarded(raw: SimulatedHost, tmp_path: Path) -> GuardedHost:
    guarded = GuardedHost(raw, open_created(tmp_path / "created.sqlite"))
    await guarded.recover()
    return guarded
