"""iSCSI: from an export (target, portals, LUN, logical unit name) to one verified disk, and back to nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from attachers import checks, scsi
from attachers.base import Act, Context, Decision, Fail, Goal, Gone, Look, Ready, Wait, may_free
from attachers.problems import Code, Problem
from attachers.sights import IscsiQuery, Query, ScsiPath, ScsiSight, Session, Sight
from attachers.steps import (
    DEVICES,
    CreateRecord,
    DeleteRecord,
    Flush,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    Scan,
    Step,
    Unpublish,
)

protocol = "iscsi"
LOGGED_IN = "LOGGED_IN"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the export says, checked: portals are addresses with ports, `size` the least size in bytes (0: unknown)."""

    target: str
    portals: tuple[str, ...]
    lun: int
    wwid: str | None
    size: int = 0

    def __post_init__(self) -> None:
        checks.iqn(self.target, field="target_identifier")
        checks.lun(self.lun, field="logical_unit_number")
        if not self.portals:
            raise checks.refuse("portals", "", "a list of at least one portal")
        for portal in self.portals:
            checks.portal(portal, field="portals")
        if self.wwid is not None:
            checks.wwid(self.wwid, field="logical_unit_name")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, for the ledger."""
        return asdict(self) | {"portals": list(self.portals)}


def plan_of(values: Mapping[str, Any]) -> Plan:
    """The plan from its JSON values. Raises `Problem` (`invalid-request`) where one is not what it may be."""
    return Plan(
        target=values["target"],
        portals=tuple(values["portals"]),
        lun=values["lun"],
        wwid=values["wwid"],
        size=values.get("size", 0),
    )


def query(name: str, plan: Mapping[str, Any], *, goal: Goal) -> Query:
    """Look at the LUN of this plan, whatever the goal."""
    return _query(name, plan_of(plan))


def _query(name: str, plan: Plan, *, holders: bool = False) -> IscsiQuery:
    return IscsiQuery(name, plan.target, plan.portals, plan.lun, plan.wwid, holders=holders)


def needs(plan: Mapping[str, Any]) -> frozenset[str]:
    """Records, sessions and LUNs of every portal, and the logical unit itself."""
    p = plan_of(plan)
    keys = {f"wwid:{p.wwid}"} if p.wwid else set()
    for portal in p.portals:
        keys |= {_record(p.target, portal), _session(p.target, portal), _lun(p.target, portal, p.lun)}
    return frozenset(keys)


def decide(goal: Goal, plan: Mapping[str, Any], sight: Sight, context: Context) -> Decision:
    """The one next thing on the way to the goal."""
    assert isinstance(sight, ScsiSight)
    p = plan_of(plan)
    return _attach(p, sight, context) if goal is Goal.ATTACHED else _detach(p, sight, context)


# On the way in: record, session, LUN, identity, link.


def _attach(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    if sight.busy:
        return Wait(sight.busy[0], Problem(Code.TARGET_TIMEOUT, f"still under way: {sight.busy[0]}"))
    session = next((s for s in sight.sessions if s.portal in plan.portals and s.state == LOGGED_IN), None)
    if session is None:
        return _log_in(plan, sight, context)
    path = _path_on(session, plan, sight)
    if path is None:
        return _scan(plan, session, context)
    return _verify(plan, session, path, sight, context)


def _log_in(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    recovering = next((s for s in sight.sessions if s.portal in plan.portals), None)
    if recovering:
        text = f"the session to {plan.target} at {recovering.portal} is {recovering.state}, not {LOGGED_IN}"
        return Wait(text, Problem(Code.TARGET_TIMEOUT, text, hint="see iscsid's log and the target's state"))
    for portal in plan.portals:
        steps = (CreateRecord(plan.target, portal), Login(plan.target, portal))
        if any(step in context.failed for step in steps):
            continue
        recorded = any(r.portal == portal for r in sight.records)
        return Act(steps[1] if recorded else steps[0])
    reasons = "; ".join(f"{step.describe()}: {problem.detail}" for step, problem in context.failed.items())
    last = list(context.failed.values())[-1]
    return Fail(Problem(last.code, reasons, hint=last.hint))


def _scan(plan: Plan, session: Session, context: Context) -> Decision:
    scan = Scan(f"{session.host}:0:0:{plan.lun}", plan.target, session.portal)
    if scan in context.failed:
        return Fail(context.failed[scan])
    if scan in context.done:
        text = f"{plan.target} at {session.portal} to show LUN {plan.lun} ({scan.hctl})"
        hint = "the target does not map that LUN to this initiator: see the export's permissions on the server"
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}", hint=hint), again=scan)
    return Act(scan)


def _verify(plan: Plan, session: Session, path: ScsiPath, sight: ScsiSight, context: Context) -> Decision:
    if path.node is None:
        return _device_wait(plan, path, "the kernel to make its block device")
    known = plan.wwid or context.wwid
    if not path.designators and not (known is None and context.allow_unverified):
        return _device_wait(plan, path, f"an answer to INQUIRY ({path.inquiry_error or 'no strong designator'})")
    if plan.wwid is None and not context.allow_unverified:
        return Fail(_unnamed(path))
    wwid = scsi.identity_of(path, known)
    if wwid is None:
        return Fail(_unnamed(path))
    if scsi.is_wrong(path, wwid):
        return _wrong(plan, session, path, wwid, context)
    if path.size < max(plan.size, 1):
        return _device_wait(plan, path, f"a size of {plan.size} bytes (it is {path.size} now)")
    if path.read_only and not context.read_only and f"wwid:{wwid}" not in context.needed:
        return Fail(
            Problem(
                Code.TARGET_REFUSED,
                f"the target offers {wwid} read-only",
                hint="ask for access ro, or let the server export the LUN writable",
            )
        )
    return _publish(plan, path, wwid, sight, context)


def _publish(plan: Plan, path: ScsiPath, wwid: str, sight: ScsiSight, context: Context) -> Decision:
    published = sight.link == f"{DEVICES}/{wwid}" and sight.device_link == path.node
    if not (published and context.owner in ("", sight.owner)):
        read_only = context.read_only if path.ours else path.read_only  # a borrowed disk stays as its owner has it
        step = Publish(context.name, path.hctl, wwid, read_only, context.owner)
        return Fail(context.failed[step]) if step in context.failed else Act(step)
    return Ready(scsi.as_device(path, wwid, read_only=context.read_only), verified=plan.wwid is not None)


def _wrong(plan: Plan, session: Session, path: ScsiPath, wwid: str, context: Context) -> Decision:
    """Another logical unit answers: drop a stale device of ours once, if nobody needs it; then refuse."""
    step = RemoveDevice(path.hctl)
    elsewhere = _lun(plan.target, session.portal, plan.lun) in context.needed
    if path.ours and not elsewhere and step not in context.done and step not in context.failed:
        return Act(step)
    return Fail(
        Problem(
            Code.WRONG_DEVICE,
            f"LUN {plan.lun} of {plan.target} is {scsi.what_it_is(path)}, not {wwid}",
            hint="the server maps another logical unit there: correct the export's logical_unit_number or the mapping",
        )
    )


def _device_wait(plan: Plan, path: ScsiPath, awaited: str) -> Wait:
    text = f"LUN {plan.lun} of {plan.target} ({path.hctl}) awaits {awaited}"
    return Wait(text, Problem(Code.DEVICE_TIMEOUT, text, hint="see the kernel's log on this host"))


def _unnamed(path: ScsiPath) -> Problem:
    return Problem(
        Code.WRONG_DEVICE,
        f"the export names no logical unit, so that {scsi.what_it_is(path)} cannot be proved to be the right one",
        hint="let the server fill in logical_unit_name, or set allow_unverified in [attach]",
    )


# On the way out: link, use, cache, device, session, record; each only if we made it and nobody else needs it.


def _detach(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    if sight.busy:
        return Wait(sight.busy[0], Problem(Code.TARGET_TIMEOUT, f"still under way: {sight.busy[0]}"))
    free = may_free(needs(plan.as_json()), _created(sight), context.needed)
    doomed = [p for p in sight.paths if _lun(plan.target, p.via, plan.lun) in free]
    if sight.link is not None:
        return _step(Unpublish(context.name, _free_wwid(plan, doomed, context)), context)
    for path in doomed:
        return _remove(plan, path, context)
    for session in sight.sessions:
        if _session(session.target, session.portal) in free and not session.devices:
            return _step(Logout(session.target, session.portal), context)
    for record in sight.records:
        used = any(s.portal == record.portal for s in sight.sessions)
        if _record(record.target, record.portal) in free and not used:
            return _step(DeleteRecord(record.target, record.portal), context)
    return Gone()


def _remove(plan: Plan, path: ScsiPath, context: Context) -> Decision:
    """In use? Flush, then remove; the last step looks for users once more by itself, right before it deletes."""
    wwid = scsi.identity_of(path, plan.wwid or context.wwid)
    remove, flush = RemoveDevice(path.hctl), Flush(path.hctl, wwid) if wwid else None
    flushed = flush is not None and _was_done(flush, context)
    if path.holders is None and not (flushed or _was_done(remove, context)):
        return Look(_query(context.name, plan, holders=True))
    if path.holders:
        return Fail(_in_use(path), restore=_put_back(plan, path, context))
    if flush and wwid and path.node and scsi.is_right(path, wwid) and not flushed:
        return _step(flush, context, restore=_put_back(plan, path, context))
    if _was_done(remove, context):
        text = f"the kernel to forget {path.hctl}"
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}"))
    return _step(remove, context, restore=_put_back(plan, path, context))


def _put_back(plan: Plan, path: ScsiPath, context: Context) -> Step | None:
    """The step that gives a refused detach its link back, if we had taken it and the disk is still the right one."""
    wwid = scsi.identity_of(path, plan.wwid or context.wwid)
    taken = any(isinstance(step, Unpublish) for step in context.done)
    if taken and wwid and path.node and scsi.is_right(path, wwid):
        return Publish(context.name, path.hctl, wwid, context.read_only, context.owner)
    return None


def _in_use(path: ScsiPath) -> Problem:
    return Problem(
        Code.IN_USE,
        f"{path.node or path.hctl} is in use by {', '.join(path.holders or ())}",
        hint="stop or detach the user of the disk, then try again",
    )


def _step(step: Step, context: Context, *, restore: Step | None = None) -> Decision:
    if step in context.failed:
        return Fail(context.failed[step], restore=restore)
    return Act(step)


def _was_done(step: Step, context: Context) -> bool:
    """Whether the step was taken, and has said so: one that failed or may be lost is no ground for the next."""
    return step in context.done and step not in context.unsure and step not in context.failed


def _free_wwid(plan: Plan, doomed: list[ScsiPath], context: Context) -> str | None:
    wwid = plan.wwid or context.wwid or next((scsi.identity_of(p, None) for p in doomed), None)
    return None if wwid is None or f"wwid:{wwid}" in context.needed else wwid


def _created(sight: ScsiSight) -> frozenset[str]:
    keys = {_record(r.target, r.portal) for r in sight.records if r.ours}
    keys |= {_session(s.target, s.portal) for s in sight.sessions if s.ours}
    for path in sight.paths:
        if path.ours:
            lun = int(path.hctl.rpartition(":")[2])
            target = next((s.target for s in sight.sessions if path.hctl in s.devices), "")
            keys.add(_lun(target, path.via, lun))
    return frozenset(keys)


def _path_on(session: Session, plan: Plan, sight: ScsiSight) -> ScsiPath | None:
    hctl = f"{session.host}:0:0:{plan.lun}"
    return next((path for path in sight.paths if path.hctl == hctl), None)


def _record(target: str, portal: str) -> str:
    return f"record:{target}@{portal}"


def _session(target: str, portal: str) -> str:
    return f"session:{target}@{portal}"


def _lun(target: str, portal: str, lun: int) -> str:
    return f"lun:{target}@{portal}#{lun}"
