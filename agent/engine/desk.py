"""What every flow of the engine works with, and what one attachment needs that others must leave alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.cdmi.sources import object_of
from agent.contract import Cdmi
from agent.engine.begun import Begun
from agent.engine.generations import by_name, numbered, refuse_late
from agent.engine.ledger import Grant, Ledger, Row
from agent.engine.locks import Locks
from agent.engine.meter import Meter, NoMeter
from agent.engine.touched import Touched
from agent.events import Events
from agent.model import READING, Access
from attachers.base import Attacher, Goal, Host
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
STEPS_KEPT = 64
UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says to the engine.

    `owner` is `user:group` of device nodes, or empty; `multipath` auto, always or never. `chap` are the servers (their
    URLs) whose targets want CHAP, `iface` is the interface of open-iscsi, or empty. `nfs_options` are more mount
    options, `nfs_downgrade` whether a lower NFS version than the export's will do, `nfs_discard` whether disks
    made of files take discards (with NFS 4.2).
    `trust_local`: a locally assigned name is proof.
    """

    protocols: tuple[str, ...] = ("iscsi",)
    owner: str = ""
    allow_unverified: bool = False
    multipath: str = "auto"
    chap: frozenset[str] = frozenset()
    iface: str = ""
    nfs_options: str = ""
    nfs_downgrade: bool = False
    nfs_discard: bool = True
    trust_local: bool = False


@dataclass(frozen=True, slots=True)
class Needed:
    """The resource keys that anybody but this attachment needs: asked for one by one, however many there are."""

    users: Mapping[str, set[str]]
    name: str

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.users.get(key, frozenset()) - {self.name})


@dataclass(frozen=True, slots=True)
class NeededBeside:
    """The same, and what the plan of an attachment needs itself: to look at a plan that it had before."""

    others: Container[str]
    own: Container[str]

    def __contains__(self, key: object) -> bool:
        return key in self.others or key in self.own


@dataclass(slots=True)
class Desk:
    """The engine's tools, its ledger, and the steps taken for each attachment (newest last, bounded)."""

    host: Host
    cdmi: Cdmi
    ledger: Ledger
    attachers: Mapping[str, Attacher]
    settings: Settings
    locks: Locks = field(default_factory=Locks)
    steps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    events: Events = field(default_factory=Events)
    begun: dict[str, Begun] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    """When an operation was last known to be worked on, by the host's clock: see `agent.engine.making`."""
    touched: Touched = field(default_factory=Touched)
    _needs: dict[str, tuple[Row, frozenset[str]]] = field(default_factory=dict)
    _users: dict[str, set[str]] = field(default_factory=dict)
    meter: Meter = field(default_factory=NoMeter)
    boot_id: str = ""
    """The boot that this host is in, as the helper said it last."""

    def __post_init__(self) -> None:
        self.ledger.on_phase = lambda name, phase: self.events.tell(name, "phase", phase=phase)
        self.ledger.on_commit = self.meter.commit
        self.ledger.on_row = self._note_needs

    async def let_go(self, *names: str) -> None:
        """Wait no more for steps that were begun, of these attachments or of all; on the host they go on."""
        for name in names or tuple(self.begun):
            if begun := self.begun.pop(name, None):
                await begun.let_go()

    def attacher(self, protocol: str) -> Attacher:
        """The attacher of a protocol that a plan was made for."""
        return self.attachers[protocol]

    def states(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The phase of every attachment, and the states of its paths."""
        for row in self.ledger.rows.values():
            yield str(row.phase), tuple(path.state for path in row.device.paths) if row.device else ()

    def needed_by_others(self, name: str) -> Container[str]:
        """The resource keys that other attachments need on this host, or may still have there."""
        return Needed(self._users, name)

    def _note_needs(self, name: str, row: Row | None) -> None:
        """An attachment has another row now, or none."""
        now = row if row and row.plan is not None and not row.released else None
        before, needs = self._needs.get(name, (None, frozenset[str]()))
        if now is before or (now and before and now.plan is before.plan and _uses(now) == _uses(before)):
            return
        for key in needs:
            self._users[key].discard(name)
            if not self._users[key]:
                del self._users[key]
        self._needs.pop(name, None)
        if now:
            self._needs[name] = (now, self.needs_of(now))
            for key in self._needs[name][1]:
                self._users.setdefault(key, set()).add(name)

    def needs_of(self, row: Row) -> frozenset[str]:
        """What an attachment needs, for its plan and for what is left of those before it."""
        former = (self._needed_for(row, one.protocol, one.plan) for one in row.former)
        return self.needs_now(row).union(*former)

    def needs_now(self, row: Row) -> frozenset[str]:
        """What it needs for the plan that it has now."""
        wwid = row.device.wwid if row.device else None
        main = {f"wwid:{wwid}"} if wwid else set()  # not always the one that the export says (attach.md, case 86)
        return self._needed_for(row, row.protocol, row.plan or {}) | main

    def _needed_for(self, row: Row, protocol: str, plan: Mapping[str, Any]) -> frozenset[str]:
        """What a plan needs. Raises `Problem`: without knowing that, nothing on this host may be taken down."""
        try:
            return self.attacher(protocol).needs(plan)
        except (KeyError, TypeError, Problem) as error:
            raise Problem(
                Code.UNAVAILABLE,
                f"the ledger has attachment {row.name}, whose plan ({row.protocol}) this version cannot read: {error}",
                hint="install the version that made it, and detach it",
            ) from error

    def grant_is_needed(self, grant: Grant, name: str) -> bool:
        """Whether another attachment on this host (without a name: any) still relies on that permission."""
        where = (object_of(grant.uri), grant.key)
        return any(
            row.name != name
            and (
                ((object_of(row.granted_at), row.key) == where and row.relies_on(grant.initiator))
                or any((object_of(one.uri), one.key) == where for one in row.former)
            )
            for row in self.ledger.rows.values()
        )

    def began(self, name: str, what: str) -> float:
        """Tell that a step of an attachment begins. Returns the time, by the host's clock."""
        self.events.tell(name, "step-began", what=what)
        return self.host.now()

    def ended(self, name: str, what: str, kind: str, began: float, outcome: str) -> None:
        """Write down one step: what, of which kind, since when (host's clock), and what went wrong, if anything."""
        took_s = self.host.now() - began
        started = datetime.now(UTC) - timedelta(seconds=took_s)
        ending = {"took_ms": round(took_s * 1000), "what": what} | ({"problem": outcome} if outcome else {})
        steps = self.steps.setdefault(name, [])
        steps.append({"at": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **ending})
        del steps[:-STEPS_KEPT]
        self.events.tell(name, "step-ended", **ending)
        self.meter.step(kind, took_s, "uncertain" if outcome == UNCERTAIN else "failed" if outcome else "ok")

    @asynccontextmanager
    async def noted(self, name: str, what: str, kind: str) -> AsyncIterator[None]:
        """Log and write down a step of an attachment that is not one of the host's."""
        began, outcome = self.began(name, what), ""
        log.info("%s", what)
        try:
            yield
        except Problem as problem:
            outcome = problem.detail
            problem.step = problem.step or what
            raise
        except asyncio.CancelledError:  # it may have been done all the same
            outcome = UNCERTAIN
            raise
        finally:
            self.ended(name, what, kind, began, outcome)


def _uses(row: Row) -> tuple[object, ...]:
    """What the needs of an attachment come of, besides its plan."""
    return row.protocol, row.former, row.device.wwid if row.device else None


def permissions_of(uri: str) -> str:
    """The lock of an object's permissions, and of the object's being there: one, through whichever server."""
    return f"permissions:{object_of(uri)}"


def refuse_overtaken(desk: Desk, name: str) -> None:
    """Raises `Problem` (`conflict`) when the attachment that is being made is no longer wanted."""
    if desk.ledger.rows[name].goal is not Goal.ATTACHED:
        raise Problem(Code.CONFLICT, f"{name}: the opposite was asked for meanwhile", hint="ask again")


def refuse_stale(desk: Desk, object_key: str, generation: int | None) -> None:
    """Raises `Problem` (`stale`) when a later request for the object was seen already: never for one without a key."""
    refuse_late(desk.ledger.generations.get(object_key), generation, "this object")


def refuse_stale_name(desk: Desk, name: str, generation: int | None) -> None:
    """Raises `Problem` (`stale`) when a later request for an attachment of that name was seen already."""
    refuse_late(desk.ledger.generations.get(by_name(name)), generation, name)


async def mind_late(desk: Desk, name: str, generation: int | None) -> None:
    """Before an attachment is taken down (it may be gone already): refuse a late request, keep this one's number.

    It counts for the object as well, unless others may have that beside it. Raises `Problem` (`stale`).
    """
    refuse_stale_name(desk, name, generation)
    row = desk.ledger.rows.get(name)
    if numbers := numbered(name, row.alone_key if row else "", generation):
        await desk.ledger.saw(numbers)


def refuse_second_use(desk: Desk, row: Row) -> None:
    """Design rule 8: one object read-write in one place, and one LUN for one object.

    Raises `Problem` (`conflict`, `stale`) naming the other attachment and the remedy.
    """
    refuse_stale(desk, row.alone_key, row.request.generation)
    for other in desk.ledger.rows.values():
        if other.name != row.name and other.plan is not None and not other.released:
            _refuse_beside(desk, row, other)


def _way_out(name: str, other: str) -> str:
    if READING.fullmatch(name):
        return f"read a snapshot or a clone of it, or what is attached as {other} itself"
    if READING.fullmatch(other):
        return "wait until its content has been read, or attach it with access ro"
    return f"detach {other} first, or attach both with access ro or with share"


def _refuse_beside(desk: Desk, row: Row, other: Row) -> None:
    if other.object_key.casefold() == row.object_key.casefold():
        both_read = row.request.access is Access.RO and other.request.access is Access.RO
        if not (both_read or (row.request.share and other.request.share)):
            raise Problem(
                Code.CONFLICT,
                f"source: the object is attached here as {other.name} ({other.request.access}, {other.phase})",
                hint=_way_out(row.name, other.name),
            )
        return
    mine = desk.attacher(row.protocol).needs(row.plan or {})
    for key in sorted(mine & desk.needs_of(other)):
        if key.startswith(("lun:", "file:", "wwid:")):
            raise Problem(
                Code.CONFLICT,
                f"source: {key} belongs to {other.name} here ({other.phase}), which is another object",
                hint=f"detach {other.name} first; if the server reuses the LUN, its exports are wrong",
            )
