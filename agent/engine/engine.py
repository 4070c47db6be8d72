"""The engine's face: one task per attachment that is on its way, joined by whoever asks for the same."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

from agent import timeouts
from agent.caller import DAEMON, Caller
from agent.cdmi.choose import choose
from agent.engine import flows, losses
from agent.engine.attached import refuse_strangers, refused_before
from agent.engine.cleaning import Cleaning
from agent.engine.desk import Desk, mind_late, refuse_stale, refuse_stale_name
from agent.engine.domains import hand_over_or_undo, take_from
from agent.engine.joining import refuse_leaving, refuse_other
from agent.engine.leases import Leases, of_request
from agent.engine.ledger import Row
from agent.engine.listing import Listing, only
from agent.engine.lun_content import LunContent
from agent.engine.mending import Mending, has_several
from agent.engine.objects import Objects
from agent.engine.operations import Operations
from agent.engine.permits import boot_id_of, health, host_sight
from agent.engine.reaching import NOT_HERE
from agent.engine.resizing import resize
from agent.engine.starting import Starting
from agent.engine.tasks import Task, Tasks
from agent.engine.tending import Tending
from agent.engine.view import explanation_of, host_view, view_of
from agent.events import Events
from agent.log import bound
from agent.messages import Message, fields
from agent.model import READING, DomainRequest, Outcome, Phase, Request
from attachers.base import Goal
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
FAILED_KEPT = 256


class Engine:
    """Keeps every attachment of the ledger where it is wanted. Implements `agent.engine.interface.Engine`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.objects = Objects(desk, LunContent(desk, self.attach, self.detach))
        self.operations = Operations(desk)
        self._tasks = Tasks(self._ended)
        self._failed: dict[str, Row] = {}  # attachments that failed and were undone: shown, but not wanted
        self._listing = Listing()
        self._mending = Mending(desk.host, self._mend, self._to_mend)
        self.tending = Tending(desk.host, self._free, self._resume, lambda: self.leases.look())
        self._tender: Task | None = None
        self.leases = Leases(desk, self._tasks, self._free, bring_up=self._go_on, take_down=self._take_down)
        self.leftovers = Cleaning(desk, self._take_leftover)
        self.starting = Starting(desk.host, desk.ledger, self._tasks, self._free, self._resume)

    # Life of the engine itself.

    async def start(self) -> None:
        """Read the ledger, and start to adopt what stands, finish what is half done, and undo what was to go."""
        await self._desk.ledger.load()
        self._desk.ledger.doubt()
        for row in list(self._desk.ledger.rows.values()):
            if READING.fullmatch(row.name):  # whoever read it is gone
                row = await self._desk.ledger.change(row.name, goal=Goal.GONE)
            self.starting.begin(row)
        self.operations.start()
        self._tender = asyncio.create_task(self.tending.run(), name="tend")

    async def settled(self) -> None:
        """Wait until no attachment is on its way."""
        while running := [task for task in self._tasks.running() | self._mending.tasks() if not task.done()]:
            await asyncio.wait(running)

    async def stop(self) -> None:
        """Stop working. Detaches nothing: what was on its way is taken up again at the next start."""
        await self.operations.stop()
        tasks = [*self._tasks.running(), *([self._tender] if self._tender else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._mending.stop()
        await self._desk.let_go()

    # What callers ask for.

    async def attach(
        self, request: Request, *, wait_s: float | None, by: Caller = DAEMON
    ) -> tuple[Outcome, dict[str, Any]]:
        """See `agent.engine.interface.Engine`."""
        name = request.name
        async with self._desk.locks.hold([f"name:{name}"]):
            row = self._desk.ledger.rows.get(name)
            refuse_strangers(row or self._desk.ledger.tainted.get(name), by)
            refuse_stale_name(self._desk, name, request.generation)
            outcome = Outcome.ALREADY if row and row.handed_out else Outcome.CREATED
            task = await self._join(row, request, by) if row else await self._begin(request, by.uid)
        limit = request.timeout_s + timeouts.SETTLE_S
        done, _ = await asyncio.wait({task}, timeout=limit if wait_s is None else min(wait_s, limit))
        if done:
            task.result()
            return outcome, self.view(name)
        if wait_s is not None and wait_s < limit:
            return Outcome.PENDING, self.view(name)
        raise self._still_under_way(name)

    async def detach(self, name: str, *, force: bool, generation: int | None = None, by: Caller = DAEMON) -> bool:
        """See `agent.engine.interface.Engine`."""
        async with self._desk.locks.hold([f"name:{name}"]):
            row = self._desk.ledger.rows.get(name)
            if row is None:
                shown = self._failed.get(name) or self._desk.ledger.tainted.get(name)
                refuse_strangers(shown, by)
                await mind_late(self._desk, name, generation)
                if not force:
                    await self._desk.ledger.seen(name)
                self._forget(name)
                return shown is not None
            refuse_strangers(row, by)
            await mind_late(self._desk, name, generation)
            before, row = row, await losses.force(self._desk, row, by) if force else row
            task = self._tasks.last(name)
            if task is None or row.goal is not Goal.GONE or force:  # one that is under way may have no time left
                await self._desk.ledger.change(name, goal=Goal.GONE, phase=Phase.DETACHING)
                task = self._tasks.begin(name, lambda: self._take_down(before))
        done, _ = await asyncio.wait({task}, timeout=timeouts.DETACH_S + timeouts.SETTLE_S)
        if not done:
            raise self._still_under_way(name)
        left = self._desk.ledger.rows.get(name)
        if left is None:  # whatever it was that failed before
            self._forget(name)
        elif left.handed_out or left.goal is Goal.GONE:  # else it is a new one of that name
            task.result()
            raise refused_before(left) or self._still_under_way(name)
        return True

    async def give(self, name: str, wanted: DomainRequest, *, by: Caller = DAEMON) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""
        work = hand_over_or_undo
        await self._after_hand_out(name, lambda end: work(self._desk, name, wanted, deadline=end), by=by)
        return self.view(name)

    async def take(self, name: str, domain: str, *, by: Caller = DAEMON) -> None:
        """See `agent.engine.interface.Engine`."""
        if name in self._desk.ledger.rows:
            await self._after_hand_out(name, lambda end: take_from(self._desk, name, domain, deadline=end), by=by)

    async def confirm(self, name: str, *, generation: int | None = None, by: Caller = DAEMON) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""
        async with self._desk.locks.hold([f"name:{name}"]):
            self.view(name)  # or not-found
            refuse_strangers(self._desk.ledger.rows.get(name) or self._desk.ledger.tainted.get(name), by)
            await self.leases.confirm(name, generation, by)
        return self.view(name)

    async def resize(self, name: str, *, by: Caller = DAEMON) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""

        async def grow(deadline: float) -> None:
            now = self._desk.host.now()
            await self._mending.over(name, until=now + (deadline - now) / 2)  # perhaps it moves
            await resize(self._desk, name, deadline=deadline)

        await self._after_hand_out(name, grow, by=by)
        return self.view(name)

    def view(self, name: str) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""
        row = self._desk.ledger.rows.get(name) or self._failed.get(name) or self._desk.ledger.tainted.get(name)
        if row is None:
            raise Problem(
                Code.NOT_FOUND, f"name: there is no attachment {name} on this host", hint="see: cdmi-attach status"
            )
        return view_of(row, self._desk.steps.get(name, []))

    def listing(self, *, prefix: str = "") -> bytes:
        """See `agent.engine.interface.Engine`."""
        if prefix:
            return only(prefix, self._shown())
        version = (self._desk.ledger.version, self._desk.events.last, len(self._failed))
        return self._listing.of(version, self._shown())

    def _shown(self) -> Iterator[tuple[Row, list[dict[str, Any]]]]:
        """Every attachment with its steps, by name: those that are wanted, and those that failed."""
        shown = {**self._desk.ledger.tainted, **self._failed, **self._desk.ledger.rows}
        for name in sorted(shown):
            yield shown[name], self._desk.steps.get(name, [])

    @property
    def events(self) -> Events:
        """See `agent.engine.interface.Engine`."""
        return self._desk.events

    async def resolve(self, source: str) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""
        resolved = await self._desk.cdmi.resolve(source)
        try:
            chosen = choose(resolved, self._desk.settings.protocols)
        except Problem as problem:
            return explanation_of(source, resolved, None, problem)
        return explanation_of(source, resolved, chosen, None)

    async def host(self) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""
        sight = await host_sight(self._desk)
        return host_view(sight, multipath=self._desk.settings.multipath)

    async def health(self) -> dict[str, Any]:
        """See `agent.engine.interface.Engine`."""
        return await health(self._desk)

    # What it does about it.

    async def _begin(self, request: Request, owner_uid: int) -> Task:
        self._failed.pop(request.name, None)
        self._desk.steps.pop(request.name, None)
        tainted, boot_id = losses.before(self._desk, request), await boot_id_of(self._desk)
        row = Row(request.name, request, owner_uid, tainted=tainted, boot_id=boot_id)
        await self._desk.ledger.add(replace(row, lease=of_request(request.lease_s)))
        return self._tasks.begin(request.name, lambda: self._bring_up(request.name, request.timeout_s))

    async def _join(self, row: Row, request: Request, by: Caller) -> Task:
        """The task that brings this very attachment up, also one that stands: nothing is handed out without a look.

        Raises `Problem` where the name stands for something else, or a later request has overtaken this one.
        """
        refuse_other(row, request)
        refuse_leaving(row)
        refuse_stale(self._desk, row.alone_key, request.generation)
        await self.leases.ask(row, request.lease_s, by)
        if request.generation is not None:
            await self._desk.ledger.change(row.name, request=replace(row.request, generation=request.generation))
        task = self._tasks.last(row.name)
        if task is None:
            task = self._tasks.begin(row.name, lambda: self._bring_up(row.name, request.timeout_s))
        return task

    async def _after_hand_out(
        self, name: str, work: Callable[[float], Coroutine[Any, Any, None]], *, by: Caller
    ) -> None:
        """Work on an attachment that was handed out, as its next task. Raises `Problem`."""

        async def run() -> None:
            row = self._desk.ledger.rows.get(name)
            if row is None or not row.handed_out:
                self.view(name)  # or not-found
                hint = f"attach it first: cdmi-attach attach SOURCE --name {name}"
                raise Problem(Code.BUSY, f"name: {name} is not attached", hint=hint)
            await work(self._desk.host.now() + timeouts.HAND_OVER_S)

        async with self._desk.locks.hold([f"name:{name}"]):
            self.view(name)  # or not-found
            refuse_strangers(self._desk.ledger.rows.get(name), by)
            task = self._tasks.begin(name, run, errand=True)
        done, _ = await asyncio.wait({task}, timeout=timeouts.HAND_OVER_S + timeouts.SETTLE_S)
        if not done:
            raise self._still_under_way(name)
        task.result()

    def _resume(self, row: Row) -> None:
        if row.goal is Goal.GONE:
            self._tasks.begin(row.name, lambda: self._take_down(row))
        elif row.lease and not row.seen:
            self._tasks.begin(row.name, lambda: self.leases.take_up(row))
        else:
            self._tasks.begin(row.name, lambda: self._bring_up(row.name, timeouts.RECOVER_S))

    async def _take_leftover(self, row: Row) -> None:
        task = self._tasks.begin(row.name, lambda: self._take_down(row))
        await asyncio.wait({task})
        task.result()

    async def _go_on(self, row: Row) -> None:
        await self._bring_up(row.name, timeouts.RECOVER_S)

    def _ended(self, name: str) -> None:
        row = self._desk.ledger.rows.get(name)
        if row and has_several(row):  # nobody may have watched it while it was worked on
            self._mending.watch()

    async def _bring_up(self, name: str, timeout_s: float) -> None:
        await self._mending.stop(name)  # it works by the plan of before, which may be given up now
        stood = self._desk.ledger.rows[name].handed_out
        try:
            await flows.attach(self._desk, name, deadline=self._desk.host.now() + timeout_s)
        except Problem as problem:
            said = Message.WRONG_DEVICE if problem.code is Code.WRONG_DEVICE else Message.ATTACH_FAILED
            log.error("attach failed: %s", problem.detail, extra=self._fields(said, name, problem))
            self._count("attach", name, problem.code)
            await self._give_up(name, problem)
            raise
        await self.leases.handed_out(name)
        if not stood:
            await self._desk.ledger.seen(name)  # its row says it
            log.info("attached", extra=self._fields(Message.ATTACHED, name))
            self._count("attach", name, "ok")
        if has_several(self._desk.ledger.rows[name]):
            self._mending.start(name)

    def _to_mend(self) -> list[str]:
        """What may lack a path by now, and is not being worked on."""
        return [row.name for row in self._desk.ledger.rows.values() if has_several(row) and row.name not in self._tasks]

    async def _mend(self, name: str, whole: bool) -> None:
        """Bring up what is missing, in the background; what cannot be had now is tried again by and by."""
        with bound(name):
            try:
                await flows.complete(self._desk, name, whole=whole, deadline=self._desk.host.now() + timeouts.RECOVER_S)
            except Problem as problem:
                row = self._desk.ledger.rows.get(name)
                if row and row.goal is Goal.ATTACHED and row.handed_out:
                    await self._desk.ledger.change(name, phase=Phase.DEGRADED, problem=problem.as_dict())

    async def _give_up(self, name: str, problem: Problem) -> None:
        """After a failed attach: keep what was handed out before, undo anything else."""
        row = self._desk.ledger.rows[name]
        if row.goal is Goal.GONE:
            return  # a detach has overtaken it, and undoes it
        if row.handed_out:
            await self._desk.ledger.change(name, phase=Phase.DEGRADED, verified=False, problem=problem.as_dict())
            log.error("degraded", extra=self._fields(Message.DEGRADED, name, problem))
            return
        row = await self._desk.ledger.change(name, goal=Goal.GONE, problem=problem.as_dict())
        try:
            await flows.detach(self._desk, name, deadline=self._desk.host.now() + timeouts.UNDO_S)
        except Problem as second:
            detail = f"{problem.detail}; and undoing it failed: {second.detail}"
            dirty = Problem(Code.DIRTY, detail, hint=f"detach it: cdmi-attach detach {name}", step=problem.step)
            await self._left_behind(name, dirty)
            raise dirty from problem
        self._failed[name] = replace(row, phase=Phase.FAILED, **NOT_HERE)
        self._desk.events.tell(name, "phase", phase=Phase.FAILED, problem=problem.detail)
        while len(self._failed) > FAILED_KEPT:
            self._forget(next(iter(self._failed)))

    def _forget(self, name: str) -> None:
        """Show nothing more of an attachment that is gone."""
        self._failed.pop(name, None)
        self._desk.steps.pop(name, None)
        self._desk.begun.pop(name, None)

    async def _take_down(self, before: Row) -> None:
        name = before.name
        await self._mending.stop(name)
        now = self._desk.ledger.rows.get(name)
        if now is None or now.goal is not Goal.GONE:
            return  # an attach that failed meanwhile has undone it, and there may be a new one of that name
        await self._desk.ledger.change(name, phase=Phase.DETACHING)  # the attach may have come to its end meanwhile
        try:
            await flows.detach(self._desk, name, deadline=self._desk.host.now() + timeouts.DETACH_S)
        except Problem as problem:
            log.error("detach failed: %s", problem.detail, extra=self._fields(Message.DETACH_FAILED, name, problem))
            self._count("detach", name, problem.code)
            if problem.code is Code.IN_USE and before.handed_out:  # after a crash, its link is to be put back yet
                linked = self._desk.ledger.rows[name].device is not None
                phase = before.phase if before.goal is Goal.ATTACHED and linked else Phase.DEGRADED
                back: dict[str, Any] = {"goal": Goal.ATTACHED, "phase": phase, "forced": ""}
                await self._desk.ledger.change(name, problem=problem.as_dict(), **back)
            elif await self.leftovers.is_again(before, problem):
                self._forget(name)
            else:
                await self._left_behind(name, problem)
            raise
        self._forget(name)
        log.info("detached", extra=fields(Message.DETACHED, server=before.server))
        self._desk.meter.operation("detach", before.protocol, "ok")

    def _count(self, kind: str, name: str, result: str) -> None:
        row = self._desk.ledger.rows.get(name)
        self._desk.meter.operation(kind, row.protocol if row else "", result)

    async def _left_behind(self, name: str, problem: Problem) -> None:
        """What could not be proven gone is quarantined; where only the server's side is left, it has failed."""
        phase = Phase.FAILED if self._desk.ledger.rows[name].released else Phase.QUARANTINED
        await self._desk.ledger.change(name, phase=phase, problem=problem.as_dict())
        if phase is Phase.QUARANTINED:
            log.error("quarantined", extra=self._fields(Message.QUARANTINED, name, problem))

    def _fields(self, message: Message, name: str, problem: Problem | None = None) -> dict[str, str]:
        row = self._desk.ledger.rows[name]
        wwid = row.device.wwid if row.device else (row.plan or {}).get("wwid")
        return fields(message, server=row.server, wwid=wwid, result=str(problem.code) if problem else "ok")

    def _free(self) -> list[Row]:
        """Those that nobody works on, nor is about to: a task begins when the ledger knows what is wanted."""
        rows, locks = self._desk.ledger.rows.values(), self._desk.locks
        busy = [row.name for row in rows if row.name in self._tasks or locks.is_taken(f"name:{row.name}")]
        return [row for row in rows if row.name not in busy and not self._mending.has(row.name)]

    def _still_under_way(self, name: str) -> Problem:
        phase = self.view(name)["phase"]
        return Problem(
            Code.DEVICE_TIMEOUT,
            f"{name} is still {phase}; the daemon goes on with it",
            hint=f"see: cdmi-attach status {name}",
        )
