"""Attachments for a while: what is on its way in goes by itself, unless somebody confirms it, or uses it.

A migration attaches the disks where the guest is to go, and what comes of it is not always told (opennebula.md 1.5).
So a lease ends when its time is over and nobody has the disk open; when the guest runs here, it is confirmed; and a
boot of the host ends it: the guest that was on its way in did not come. Nothing ends a lease early: its time is the
host's monotonic clock in one boot, and where nobody can tell who has the disk, it stays.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from agent import timeouts
from agent.caller import DAEMON, Caller
from agent.engine.converge import observe
from agent.engine.desk import Desk, mind_late
from agent.engine.joining import refuse_leaving
from agent.engine.lease import Lease
from agent.engine.ledger import Row
from agent.engine.permits import host_sight
from agent.engine.tasks import Tasks
from agent.engine.users import users_of
from agent.messages import Message, fields
from agent.model import Phase
from attachers.base import Goal
from attachers.problems import Code, Problem
from attachers.sights import DomainQuery, DomainSight

log = logging.getLogger(__name__)
DOMAIN = "domain "
Work = Callable[[Row], Awaitable[None]]


class Leases:
    """The leases of all attachments. `free`: those that nobody works on; `bring_up`, `take_down`: go on with one."""

    def __init__(
        self, desk: Desk, tasks: Tasks, free: Callable[[], Iterable[Row]], *, bring_up: Work, take_down: Work
    ) -> None:
        self._desk = desk
        self._tasks = tasks
        self._free = free
        self._bring_up = bring_up
        self._take_down = take_down
        self._looked: dict[str, float] = {}

    # What callers say.

    async def ask(self, row: Row, lease_s: float | None, by: Caller) -> None:
        """A repeated request: without a lease it confirms the attachment, with one it has its time begin anew.

        What was confirmed stays so: a script that comes late does not make it one for a while again. Raises `Problem`.
        """
        if row.lease is None:
            return
        if lease_s is None:
            await self._settle(row.name, _who(by))
        else:
            lease = await self._lease(lease_s) if row.lease.until else Lease(lease_s)
            if _same_boot(row.lease, lease) and row.lease.until > lease.until:
                return
            await self._desk.ledger.change(row.name, lease=lease)
            self._tell(row.name, "renewed", lease, _who(by))

    async def confirm(self, name: str, generation: int | None, by: Caller) -> None:
        """It stays until it is detached; that it does already is success. Raises `Problem`: busy, stale."""
        row = self._desk.ledger.rows.get(name)
        if row is None:  # it failed, and is only shown
            hint = f"attach it first: cdmi-attach attach SOURCE --name {name}"
            raise Problem(Code.BUSY, f"name: {name} is not attached", hint=hint)
        refuse_leaving(row)
        await mind_late(self._desk, name, generation)
        await self.ask(row, None, by)

    # What time brings.

    async def handed_out(self, name: str) -> None:
        """Its time begins, unless it has."""
        row = self._desk.ledger.rows[name]
        if row.lease and not row.lease.until and row.handed_out:
            lease = await self._lease(row.lease.seconds)
            await self._desk.ledger.change(name, lease=lease)
            self._tell(name, "begun", lease, "")

    async def take_up(self, row: Row) -> None:
        """After a start of the daemon: bring it up again, unless the host was booted since, or its time is over and
        nobody uses it: that needs no proof of the disk, which may never come. Raises `Problem`.
        """
        name, lease = row.name, row.lease
        boot_id = (await host_sight(self._desk)).boot_id
        if lease and (lease.boot_id or row.boot_id) != boot_id:
            await self._end(name, lease, "the host was booted")
        elif self._is_over(lease):
            await self._judge(name)
        else:
            await self.handed_out(name)  # its time may not have begun when the daemon before ended
        if (now := self._desk.ledger.rows.get(name)) and now.goal is Goal.ATTACHED:
            await self._bring_up(now)

    def look(self) -> None:
        """Look at each that is over, or was not looked at for a while: who uses it, and does its guest run here?"""
        now = self._desk.host.now()
        leased = [
            row for row in self._free() if row.lease and row.handed_out and row.seen and row.goal is Goal.ATTACHED
        ]
        self._looked = {row.name: self._looked.get(row.name, now) for row in leased}
        for row in leased:
            if self._is_due(row, now):
                self._looked[row.name] = now
                self._begin(row.name)

    def _is_due(self, row: Row, now: float) -> bool:
        rested_s = now - self._looked[row.name]
        if not self._is_over(row.lease):
            return rested_s >= timeouts.TEND_S
        just_now = row.lease is not None and self._looked[row.name] < row.lease.until
        return just_now or rested_s >= timeouts.CALM_TICK_S

    def _begin(self, name: str) -> None:
        self._tasks.begin(name, lambda: self._judge(name), errand=True)

    def _is_over(self, lease: Lease | None) -> bool:
        """Whether its time in this boot is over; one of another boot is for `take_up`."""
        return bool(lease and lease.until and self._desk.host.now() >= lease.until)

    async def _judge(self, name: str) -> None:
        row = self._desk.ledger.rows.get(name)
        if row is None or row.lease is None or row.goal is not Goal.ATTACHED or row.plan is None:
            return
        if row.domains:
            await self._settle(name, f"it was handed to domain {row.domains[0].name}")
            return
        users = await users_of(self._desk, row)
        if domain := await self._running(users):
            await self._settle(name, f"domain {domain} runs here")
        elif not users and self._is_over(row.lease):
            await self._end(name, row.lease, f"its lease of {row.lease.seconds:g} s has run out, and nobody uses it")

    async def _running(self, users: list[str]) -> str:
        """The first of the users that is a domain whose guest runs here (one that is on its way in does not yet)."""
        for user in users:
            if user.startswith(DOMAIN):
                domain = user.partition(" (")[0].removeprefix(DOMAIN)
                try:
                    sight = await observe(self._desk.host, DomainQuery(domain))
                except Problem as problem:
                    log.info("whether domain %s runs cannot be told: %s", domain, problem.detail)
                    continue
                if isinstance(sight, DomainSight) and sight.runs:
                    return domain
        return ""

    async def _settle(self, name: str, why: str) -> None:
        """It stays."""
        row = self._desk.ledger.rows.get(name)
        if row and row.lease and row.goal is Goal.ATTACHED:
            await self._desk.ledger.change(name, lease=None)
            log.info("confirmed: %s", why)
            self._tell(name, "confirmed", row.lease, why)

    async def _end(self, name: str, lease: Lease, why: str) -> None:
        """Take it down as any other, unless it was confirmed or renewed meanwhile. Raises `Problem`: it is in use."""
        async with self._desk.locks.hold([f"name:{name}"]):
            row = self._desk.ledger.rows.get(name)
            if row is None or row.goal is not Goal.ATTACHED or row.lease != lease:
                return
            await self._desk.ledger.change(name, goal=Goal.GONE, phase=Phase.DETACHING)
        self._tell(name, "ended", lease, why)
        code = ""
        try:
            await self._take_down(row)
        except Problem as problem:
            code = str(problem.code)
            raise
        finally:
            self._audit(row, why, code)

    async def _lease(self, seconds: float) -> Lease:
        """One that begins now. Raises `Problem`: the helper does not say which boot this is."""
        boot_id = self._desk.boot_id or (await host_sight(self._desk)).boot_id
        ends = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Lease(seconds, self._desk.host.now() + seconds, boot_id, ends)

    def _tell(self, name: str, what: str, lease: Lease, by: str) -> None:
        ends: dict[str, Any] = {"ends": lease.ends or None, "seconds": lease.seconds}
        self._desk.events.tell(name, "lease", what=what, **ends, **({"by": by} if by else {}))

    def _audit(self, row: Row, why: str, code: str) -> None:
        """The same line and event as those of a detach that somebody asks for."""
        what, did = f"detach name={row.name}: {why}", "refused" if code else "done"
        more = fields(
            Message.REFUSED if code else Message.CHANGED,
            **{"uid": str(DAEMON.uid), "pid": str(DAEMON.pid), "operation": "expire", "result": code or did},
        )
        log.log(logging.WARNING if code else logging.INFO, "%s: %s, by the daemon", what, did, extra=more)
        self._desk.meter.operation("expire", row.protocol, code or "ok")
        told = {"operation": "expire", "what": what, "outcome": did, "uid": DAEMON.uid, "pid": DAEMON.pid}
        self._desk.events.tell(row.name, "operation", **told, **({"code": code} if code else {}))


def of_request(lease_s: float | None) -> Lease | None:
    """What a new attachment's row says."""
    return None if lease_s is None else Lease(lease_s)


def _same_boot(one: Lease, other: Lease) -> bool:
    return one.boot_id == other.boot_id


def _who(by: Caller) -> str:
    return f"uid {by.uid}, pid {by.pid}"
