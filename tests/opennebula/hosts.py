"""Simulated hosts with the daemon on each, and a guest's QEMU: what has a disk open there, and which one that is."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent.api.app import create_app
from agent.api.serve import serve
from agent.cdmi.client import CdmiClient
from agent.cdmi.server import Server
from agent.daemon import ATTACHERS
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger
from agent.host.allowed import Allowed, Place
from agent.host.confined import ConfinedHost
from agent.host.created import Created, open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_san import San
from agent.store import MEMORY, open_store

LINKS = "/run/cdmi-attach/disk/"


@dataclass
class SimulatedDaemon:
    """A host, and the daemon on it at its socket. `kernel` lives on when the daemon is stopped and started again."""

    name: str
    folder: Path
    server: Server
    san: San
    kernel: SimulatedHost = field(init=False)
    created: Created = field(init=False)
    engine: Engine = field(init=False)
    _running: AsyncExitStack | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.kernel = SimulatedHost(self.san, initiator=self.initiator)
        self.created = open_created(MEMORY)

    @property
    def initiator(self) -> str:
        """What the host is called on the storage network."""
        return f"iqn.2026-01.org.example:{self.name}"

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    async def start(self) -> None:
        """Start the daemon: what it has written down is there again."""
        stack = AsyncExitStack()
        place = Place(self.server.url, self.server.storage_networks)
        host = ConfinedHost(GuardedHost(self.kernel, self.created), lambda: Allowed((place,)))
        await host.recover()
        store = open_store(self.folder / "ledger.sqlite", MIGRATIONS)
        stack.callback(store.close)
        client = CdmiClient([self.server], protocols=("iscsi",))
        stack.push_async_callback(client.close)
        self.engine = Engine(Desk(host, client, Ledger(store), ATTACHERS, Settings(("iscsi",))))
        await self.engine.start()
        stack.push_async_callback(self.engine.stop)
        app = create_app(self.engine, group_gid=os.getgid())
        runner = await serve(app, self.socket, group_gid=os.getgid(), environ={})
        stack.push_async_callback(runner.cleanup)
        self._running = stack

    async def stop(self) -> None:
        """Stop the daemon; what is attached stays."""
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    async def end(self) -> None:
        """The end of the host as well."""
        await self.stop()
        self.created.close()

    # What the host itself shows.

    def attached(self) -> set[str]:
        """The links that are there: what a guest could open."""
        return set(self.kernel.kernel.links)

    def unit(self, link: str) -> str:
        """The logical unit that the daemon's link leads to. KeyError where there is none."""
        assert link.startswith(LINKS), link
        return self.kernel.kernel.links[link.removeprefix(LINKS)].rpartition("/")[2]

    def is_bare(self) -> bool:
        """Whether nothing is left of any attachment."""
        return not self.kernel.inventory()

    def open(self, wwid: str, holder: str) -> None:
        """Have QEMU open the unit's disk."""
        self.kernel.open_device(self.kernel.kernel.device_links[wwid], holder=holder)

    def close(self, wwid: str, holder: str) -> None:
        """Have QEMU end."""
        self.kernel.close_device(self.kernel.kernel.device_links[wwid], holder=holder)


@dataclass
class Guests:
    """The running VMs: which units each has open, and where. Two hosts never have a unit open, but for reading."""

    open_at: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def start(self, name: str, host: SimulatedDaemon, links: Sequence[str], *, shared: frozenset[str]) -> list[str]:
        """Start a VM on these disks (the daemon's links). Returns the units; KeyError as libvirt would say."""
        units = [host.unit(link) for link in links]
        for unit in set(units) - shared:
            users = [guest for guest, (_, has) in self.open_at.items() if unit in has and guest != name]
            assert not users, f"{unit} is open in {users} already"
        for unit in units:
            host.open(unit, name)
        self.open_at[name] = (host.name, tuple(units))
        return units

    def stop(self, name: str, host: SimulatedDaemon) -> None:
        """End a VM."""
        _, units = self.open_at.pop(name)
        for unit in units:
            host.close(unit, name)
