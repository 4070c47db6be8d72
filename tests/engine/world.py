"""A small world for the engine: a simulated host and storage network, CDMI objects, and processes that can be killed.

What outlives a crash is in `World` (the kernel, the disk, the CDMI server); what dies with it is in `Processes`.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from agent import timeouts
from agent.caller import Caller
from agent.engine.desk import Desk, Settings
from agent.engine.engine import Engine
from agent.engine.ledger import MIGRATIONS, Ledger
from agent.host.allowed import Allowed
from agent.host.confined import ConfinedHost
from agent.host.created import MIGRATIONS as CREATED_MIGRATIONS
from agent.host.created import Created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_clock import VirtualClock
from agent.host.simulated_san import San
from agent.model import Outcome, Present, Request
from agent.store import Store, open_store
from attachers import fc, iscsi, nfs
from attachers.base import Attacher, Host, Uncertain
from attachers.nfs_share import Share
from attachers.nfs_share import wwid_of as nfs_wwid
from attachers.problems import Code, Problem
from attachers.sights import Query, Sight
from attachers.steps import Step
from tests.allowed import anywhere
from tests.engine.cdmi_model import INITIATOR, LOCAL, REMOTE, SHARE, CdmiModel, Object, wwid_of
from tests.engine.trip import Crash, Trip
from tests.engine.tripped_cdmi import TrippedCdmi

T = TypeVar("T")
__all__ = ["Crash", "Processes", "Trip", "World", "running"]


class TrippedHost:
    """A host whose every call is a point before and a point after."""

    def __init__(self, host: Host, trip: Trip, label: str) -> None:
        self._host, self._trip, self._label = host, trip, label

    async def observe(self, query: Query) -> Sight:
        self._trip.pass_(f"before {self._label} looks")
        sight = await self._host.observe(query)
        self._trip.pass_(f"after {self._label} looked")
        return sight

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        self._trip.pass_(f"before {self._label}: {step.describe()}")
        sight = await self._host.act(step, timeout_s=timeout_s, then=then)
        self._trip.pass_(f"after {self._label}: {step.describe()}")
        return sight

    @property
    def changes(self) -> int:
        return self._host.changes

    @property
    def alarms(self) -> int:
        return self._host.alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        await self._host.changed(since, timeout_s=timeout_s)
        if self._trip.dead:
            raise Crash("woken after death")

    def now(self) -> float:
        return self._host.now()

    async def close(self) -> None:
        await self._host.close()


class MortalHelper:
    """The helper as the daemon sees it when only the helper dies: its answer is lost, and the next one is another."""

    def __init__(self, kernel: SimulatedHost, store: Store, trip: Trip, allowed: Callable[[], Allowed]) -> None:
        self._kernel, self._store, self._allowed = kernel, store, allowed
        self.guarded = self._begin(trip)

    def _begin(self, trip: Trip) -> ConfinedHost:
        created = Created(TrippedStore(self._store, trip, "the helper"))
        return ConfinedHost(GuardedHost(TrippedHost(self._kernel, trip, "the kernel"), created), self._allowed)

    async def _again(self) -> None:
        self._kernel.crashed()
        self.guarded = self._begin(Trip())
        await self.guarded.recover()

    async def observe(self, query: Query) -> Sight:
        try:
            return await self.guarded.observe(query)
        except Crash:
            await self._again()
            raise Problem(Code.UNAVAILABLE, "the helper hung up") from None

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        try:
            return await self.guarded.act(step, timeout_s=timeout_s, then=then)
        except Crash:
            await self._again()
            raise Uncertain(step.describe()) from None

    @property
    def changes(self) -> int:
        return self._kernel.changes

    @property
    def alarms(self) -> int:
        return self._kernel.alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        with suppress(Crash):
            await self.guarded.changed(since, timeout_s=timeout_s)

    def now(self) -> float:
        return self._kernel.now()

    async def close(self) -> None:
        """It lives on."""


class TrippedStore(Store):
    """A ledger whose every commit is a point before and a point after, and takes a turn, as one on a disk does.

    What is posted is committed as late as can be: before the next commit, and never where the process dies first.
    """

    def __init__(self, store: Store, trip: Trip, label: str) -> None:
        self._inner, self._trip, self._label, self.room, self.broken = store, trip, label, store.room, None
        self._late: list[Callable[[sqlite3.Connection], object]] = []

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        await asyncio.sleep(0)
        try:
            return self.run_now(fn)
        finally:
            await asyncio.sleep(0)

    def post(self, fn: Callable[[sqlite3.Connection], object], *, refused: Callable[[], None]) -> None:
        self._late.append(fn)

    def run_now(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        posted, self._late = self._late, []
        for one in posted:
            self._commit(one)
        return self._commit(fn)

    def _commit(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        self._trip.pass_(f"before {self._label} commits")
        result = self._inner.run_now(fn)
        self._trip.pass_(f"after {self._label} committed")
        return result

    def close(self) -> None:
        self._inner.close()


@dataclass(slots=True)
class World:
    """What outlives the processes: the host's kernel, the disk, the storage network and the CDMI server."""

    disk: Path
    san: San = field(default_factory=San)
    clock: VirtualClock = field(default_factory=VirtualClock)
    settings: Settings = field(default_factory=Settings)
    present: Present = Present.BLOCK
    reserve: bool = False
    kernel: SimulatedHost = field(init=False)
    cdmi: CdmiModel = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = SimulatedHost(self.san, clock=self.clock, initiator=INITIATOR)
        self.cdmi = CdmiModel(self.san)

    def add_object(self, number: int = 1, *, target: str | None = None, lun: int = 1, **more: Any) -> str:
        """A LUN container; each with its own target unless one is named. Returns its source."""
        name = target or f"iqn.2026-01.org.example:lun{number}"
        return self.cdmi.add(Object(f"{number:032X}", name, lun, wwid_of(number), **more))

    def add_fc_object(self, number: int = 1, *, lun: int = 1, **more: Any) -> str:
        """A LUN container behind the array's port `REMOTE` (and `beside`). Returns its source."""
        return self.add_object(number, target=REMOTE, lun=lun, **more)

    def add_object_with_two_exports(
        self, number: int = 1, *, first: Mapping[str, Any], second: Mapping[str, Any]
    ) -> str:
        """A LUN container over iSCSI, and over Fibre Channel as well; `first` and `second` change each. Its source."""
        fibre = Object(f"{number:032X}", REMOTE, number, wwid_of(number))
        return self.add_object(number, lun=number, instead=replace(fibre, **second), **first)

    def add_file(self, number: int = 1, *, share: Share = SHARE, **more: Any) -> str:
        """A data object that is a file in an NFS share. Returns its source."""
        object_id = f"{number:032X}"
        path = f"images/{number}.img"
        return self.cdmi.add(Object(object_id, path, 0, nfs_wwid(object_id), None, share=share, **more))

    def cable(self, *targets: str) -> None:
        """Connect the host's FC port with the array's: the kernel finds at once all that it may see."""
        for target in targets or (REMOTE,):
            self.kernel.fabric.connect(LOCAL, target)

    def flap(self) -> None:
        """Pull the cable for so long that the kernel gives up, and put it back."""
        self.kernel.fabric.lose(REMOTE)
        self.kernel.fabric.plug(REMOTE)

    def object(self, number: int = 1) -> Object:
        """One made by `add_object`; after a change to it call `show`."""
        return self.cdmi.objects[f"{number:032X}"]

    def change(self, number: int = 1, **changes: Any) -> None:
        """Change an object, and what the storage network shows of it."""
        obj = self.object(number)
        for target in obj.targets:
            self.san.remove(target, obj.lun)
        for name, value in changes.items():
            setattr(obj, name, value)
        self.cdmi.show(obj)


BOTH: Mapping[str, Any] = {"protocols": ("iscsi", "fc", "nfs")}
"""Every protocol, where a test does not say which."""


@dataclass(slots=True)
class Processes:
    """The daemon and the helper, as they run at one time."""

    engine: Engine
    helper: MortalHelper
    ledger: Ledger
    desk: Desk

    async def attach(self, name: str, source: str, **more: Any) -> dict[str, Any]:
        """PUT, and wait for it. Returns the view."""
        _, view = await self.engine.attach(Request(name, source, **{**BOTH, **more}), wait_s=None)
        return view

    async def outcome(self, name: str, source: str, **more: Any) -> Outcome:
        """PUT, and say what it came to."""
        outcome, _ = await self.engine.attach(Request(name, source, **{**BOTH, **more}), wait_s=None)
        return outcome

    def views(self) -> list[dict[str, Any]]:
        """GET of all."""
        found: list[dict[str, Any]] = json.loads(self.engine.listing())["attachments"]
        return found

    async def passes(self, world: "World", seconds: float) -> None:
        """Let time go by, a tick after the other, and the engine do what it does by itself."""
        until = world.clock.now() + seconds
        while world.clock.now() < until:
            world.clock.advance(min(timeouts.TICK_S, until - world.clock.now()))
            self.engine.leases.look()
            await self.engine.settled()

    async def detach(self, name: str, *, force: bool = False, generation: int | None = None) -> None:
        """DELETE, and wait for it."""
        await self.engine.detach(name, force=force, generation=generation, by=Caller(0, 1, admin=True))


@asynccontextmanager
async def running(world: World, trip: Trip | None = None, *, dies: str = "both") -> AsyncIterator[Processes]:
    """Start the daemon and the helper on this world; a crash inside ends both as a power cut would, without a word.

    When only the "daemon" dies, the helper lives on, as another process does; when only the "helper" dies, it is
    started anew, and the daemon has lost an answer.
    """
    trip = trip or Trip()
    stores: list[Store] = []
    try:
        stores.append(open_store(world.disk / "created.sqlite", CREATED_MIGRATIONS, inline=True, reserve=world.reserve))
        stores.append(open_store(world.disk / "ledger.sqlite", MIGRATIONS, inline=True, reserve=world.reserve))
        helper_trip, daemon_trip = (trip if dies != "daemon" else Trip()), (trip if dies != "helper" else Trip())
        helper = MortalHelper(world.kernel, stores[0], helper_trip, lambda: anywhere(world.settings))
        await helper.guarded.recover()
        ledger = Ledger(TrippedStore(stores[1], daemon_trip, "the daemon"))
        host = TrippedHost(helper if dies == "helper" else helper.guarded, daemon_trip, "the helper")
        attachers: dict[str, Attacher] = {iscsi.protocol: iscsi, fc.protocol: fc, nfs.protocol: nfs}
        desk = Desk(host, TrippedCdmi(world.cdmi, daemon_trip), ledger, attachers, world.settings)
        engine = Engine(desk)
        try:
            await engine.start()
            yield Processes(engine, helper, ledger, desk)
        finally:
            daemon_trip.dead = True
            await engine.stop()
    finally:
        world.kernel.crashed()
        for store in stores:
            store.close()
