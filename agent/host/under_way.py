"""Which steps are under way, also those that nobody waits for any more, and what they touch."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from agent.host.uevents import Changes
from attachers import checks
from attachers.sights import IscsiQuery, ScsiQuery, Session
from attachers.steps import (
    AnnounceMap,
    CreateRecord,
    DeleteRecord,
    Disown,
    ForgetMap,
    GiveDisk,
    GiveUp,
    GrowDisk,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    MakeDisk,
    Mount,
    Own,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveDisk,
    RemoveMap,
    Rescan,
    ResizeDisk,
    ResizeMap,
    Scan,
    Step,
    TakeDisk,
    Unmount,
    Unpublish,
    WriteOutFile,
)

log = logging.getLogger(__name__)


def touched(step: Step) -> frozenset[str]:
    """The keys of what a step changes. A scan also keeps its session from being logged out."""
    match step:
        case CreateRecord(target, portal) | Login(target, portal) | DeleteRecord(target, portal):
            return frozenset({f"portal:{target}@{portal}"})
        case Logout(target, portal):
            return frozenset({f"portal:{target}@{portal}", f"scan:{target}@{portal}"})
        case Scan(hctl, target, portal):
            return frozenset({f"hctl:{hctl}", f"scan:{target}@{portal}"})
        case Publish(name=name, hctl=hctl, wwid=wwid):
            return frozenset({f"name:{name}", f"wwid:{wwid}"} | ({f"hctl:{hctl}"} if hctl else set()))
        case JoinMap(hctl, wwid) | LeaveMap(hctl, wwid):
            return frozenset({f"hctl:{hctl}", f"wwid:{wwid}"})
        case AnnounceMap(wwid=wwid) | ResizeMap(wwid=wwid) | RemoveMap(wwid=wwid) | ForgetMap(wwid=wwid) | GiveUp(wwid):
            return frozenset({f"wwid:{wwid}"})
        case Unpublish(name, wwid):
            return frozenset({f"name:{name}"} | ({f"wwid:{wwid}"} if wwid else set()))
        case RemoveDevice(hctl=hctl, wwid=wwid):
            return frozenset({f"hctl:{hctl}"} | ({f"wwid:{wwid}"} if wwid else set()))
        case Rescan(hctl=hctl):
            return frozenset({f"hctl:{hctl}"})
        case Own(targets, lun) | Disown(targets, lun):
            return frozenset(f"lun:{target}#{lun}" for target in targets)
        case Mount(share=share) | Unmount(share=share):
            return frozenset({f"mount:{share.point}"})
        case MakeDisk(wwid=wwid) | GrowDisk(wwid=wwid) | RemoveDisk(wwid=wwid) | WriteOutFile(wwid=wwid):
            return frozenset({f"wwid:{wwid}"})
        case PublishFile(name=name):
            return frozenset({f"name:{name}"})
        case GiveDisk(name, domain) | TakeDisk(name, domain) | ResizeDisk(name, domain):
            return frozenset({f"name:{name}", f"domain:{domain}"})


def _writes_out(step: Step) -> bool:
    match step:
        case RemoveDevice(wwid=str(), lost=False) | RemoveDisk(lost=False) | RemoveMap(lost=False):
            return True
        case WriteOutFile(lost=False):
            return True
    return False


def stood_on(step: Step) -> frozenset[str]:
    """The keys of what has to stay as it is while the step goes on. Any number of steps may stand on the same mount: a
    flush that waits for its server for hours keeps nobody from the other files of the share.
    """
    match step:
        case MakeDisk(share=share) | GrowDisk(share=share) | RemoveDisk(share=share) | WriteOutFile(share=share):
            return frozenset({f"mount:{share.point}"})
        case _:
            return frozenset()


def _collide(one: Step, other: Step) -> bool:
    changed, changes = touched(one), touched(other)
    return bool(changed & changes or changed & stood_on(other) or stood_on(one) & changes)


def asked(query: ScsiQuery, sessions: Iterable[Session]) -> frozenset[str]:
    """The keys of what a query looks at."""
    keys = {f"name:{query.name}", f"wwid:{query.wwid}"}
    plain = checks.plain_lun(query.lun)
    keys |= {f"hctl:{session.at(number)}" for session in sessions for number in (plain, checks.FLAT | plain)}
    if isinstance(query, IscsiQuery):
        keys |= {f"portal:{query.target}@{portal}" for portal in query.portals}
    return frozenset(keys)


@dataclass(eq=False, slots=True)
class Operation:
    """One step under way; `late` when its caller was told that its outcome is uncertain."""

    step: Step
    late: bool = False


class UnderWay:
    """The register of the steps under way."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._operations: list[Operation] = []

    def begin(self, step: Step) -> Operation:
        """A step begins."""
        operation = Operation(step)
        self._operations.append(operation)
        return operation

    def end(self, operation: Operation) -> None:
        """A step has ended, in whatever way."""
        self._operations.remove(operation)
        self._changes.grow()

    def end_with(self, operation: Operation, ended: asyncio.Future[object]) -> None:
        """A step's caller stops waiting; the step ends when `ended` is done. How it failed is for the log alone."""
        operation.late = True
        ended.add_done_callback(lambda done: self._end_late(operation, done))

    def _end_late(self, operation: Operation, ended: asyncio.Future[object]) -> None:
        if not ended.cancelled() and (error := ended.exception()):
            step = operation.step.describe()
            log.error("%s, whose time had run out, failed in the end: %s", step, error, extra={"step": step})
        self.end(operation)

    def busy(self, keys: frozenset[str]) -> tuple[str, ...]:
        """What is under way on any of these, in the order of its beginning."""
        return tuple(op.step.describe() for op in self._operations if touched(op.step) & keys)

    def scanned(self) -> frozenset[str]:
        """The SCSI addresses that the kernel is looking at."""
        return frozenset(op.step.hctl for op in self._operations if isinstance(op.step, Scan))

    async def written_out(self, *, limit_s: float) -> None:
        """Return when nothing is written out any more, or after `limit_s`; what is known to be lost does not count."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            since = self._changes.count
            writing = [op.step.describe() for op in self._operations if _writes_out(op.step)]
            if not writing:
                return
            log.info("waiting for the end of: %s", "; ".join(writing))
            await self._changes.above(since, timeout_s=deadline - time.monotonic())

    def late_on(self, step: Step) -> str | None:
        """The late step that touches what this one touches, or stands on, or the other way round; if there is one."""
        found = (op.step.describe() for op in self._operations if op.late and _collide(op.step, step))
        return next(found, None)
