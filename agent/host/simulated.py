"""A stateful model of a Linux host: for tests, and for `cdmi-attachd --simulate`."""

import asyncio
from dataclasses import dataclass
from math import inf

from agent.host.simulated_clock import Clock, RealClock
from agent.host.simulated_fabric import Fabric
from agent.host.simulated_faults import Hang, Hook, Moment
from agent.host.simulated_kernel import INITIATOR, Device, Domain, Kernel
from agent.host.simulated_san import San
from agent.host.simulated_sights import see
from agent.host.simulated_steps import delay_of, take
from attachers.base import MadeByAnotherError, Uncertain
from attachers.problems import Problem
from attachers.sights import Query, Sight
from attachers.steps import RemoveDisk, Step, WriteOutFile


@dataclass(slots=True, eq=False)
class _Running:
    """A step that is under way: it takes effect (or not) at `at`, or fails with `error`.

    `writes` is the unit that is written out for as long as its server does not answer.
    """

    step: Step
    at: float
    happens: bool
    writes: str = ""
    error: Problem | MadeByAnotherError | None = None


class SimulatedHost:
    """A host without any root, hardware or waiting. It is raw: it knows nothing of who created what.

    It plays the kernel as well as the process that drives it: after a "crash" put new layers on the same object and
    call `crashed()`. `hook` may be changed at any time.
    """

    def __init__(
        self,
        san: San | None = None,
        *,
        clock: Clock | None = None,
        hook: Hook | None = None,
        initiator: str = INITIATOR,
    ) -> None:
        self.san = san or San()
        self.clock: Clock = clock or RealClock()
        self.hook = hook
        self.kernel = Kernel(self.san, initiator=initiator)
        self.fabric = Fabric(self.kernel, self.touch)
        self._running: list[_Running] = []
        self._hidden: set[_Running] = set()
        self._changes = 0
        self._alarms = 0
        self._news = asyncio.Event()

    async def observe(self, query: Query) -> Sight:
        await self._tell(Moment.BEFORE, query)
        self._finish_due()
        sight = see(self.kernel, query, tuple(one.step for one in self._running if one not in self._hidden))
        await self._tell(Moment.AFTER, query)
        return sight

    async def act(self, step: Step, *, timeout_s: float, then: Query | None = None) -> Sight | None:
        try:
            await self._tell(Moment.BEFORE, step)
            hang = Hang(delay_of(self.kernel, step))
        except Hang as fault:
            hang = fault
        self._finish_due()
        if isinstance(step, RemoveDisk | WriteOutFile) and step.lost:
            self._running = [one for one in self._running if one.writes != step.wwid]
        done = hang.for_s > 0 and await self._take_slowly(step, hang, timeout_s)
        try:
            if hang.happens and not done:
                self._take(step)
        finally:
            await self._tell(Moment.AFTER, step)
        return await self.observe(then) if then else None

    @property
    def changes(self) -> int:
        return self._changes

    @property
    def alarms(self) -> int:
        return self._alarms

    async def changed(self, since: int, *, timeout_s: float) -> None:
        deadline = self.now() + timeout_s
        if self.kernel.probe():
            self.touch()
        while self._changes <= since and self.now() < deadline:
            due = min((one.at for one in self._running), default=deadline)
            await self.clock.wait(min(due, deadline), self._news)
            self._finish_due()

    def now(self) -> float:
        return self.clock.now()

    async def close(self) -> None:
        """Nothing is held."""

    async def _tell(self, moment: Moment, what: Step | Query) -> None:
        if self.hook:
            await self.hook(moment, what)

    async def _take_slowly(self, step: Step, hang: Hang, timeout_s: float) -> bool:
        """Wait until the step would take effect. Raises `Uncertain` when time runs out first; it stays under way.

        Returns whether it has taken effect already: somebody else looked at that very moment.
        """
        started = self.now()
        running = _Running(step, started + hang.for_s, hang.happens)
        if isinstance(step, RemoveDisk | WriteOutFile) and hang.for_s == inf and delay_of(self.kernel, step):
            running.writes = step.wwid
            self.kernel.unwritten.add(step.wwid)
        self._running.append(running)
        limit = min(running.at, started + timeout_s)
        while self.now() < limit:
            await self.clock.wait(limit, asyncio.Event())
        if limit < running.at:
            raise Uncertain(step.describe())
        if running not in self._running:
            if running.error:
                raise running.error
            return True
        self._running.remove(running)
        return False

    def _finish_due(self) -> None:
        """Let the steps take effect whose time has come though nobody waits for them any more."""
        for one in [one for one in self._running if one.writes and not delay_of(self.kernel, one.step)]:
            self.kernel.unwritten.discard(one.writes)
            one.at = min(one.at, self.now())
        for one in [one for one in self._running if one.at <= self.now()]:
            self._running.remove(one)
            self._hidden.discard(one)
            self.touch()
            if one.happens:
                try:
                    self._take(one.step)
                except (Problem, MadeByAnotherError) as error:
                    one.error = error

    def _take(self, step: Step) -> None:
        try:
            take(self.kernel, step)
        finally:
            self.touch()

    # What tests do to the host, besides.

    def touch(self) -> None:
        """Tell whoever waits that something may have changed."""
        self._changes += 1
        self._news.set()
        self._news = asyncio.Event()

    def alarm(self) -> None:
        """Something has gone, or a target has said that what it shows is not what it was."""
        self._alarms += 1
        self.touch()

    def crashed(self) -> None:
        """The process above died: what it had under way goes on, but nobody shows it as busy any more."""
        self._hidden = set(self._running)

    def kill_hanging(self) -> None:
        """Somebody ends what would never have come to an end."""
        for one in [one for one in self._running if one.at == float("inf")]:
            self._running.remove(one)
            self._hidden.discard(one)
        self.touch()

    def reboot(self) -> None:
        """Lose what lives in the kernel and in /run, keep iscsid's records; the boot id is a new one. FC ports log in
        again, and every LUN that they show is there before anybody asks.
        """
        self._running.clear()
        self._hidden.clear()
        self.kernel.reboot()
        self.fabric.boot()
        self.touch()

    def open_device(self, hctl: str, *, holder: str = "somebody (pid 4711)") -> None:
        """Have somebody open a device."""
        self._device(hctl).holders.append(holder)

    def close_device(self, hctl: str, *, holder: str = "somebody (pid 4711)") -> None:
        """Have them close it again."""
        self._device(hctl).holders.remove(holder)
        self.touch()

    def open_map(self, wwid: str, *, holder: str = "somebody (pid 4711)") -> None:
        """Have somebody open the map of a logical unit."""
        self.kernel.maps[wwid].holders.append(holder)

    def close_map(self, wwid: str, *, holder: str = "somebody (pid 4711)") -> None:
        """Have them close it again."""
        self.kernel.maps[wwid].holders.remove(holder)
        self.touch()

    def write(self, wwid: str, text: str) -> None:
        """Have somebody write to what is handed out of a logical unit, through the host's cache."""
        at = self.kernel.device_links[wwid]
        above = next((one for one in self.kernel.maps.values() if one.node == at), None)
        (above or self._device(at)).cached.append(text)

    def write_file(self, place: str, wwid: str, text: str) -> None:
        """Have somebody write to a file in a share, through the host's cache; `wwid` is the name of its bytes."""
        self.kernel.shares.cached.setdefault(place, (wwid, []))[1].append(text)

    def rescan_device(self, hctl: str) -> None:
        """Have the kernel read identity and size of a device again (device/rescan)."""
        found = self.kernel.device(hctl)
        assert found, hctl
        unit = self.san.answer(self.kernel.name_on(found[0]), found[0].target, found[0].portal, found[1].lun)
        if unit:
            found[1].wwid, found[1].size = unit.wwid, unit.size
            self.touch()

    def foreign_record(self, target: str, portal: str, *, flaw: str = "") -> None:
        """Have an administrator make a node record; `flaw` says why it is of no use to us."""
        self.kernel.records[target, portal] = "an administrator"
        self.kernel.flaws[target, portal] = flaw
        self.touch()

    def foreign_session(self, target: str, portal: str) -> int:
        """Have an administrator log in (with a record); returns the SCSI host number."""
        self.kernel.records.setdefault((target, portal), "an administrator")
        self.touch()
        return self.kernel.add_session(target, portal).host

    def foreign_device(self, target: str, portal: str, lun: int) -> str:
        """Have an administrator scan a LUN on the first session there; returns its address."""
        session = self.kernel.session(target, portal)
        assert session, (target, portal)
        device = self.kernel.add_device(session, lun)
        assert device, lun
        self.kernel.probe()
        self.touch()
        return device.hctl

    def foreign_removal(self, hctl: str) -> None:
        """Have an administrator delete a device, whoever made it."""
        found = self.kernel.device(hctl)
        assert found, hctl
        self.kernel.drop_device(found[0], hctl)
        self.alarm()

    def foreign_logout(self, target: str, portal: str) -> None:
        """Have an administrator log out of a session: its disks go, whoever has them open keeps a dead one."""
        session = self.kernel.session(target, portal)
        assert session, (target, portal)
        for hctl in list(session.devices):
            self.kernel.drop_device(session, hctl)
        del self.kernel.sessions[session.sid]
        self.alarm()

    def set_device_state(self, hctl: str, state: str) -> None:
        """Have error handling, or somebody, give up a disk (offline) or take it up again (running): no event tells."""
        self._device(hctl).state = state

    def set_session_state(self, target: str, portal: str, state: str) -> None:
        """Have a session fail or recover: LOGGED_IN, FAILED, FREE."""
        session = self.kernel.session(target, portal)
        assert session, (target, portal)
        session.state = state
        self.touch()

    def add_domain(self, name: str, *, active: bool = True, paused: bool = False) -> None:
        """Define a libvirt domain."""
        self.kernel.domains[name] = Domain(active=active, paused=paused)
        self.touch()

    def inventory(self) -> frozenset[str]:
        """One line for each thing that exists on this host."""
        return self.kernel.inventory()

    def _device(self, hctl: str) -> Device:
        found = self.kernel.device(hctl)
        assert found, hctl
        return found[1]
