"""iSCSI: from an export (target, portals, LUN, logical unit name) to one verified disk, and back to nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attachers import checks, lun, maps, naming, unwritten
from attachers.base import Act, Begin, Context, Decision, Fail, Goal, Gone, Wait, may_free
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN, IscsiQuery, Query, Record, ScsiPath, ScsiSight, Session, Sight
from attachers.steps import CreateRecord, DeleteRecord, Disown, Login, Logout, Own, Scan, Step

protocol = "iscsi"
comes_back = True
asks_again = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What the export says, checked: portals are addresses with ports, `size` the least size in bytes (0: unknown).

    `multipath`: all portals are used, and the map of their paths is handed out. `main` is the unit's main name,
    where it has said a better one than the export.
    """

    target: str
    portals: tuple[str, ...]
    lun: int
    wwid: str | None
    size: int = 0
    multipath: bool = False
    main: str | None = None

    @property
    def unit(self) -> str | None:
        """The name by which the unit is known on this host."""
        return self.main or self.wwid

    @property
    def keys(self) -> frozenset[str]:
        """The unit, by each of its names that are known."""
        return frozenset(f"wwid:{name}" for name in (self.wwid, self.main) if name)

    def __post_init__(self) -> None:
        checks.iqn(self.target, field="target_identifier")
        checks.lun(self.lun, field="logical_unit_number")
        if not self.portals:
            raise checks.refuse("portals", "", "a list of at least one portal")
        for portal in self.portals:
            checks.portal(portal, field="portals")
        if self.wwid is not None:
            checks.wwid(self.wwid, field="logical_unit_name")
            checks.wwid(self.main or self.wwid, field="main")
        elif self.multipath:
            raise checks.refuse("logical_unit_name", "", "the name of the logical unit: paths are known by it")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, for the ledger. No export says `multipath` or `main`: who decides them adds them."""
        values = asdict(self) | {"portals": list(self.portals)}
        return {name: value for name, value in values.items() if name not in ("multipath", "main") or value}


def plan_of(values: Mapping[str, Any]) -> Plan:
    """The plan from its JSON values. Raises `Problem` (`invalid-request`) where one is not what it may be."""
    return Plan(
        target=values["target"],
        portals=tuple(values["portals"]),
        lun=values["lun"],
        wwid=values["wwid"],
        size=values.get("size", 0),
        multipath=values.get("multipath", False),
        main=values.get("main"),
    )


def query(name: str, plan: Mapping[str, Any], *, goal: Goal) -> Query:
    """Look at the LUN of this plan; on the way in a block of each path is read as well: that a path answers to an
    INQUIRY does not say that it carries I/O (attach.md, case 82).
    """
    p = plan_of(plan)
    return IscsiQuery(name, p.target, p.portals, p.lun, p.unit, read=goal is Goal.ATTACHED)


def needs(plan: Mapping[str, Any]) -> frozenset[str]:
    """Records, sessions and LUNs of every portal, and the logical unit itself."""
    p = plan_of(plan)
    keys = {_own(p), *p.keys}
    for portal in p.portals:
        keys |= {_record(p.target, portal), _session(p.target, portal), _lun(p.target, portal, p.lun)}
    return frozenset(keys)


def decide(goal: Goal, plan: Mapping[str, Any], sight: Sight, context: Context) -> Decision:
    """The one next thing on the way to the goal."""
    assert isinstance(sight, ScsiSight)
    p, seen = plan_of(plan), lun.with_begun(sight, context)
    if goal is Goal.ATTACHED and (first := naming.by_main_name(_unit(p).text, p.unit, seen, context)):
        return first
    return _attach(p, seen, context) if goal is Goal.ATTACHED else _detach(p, seen, context)


# On the way in: record, session, LUN; then as every transport.


def _attach(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    if plan.target not in sight.owned and not any(path.ours for path in sight.paths):
        return lun.step(Own((plan.target,), plan.lun), context)
    if plan.multipath:
        return maps.attach(_unit(plan), _ways(plan, sight, context), sight, context)
    if wait := lun.wait_if_busy(sight):
        return wait
    usable = [s for s in sight.sessions if s.portal in plan.portals and s.state == LOGGED_IN]
    usable.sort(key=lambda s: not s.ours)  # ours first: another may go any time
    if not usable:
        return _log_in(plan, sight, context)
    ways = [(session, _is_needed(plan, session, sight, context)) for session in usable]
    found = lun.find(_unit(plan), ways, sight, context)
    return _beside(plan, found, sight, context) if lun.is_in_vain(_unit(plan), found, sight, context) else found


def _beside(plan: Plan, found: Decision, sight: ScsiSight, context: Context) -> Decision:
    """The LUN does not show, or does not work, where we are logged in: it may at another portal (case 82).

    What is said in the end is what is the matter at each of them.
    """
    next_, refused = _next_portal(plan, sight, context)
    if next_:
        return Act(next_)
    recovering = (s for s in sight.sessions if s.portal in plan.portals and s.state != LOGGED_IN)
    texts = [problem.detail for problem in refused]
    texts += [f"the session at {session.portal} is {session.state}" for session in recovering]
    match found:
        case Wait(reason, problem, again) if texts:
            return Wait("; ".join([reason, *texts]), problem.and_also(texts), again)
        case Fail(problem, restore) if texts:
            return Fail(problem.and_also(texts), restore)
    return found


def _ways(plan: Plan, sight: ScsiSight, context: Context) -> list[maps.Way]:
    """All portals, side by side. But a secret is tried at one of them first: wrong ones count at the target."""
    there = {session.portal for session in sight.sessions if session.state == LOGGED_IN}
    trying = [portal for portal in plan.portals if _logging_in(plan, portal, sight)]
    alone = trying[0] if context.chap and trying and not there else None
    return [_way(plan, portal, sight, context, alone=alone) for portal in plan.portals]


def _way(plan: Plan, portal: str, sight: ScsiSight, context: Context, *, alone: str | None) -> maps.Way:
    """One of several portals: record, login, scan; what takes long goes on beside what the others need."""
    sessions = sorted(
        (s for s in sight.sessions if s.portal == portal), key=lambda s: (s.state != LOGGED_IN, not s.ours)
    )
    session = next(iter(sessions), None)
    scans = lun.scans(_unit(plan), [session]) if session else []
    steps: tuple[Step, ...] = (CreateRecord(plan.target, portal), Login(plan.target, portal), *scans)
    path = lun.path_on(_unit(plan), session, sight) if session else None
    next_ = _to_lun(plan, session, scans, context) if session else _to_session(plan, portal, sight, context)
    if alone not in (None, portal) and isinstance(next_, Begin):
        text = f"{alone} to say whether the secret is right"
        next_ = Wait(text, Problem(Code.TARGET_TIMEOUT, f"waiting for {text}"))
    needed = session is not None and _is_needed(plan, session, sight, context)
    return maps.Way(portal, path, next_, tuple(step.describe() for step in steps), needed)


def _to_lun(plan: Plan, session: Session, scans: Sequence[Scan], context: Context) -> Decision:
    """What is next on a session, until the LUN shows there."""
    if session.state != LOGGED_IN:
        return _recovery(plan, session, [])
    next_ = lun.scan(scans, f"{session.via} to show {_unit(plan).text}", context)
    return Begin(next_.step) if isinstance(next_, Act) else next_


def _to_session(plan: Plan, portal: str, sight: ScsiSight, context: Context) -> Decision:
    """What is next at a portal without a session; a problem that is final at one portal is so at all."""
    final = next((p for step, p in context.failed.items() if isinstance(step, Login) and p.final), None)
    record = next((r for r in sight.records if r.portal == portal), None)
    next_ = final or _next_at(plan, portal, record, context)
    if isinstance(next_, Problem):
        return Fail(next_)
    return Begin(next_) if isinstance(next_, Login) else Act(next_)


def _log_in(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    """At the first portal that has no session yet, and has not failed; a session that recovers is waited for last.

    Unless its disk was handed out: who has that open is not helped by another one.
    """
    recovering = next((s for s in sight.sessions if s.portal in plan.portals), None)
    if recovering and context.wwid and lun.path_on(_unit(plan), recovering, sight):
        return _recovery(plan, recovering, [])
    next_, refused = _next_portal(plan, sight, context)
    if next_:
        return Act(next_)
    if refused and refused[-1].final:
        return Fail(refused[-1])
    if recovering:
        return _recovery(plan, recovering, refused)
    reasons = "; ".join(problem.detail for problem in refused)
    return Fail(Problem(refused[-1].code, reasons, hint=refused[-1].hint))


def _next_portal(
    plan: Plan, sight: ScsiSight, context: Context
) -> tuple[CreateRecord | Login | None, Sequence[Problem]]:
    """What is next at the first portal without a session at which something is to be had, and what is the matter with
    those before it. A wrong secret ends the search: at another door it would be one more wrong try.
    """
    refused: list[Problem] = []
    for portal in plan.portals:
        if any(session.portal == portal for session in sight.sessions):
            continue
        record = next((r for r in sight.records if r.portal == portal), None)
        step = _next_at(plan, portal, record, context)
        if not isinstance(step, Problem):
            return step, refused
        refused.append(step)
        if step.final:
            break
    return None, refused


def _recovery(plan: Plan, session: Session, refused: Sequence[Problem]) -> Wait:
    text = f"the session to {plan.target} at {session.portal} is {session.state}, not {LOGGED_IN}"
    text = "; ".join([text, *(problem.detail for problem in refused)])
    return Wait(text, Problem(Code.TARGET_TIMEOUT, text, hint="see iscsid's log and the target's state"))


def _next_at(plan: Plan, portal: str, record: Record | None, context: Context) -> CreateRecord | Login | Problem:
    """What is next at a portal without a session, or why nothing is to be had there."""
    create = CreateRecord(plan.target, portal, context.chap, context.iface)
    login = Login(plan.target, portal, context.chap, context.iface)
    for step in (create, login):
        if step in context.failed:
            return context.failed[step]
    if record is None:
        return create
    if record.flaw and not record.ours:
        text = f"the record of {plan.target} at {portal} is somebody else's, and cannot be used: {record.flaw}"
        mend = f"iscsiadm -m node -T {plan.target} -p {portal} -o delete (or -o update -n node.session.scan -v manual)"
        return Problem(Code.CONFLICT, text, hint=mend)
    return login


# On the way out: the LUN as every transport, then session and record; each only if we made it and nobody else needs it.


def _detach(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    logins = [_logging_in(plan, portal, sight) for portal in plan.portals]
    if wait := lun.wait_if_busy(
        sight, but=(*filter(None, logins), *unwritten.stuck(plan.wwid or context.wwid, context))
    ):  # a dead portal holds up nothing but itself
        return wait
    free = may_free(needs(plan.as_json()), _created(sight), context.needed)
    doomed = [path for path in sight.paths if path.ours and _is_free(plan, path, free, context)]
    again = IscsiQuery(context.name, plan.target, plan.portals, plan.lun, plan.unit)
    needed = _is_needed_here(plan, context)
    if next_ := lun.take_back(_unit(plan), sight, doomed, context, again, needed=needed):
        return next_
    for session in sight.sessions:
        if session.ours and _session(session.target, session.portal) in free and not session.devices:
            several = sum(one.ours and one.portal == session.portal for one in sight.sessions) > 1
            return lun.step(Logout(session.target, session.portal, session.sid if several else None), context)
    for record in sight.records:
        used = any(s.portal == record.portal for s in sight.sessions) or _logging_in(plan, record.portal, sight)
        if _record(record.target, record.portal) in free and not used:
            return lun.step(DeleteRecord(record.target, record.portal), context)
    if context.withdrawn and plan.target in sight.owned and not _is_lun_needed(plan, context):
        return lun.step(Disown((plan.target,), plan.lun), context)
    return lun.wait_if_busy(sight) or Gone()


def _is_lun_needed(plan: Plan, context: Context) -> bool:
    """Whether anything else relies on the number of the LUN, at whichever portal."""
    return _own(plan) in context.needed


def _is_free(plan: Plan, path: ScsiPath, free: Collection[str], context: Context) -> bool:
    """Whether a path of ours may go. At its number in the other form, or at a portal that the export does not name
    (where somebody's rescan has found it), it is another attachment's where that says so.
    """
    key = _lun(plan.target, path.via, checks.number_at(path.hctl))
    needed = key in context.needed or any(one in context.needed for one in plan.keys)
    named = path.via in plan.portals and checks.number_at(path.hctl) == plan.lun
    return key in free or (not named and not needed)


def _is_needed_here(plan: Plan, context: Context) -> bool:
    """Whether another attachment relies on the very unit, or on what has its number at any of the portals."""
    keys = plan.keys or {_lun(plan.target, portal, plan.lun) for portal in plan.portals}
    return any(key in context.needed for key in keys)


def _is_needed(plan: Plan, session: Session, sight: ScsiSight, context: Context) -> bool:
    """Whether another attachment relies on what this session shows of the LUN, at whatever form of its number."""
    shown = [checks.number_at(path.hctl) for path in lun.paths_on(_unit(plan), session, sight)]
    return any(_lun(plan.target, session.portal, number) in context.needed for number in (plan.lun, *shown))


def _logging_in(plan: Plan, portal: str, sight: ScsiSight) -> str:
    """The login at a portal that is under way; empty when there is none."""
    login = Login(plan.target, portal).describe()
    return next((busy for busy in sight.busy if busy == login or busy.startswith(f"{login} (")), "")


def _created(sight: ScsiSight) -> frozenset[str]:
    keys = {_record(r.target, r.portal) for r in sight.records if r.ours}
    keys |= {_session(s.target, s.portal) for s in sight.sessions if s.ours}
    return lun.created(sight, lambda session, number: _lun(session.target, session.portal, number)) | keys


def _unit(plan: Plan) -> lun.Unit:
    return lun.Unit(f"LUN {plan.lun} of {plan.target}", plan.unit, plan.size, plan.lun)


def _own(plan: Plan) -> str:
    """The key of our word that a LUN is ours: it is given for the target, and not for one of its portals."""
    return f"own:{plan.target}#{plan.lun}"


def _record(target: str, portal: str) -> str:
    return f"record:{target}@{portal}"


def _session(target: str, portal: str) -> str:
    return f"session:{target}@{portal}"


def _lun(target: str, portal: str, number: int) -> str:
    return f"lun:{target}@{portal}#{number}"
