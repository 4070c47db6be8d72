"""Fibre Channel: from an export (target ports, LUN, logical unit name) to one verified disk, and back to nothing.

The fabric logs in by itself: there is nothing to make before the LUN and nothing to take down after it. But whenever a
port returns the kernel scans all of its LUNs (drivers/scsi/scsi_transport_fc.c, fc_scsi_scan_rport), so the LUN may be
there before we look for it, and come back after we removed it, for as long as the server shows it. All that while it is
ours, unless it was there before: we say so before the server is asked for it, and until it shows it no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from attachers import checks, lun, maps, naming, unwritten
from attachers.base import Act, Begin, Context, Decision, Fail, Goal, Gone, Wait, may_free
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN, FcPort, FcQuery, Query, ScsiPath, ScsiSight, Session, Sight
from attachers.steps import Disown, Own

protocol = "fc"
comes_back = True
asks_again = False
NOT_PRESENT = "Not Present"
"""What the kernel says of a remote port that it no longer waits for (fc_remote_ports/port_state)."""
MOST_REMOTE = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What the export says, checked: `targets` are port names in normal form, `size` the least one (0: unknown).

    `multipath`: all ways are used, and the map of their paths is handed out. `main` is the unit's main name,
    where it has said a better one than the export.
    """

    targets: tuple[str, ...]
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
        if not 0 <= self.lun < checks.FLAT:
            raise checks.refuse("logical_unit_number", self.lun, f"a logical unit number from 0 to {checks.FLAT - 1}")
        if not self.targets:
            raise checks.refuse("target_wwpns", "", "a list of at least one target port's name")
        checks.ports(self.targets, field="target_wwpns")
        if self.wwid is not None:
            checks.wwid(self.wwid, field="logical_unit_name")
            checks.wwid(self.main or self.wwid, field="main")
        elif self.multipath:
            raise checks.refuse("logical_unit_name", "", "the name of the logical unit: paths are known by it")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, for the ledger. No export says `multipath` or `main`: who decides them adds them."""
        values = asdict(self) | {"targets": list(self.targets)}
        return {name: value for name, value in values.items() if name not in ("multipath", "main") or value}


def plan_of(values: Mapping[str, Any]) -> Plan:
    """The plan from its JSON values. Raises `Problem` (`invalid-request`) where one is not what it may be."""
    return Plan(
        targets=tuple(values["targets"]),
        lun=checks.plain_lun(values["lun"]),  # earlier versions kept the bits of its addressing method
        wwid=values["wwid"],
        size=values.get("size", 0),
        multipath=values.get("multipath", False),
        main=values.get("main"),
    )


def query(name: str, plan: Mapping[str, Any], *, goal: Goal) -> Query:
    """Look at the LUN of this plan; on the way in a block of each path is read as well (attach.md, case 82)."""
    p = plan_of(plan)
    return FcQuery(name, p.targets, p.lun, p.unit, read=goal is Goal.ATTACHED)


def needs(plan: Mapping[str, Any]) -> frozenset[str]:
    """The LUN at every target port, from whichever local port, and the logical unit itself."""
    p = plan_of(plan)
    return frozenset(_lun(target, p.lun) for target in p.targets) | p.keys


def decide(goal: Goal, plan: Mapping[str, Any], sight: Sight, context: Context) -> Decision:
    """The one next thing on the way to the goal."""
    assert isinstance(sight, ScsiSight)
    p, seen = plan_of(plan), lun.with_begun(sight, context)
    if goal is Goal.ATTACHED and (first := naming.by_main_name(_unit(p).text, p.unit, seen, context)):
        return first
    return _attach(p, seen, context) if goal is Goal.ATTACHED else _detach(p, seen, context)


# On the way in: a port that is there, the LUN, then as every transport.


def _attach(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    if not plan.multipath and (wait := lun.wait_if_busy(sight)):
        return wait
    usable = [s for target in plan.targets for s in sight.sessions if s.target == target and s.state == LOGGED_IN]
    if context.wwid and (session := _handed_out_on(sight)) and session not in usable:
        return _awaited([session])  # who has the disk open is not helped by another one
    if not usable:
        return _no_port(plan, sight)
    if not {*plan.targets} <= {*sight.owned}:
        return lun.step(Own(plan.targets, plan.lun), context)
    next_ = _bring_up(plan, usable, sight, context)
    return replace(next_, let_in=True) if isinstance(next_, Wait) else next_


def _bring_up(plan: Plan, usable: Sequence[Session], sight: ScsiSight, context: Context) -> Decision:
    """What is next once it is said that the LUN is ours: a disk that is there may be silent until the server lets this
    host have it (attach.md, case 105).
    """
    if plan.multipath:
        return maps.attach(_unit(plan), _ways(plan, sight, context), sight, context)
    ways = [(session, _lun(session.target, plan.lun) in context.needed) for session in usable]
    return lun.find(_unit(plan), ways, sight, context)


def _ways(plan: Plan, sight: ScsiSight, context: Context) -> list[maps.Way]:
    """Every pair of a local and a remote port, and each target port that no local one knows."""
    known = [session for target in plan.targets for session in sight.sessions if session.target == target]
    unknown = [target for target in plan.targets if all(session.target != target for session in known)]
    return [*(_way(plan, session, sight, context) for session in known), *map(_unseen, unknown)]


def _way(plan: Plan, session: Session, sight: ScsiSight, context: Context) -> maps.Way:
    unit = _unit(plan)
    scans, path = lun.scans(unit, [session]), lun.path_on(unit, session, sight)
    needed = _lun(session.target, plan.lun) in context.needed
    if session.state != LOGGED_IN:
        return maps.Way(session.via, path, _awaited([session]), needed=needed)
    next_ = lun.scan(scans, f"{session.via} to show LUN {plan.lun}", context)
    begun = Begin(next_.step) if isinstance(next_, Act) else next_
    return maps.Way(session.via, path, begun, own=tuple(scan.describe() for scan in scans), needed=needed)


def _unseen(target: str) -> maps.Way:
    text = f"{checks.with_colons(target)} to be seen by a port of this host"
    hint = "check cables and zoning, and target_wwpns of the export"
    return maps.Way(checks.with_colons(target), None, Wait(text, Problem(Code.TARGET_TIMEOUT, text, hint=hint)))


def _no_port(plan: Plan, sight: ScsiSight) -> Decision:
    """The kernel waits for a port that is blocked, and so do we. For one that it does not know nobody waits."""
    wanted = ", ".join(checks.with_colons(target) for target in plan.targets)
    if not sight.ports and not sight.sessions:
        hint = "load the driver of the host's HBA, or make an FCoE port; see: cdmi-attach doctor"
        return Fail(Problem(Code.UNSUPPORTED_ON_HOST, "this host has no Fibre Channel port", hint=hint))
    if awaited := [session for session in sight.sessions if session.state != NOT_PRESENT]:
        return _awaited(awaited)
    local = "; ".join(_local(port) for port in sight.ports)
    return Fail(
        Problem(
            Code.TARGET_TIMEOUT,
            f"no port of this host sees {wanted}: {local}",
            hint="check cables and zoning between these ports, and target_wwpns of the export",
        )
    )


def _handed_out_on(sight: ScsiSight) -> Session | None:
    """The way of the disk that was handed out and is still there."""
    hctl = next((path.hctl for path in sight.paths if path.node and path.node == sight.device_link), "")
    return next((session for session in sight.sessions if hctl in session.devices), None)


def _awaited(sessions: list[Session]) -> Wait:
    text = "; ".join(f"{session.via} (host{session.host}) is {session.state}" for session in sessions)
    return Wait(text, Problem(Code.TARGET_TIMEOUT, text, hint="see the cable, the switch, and the target's state"))


def _local(port: FcPort) -> str:
    known, rest = port.remote[:MOST_REMOTE], port.remote[MOST_REMOTE:]
    seen = ", ".join([*known, *([f"{len(rest)} more"] if rest else [])])
    return f"{checks.with_colons(port.wwpn)} (host{port.host}) is {port.state} and sees {seen or 'nothing'}"


# On the way out: the LUN as every transport; at the very end, when it cannot come back, our word that it is ours.


def _detach(plan: Plan, sight: ScsiSight, context: Context) -> Decision:
    if wait := lun.wait_if_busy(sight, but=unwritten.stuck(plan.wwid or context.wwid, context)):
        return wait
    free = may_free(needs(plan.as_json()), lun.created(sight, _key), context.needed)
    doomed = [path for path in sight.paths if path.ours and _key_of(path, sight) in free]
    keys = plan.keys or {_lun(target, plan.lun) for target in plan.targets}
    again = FcQuery(context.name, plan.targets, plan.lun, plan.unit)
    needed = any(key in context.needed for key in keys)
    if next_ := lun.take_back(_unit(plan), sight, doomed, context, again, needed=needed):
        return next_
    ours = tuple(target for target in sight.owned if _lun(target, plan.lun) not in context.needed)
    return lun.step(Disown(ours, plan.lun), context) if ours and context.withdrawn else Gone()


def _unit(plan: Plan) -> lun.Unit:
    targets = ", ".join(checks.with_colons(target) for target in plan.targets)
    return lun.Unit(f"LUN {plan.lun} of {targets}", plan.unit, plan.size, plan.lun)


def _key_of(path: ScsiPath, sight: ScsiSight) -> str:
    session = next((s for s in sight.sessions if path.hctl in s.devices), None)
    return _key(session, checks.lun_of(path.hctl)) if session else ""


def _key(session: Session, number: int) -> str:
    return _lun(session.target, checks.plain_lun(number))


def _lun(target: str, number: int) -> str:
    return f"lun:{target}#{number}"
