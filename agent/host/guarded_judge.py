"""What a sight says of the record of what was created: which things stand, which are gone, whose each is. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from agent.host.created import Created, Kind, Row, Thing
from agent.host.guarded_owned import is_owned, owned
from attachers import checks
from attachers.problems import Code, Problem
from attachers.sights import FcQuery, IscsiQuery, ScsiMap, ScsiQuery, ScsiSight, Session
from attachers.steps import DEVICES, CreateRecord, DeleteRecord, Login, Logout, Publish, PublishFile, Scan, Step

NOWHERE = "iqn.2000-01.invalid.cdmi-attach:nothing"
"""The target of a query that looks only for a link."""

Rows = Mapping[Thing, Row]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sight says of some rows: the things that are gone, and the rows of things first seen to stand."""

    gone: tuple[Thing, ...]
    found: tuple[Row, ...]


def thing_of(step: CreateRecord | Login | Scan | Publish | PublishFile | Logout | DeleteRecord) -> Thing:
    """The thing that a step creates or undoes."""
    match step:
        case CreateRecord() | DeleteRecord():
            return Thing(Kind.RECORD, step.target, step.portal)
        case Login() | Logout():
            return Thing(Kind.SESSION, step.target, step.portal)
        case Scan():
            return Thing(Kind.DEVICE, step.target, step.portal, step.hctl)
        case Publish():
            return Thing(Kind.LINK, name=step.name, wwid=step.wwid)
        case PublishFile():
            return Thing(Kind.LINK, step.share.file(step.path), name=step.name)


MAP_KINDS = (Kind.ANNOUNCED, Kind.MAP, Kind.LISTED)


def things_of_map(wwid: str) -> dict[Kind, Thing]:
    """What belongs to the map of a logical unit."""
    return {kind: Thing(kind, wwid=wwid) for kind in MAP_KINDS}


def step_of(thing: Thing) -> CreateRecord | Login | Scan:
    """The step that a record, a session or a device comes of."""
    if thing.kind is Kind.RECORD:
        return CreateRecord(thing.target, thing.portal)
    if thing.kind is Kind.DEVICE:
        return Scan(thing.hctl, thing.target, thing.portal)
    return Login(thing.target, thing.portal)


def lock_of(thing: Thing) -> str:
    """What only one step at a time may work on. A record and its session are one, and so is all of a map."""
    if thing.kind in (Kind.OWNED, Kind.BORROWED):
        return f"{thing.target}#{thing.name}"
    if thing.kind is Kind.SESSION:
        return f"{thing.target}@{thing.portal}"
    return thing.hctl or thing.name or thing.wwid or f"{thing.target}@{thing.portal}"


def look_for(thing: Thing) -> ScsiQuery:
    """The cheapest query that shows a thing: of a LUN that nobody has, so that no device is sent an INQUIRY."""
    if thing.kind is Kind.LINK:
        return IscsiQuery(thing.name, NOWHERE, (), checks.MAX_LUN, thing.wwid or None)
    if thing.kind in (*MAP_KINDS, Kind.UNWRITTEN):
        return IscsiQuery("none", NOWHERE, (), checks.MAX_LUN, thing.wwid or thing.name)
    if checks.is_wwpn(thing.target):
        return FcQuery("none", (thing.target,), checks.MAX_LUN)
    return IscsiQuery("none", thing.target, (thing.portal,) if thing.portal else (), checks.MAX_LUN)


def covers(query: ScsiQuery, thing: Thing) -> bool:
    """Whether the answer to a query shows the thing, if it is there; what we only said of a LUN is no thing to see."""
    if thing.kind is Kind.LINK:
        return thing.name == query.name
    if thing.kind in MAP_KINDS:
        return thing.wwid == query.wwid
    if thing.kind in (Kind.OWNED, Kind.BORROWED):
        return False
    if isinstance(query, FcQuery):
        return thing.kind is Kind.DEVICE and thing.target in query.targets
    return thing.target == query.target and thing.portal in query.portals


def covered(query: ScsiQuery, created: Created) -> list[Row]:
    """The rows of everything that the answer to a query shows."""
    targets = query.targets if isinstance(query, FcQuery) else (query.target,)
    return [row for row in created.named(query.name, query.wwid, *targets) if covers(query, row.thing)]


def stands(thing: Thing, sight: ScsiSight, *, sid: int | None = None) -> bool:
    """Whether the thing is there; with a `sid`, whether it is the one of (or on) that very session."""
    match thing.kind:
        case Kind.RECORD:
            return any((r.target, r.portal) == (thing.target, thing.portal) for r in sight.records)
        case Kind.SESSION:
            return bool(sessions_of(thing, sight, sid=sid))
        case Kind.DEVICE:
            return any(thing.hctl in session.devices for session in sessions_of(thing, sight, sid=sid))
        case Kind.LINK:
            return sight.link == (thing.target or f"{DEVICES}/{thing.wwid}")
        case Kind.OWNED | Kind.BORROWED | Kind.MOUNT | Kind.DISK | Kind.UNWRITTEN:
            return False
        case Kind.ANNOUNCED:
            return sight.notes is not None and sight.notes.announced
        case Kind.MAP:  # announced, it may come at any time
            return sight.map is not None or (sight.notes is not None and sight.notes.announced)
        case Kind.LISTED:  # multipathd writes it down when it makes the map
            return sight.notes is not None and (sight.notes.listed or sight.notes.announced)


def sessions_of(thing: Thing, sight: ScsiSight, *, sid: int | None = None) -> list[Session]:
    """The sessions to the thing's target at its portal."""
    same = [s for s in sight.sessions if (s.target, s.portal) == (thing.target, thing.portal)]
    return [s for s in same if sid in (None, s.sid)]


def judge(rows: Iterable[Row], sight: ScsiSight) -> Verdict:
    """Compare rows, all of which the sight covers, with what is there."""
    gone: list[Thing] = []
    found: list[Row] = []
    for row in rows:
        if not stands(row.thing, sight, sid=row.sid):
            gone.append(row.thing)
        elif row.thing.kind is Kind.SESSION and row.sid is None:
            found += _all_of_login(row, sight)
        elif not row.confirmed and row.thing.kind is not Kind.RECORD:  # a record may stand half made
            found.append(replace(row, confirmed=True))
    return Verdict(tuple(gone), tuple(found))


def _all_of_login(row: Row, sight: ScsiSight) -> Iterable[Row]:
    """The sessions that came of a login: none was there when it was intended, so that all are that are there now
    (attach.md, case 78). The first has the row, each other one of its own.
    """
    first, *others = sessions_of(row.thing, sight)
    yield replace(row, sid=first.sid, confirmed=True)
    for session in others:
        yield replace(row, thing=another(row.thing, session.sid), sid=session.sid, confirmed=True)


def another(thing: Thing, sid: int) -> Thing:
    """One more session of the login that made this one."""
    return replace(thing, name=str(sid))


def to_log_out(step: Logout, rows: Rows) -> Thing:
    """The session that a logout is of: one that was made here, of the number that it names, if it names one."""
    thing = thing_of(step)
    made = (
        one
        for one, row in rows.items()
        if one.kind is Kind.SESSION
        and (one.target, one.portal) == (thing.target, thing.portal)
        and step.sid in (None, row.sid)
    )
    return next(made, thing)


def mark(sight: ScsiSight, rows: Rows, wwid: str | None) -> ScsiSight:
    """The sight of a logical unit, with `ours` where the rows say so."""
    things = things_of_map(wwid or "")
    notes = things[Kind.ANNOUNCED] in rows or things[Kind.LISTED] in rows
    paths = tuple(replace(p, ours=_made(p.hctl, sight, rows)) for p in sight.paths)
    disks = {path.hctl for path in paths if path.ours}
    return replace(
        sight,
        records=tuple(replace(r, ours=Thing(Kind.RECORD, r.target, r.portal) in rows) for r in sight.records),
        sessions=tuple(replace(s, ours=is_ours(s, sight, rows)) for s in sight.sessions),
        paths=paths,
        map=replace(sight.map, ours=is_our_map(sight.map, wwid, rows, disks)) if sight.map else None,
        notes=replace(sight.notes, ours=notes) if sight.notes else None,
    )


def is_our_map(seen: ScsiMap, wwid: str | None, rows: Rows, disks: Collection[str]) -> bool:
    """Whether a map came of what was done here: of our word to udev or multipath, or of `disks`, which are all ours.

    multipathd makes maps of its own accord: at boot of what it lists, and of any disk where find_multipaths is "no".
    """
    things = things_of_map(wwid or "")
    told = things[Kind.MAP] in rows or things[Kind.LISTED] in rows
    return told or (bool(seen.paths) and {path.hctl for path in seen.paths} <= {*disks})


def is_ours(session: Session, sight: ScsiSight, rows: Rows) -> bool:
    """Whether a session is the one that was made here, not merely one to the same portal."""
    thing = Thing(Kind.SESSION, session.target, session.portal)
    if another(thing, session.sid) in rows:
        return True
    row = rows.get(thing)
    if row is None:
        return False
    return row.sid == session.sid or (row.sid is None and len(sessions_of(row.thing, sight)) == 1)


def _made(hctl: str, sight: ScsiSight, rows: Rows) -> bool:
    session = next((s for s in sight.sessions if hctl in s.devices), None)
    if session is None:
        return False
    row = rows.get(Thing(Kind.DEVICE, session.target, session.portal, hctl))
    return (row is not None and row.sid == session.sid) or is_owned(session, hctl, rows)


def host_session(step: Scan, sight: ScsiSight) -> Session | None:
    """The session that really has the SCSI host of the step's address."""
    lun = checks.number_at(step.hctl)
    return next((s for s in sessions_of(thing_of(step), sight) if s.at(lun) == step.hctl), None)


def sid_of(step: Step, sight: ScsiSight, rows: Rows) -> int | None:
    """The session that a new device is on. Raises `Problem` when no session has that SCSI host, or (FC) when the LUN
    was not said to be ours before.
    """
    if not isinstance(step, Scan):
        return None
    lun = checks.lun_of(step.hctl)
    if checks.is_wwpn(step.target) and owned(step.target, lun) not in rows:
        raise Problem(Code.CONFLICT, f"{step.hctl} was not said to be ours first", step=step.describe())
    session = host_session(step, sight)
    if session is None:
        text = f"no session to {step.target} at {step.portal} leads to {step.hctl} any more"
        raise Problem(Code.UNAVAILABLE, text, hint="look again", step=step.describe())
    return session.sid


def hands_out(step: Step) -> bool:
    """Whether a step hands something out for writing."""
    return isinstance(step, Publish | PublishFile) and not getattr(step, "read_only", False)


def handed_out(row: Row | None, step: Step, *, writable: bool) -> tuple[Row, ...]:
    """The row of a link as it has to be changed after a step that hands it out for writing: once it has succeeded
    (`writable`) or failed, so that it is as it was before.
    """
    if row is None or not hands_out(step) or row.writable == writable:
        return ()
    return (replace(row, writable=writable),)


def insist_on_canonical_names(step: Step) -> None:
    """Two spellings of one thing would be two things in the record. Raises `Problem` (`invalid-request`).

    Not so of targets: they are as the server writes them, since two that differ in capitals may be two.
    """
    target, portal = getattr(step, "target", ""), getattr(step, "portal", None)
    if portal is not None and not checks.is_wwpn(target) and checks.portal(portal) != portal:
        raise checks.refuse("portal", portal, f"in canonical form ({checks.portal(portal)})")
    hctl = getattr(step, "hctl", None)
    if hctl and ":".join(str(int(part)) for part in hctl.split(":")) != hctl:
        raise checks.refuse("hctl", hctl, "without leading zeros")


def foreign(step: Step, what: str) -> Problem:
    """The refusal to undo what somebody else made."""
    return Problem(
        Code.CONFLICT,
        f"{what} was not created by this daemon",
        hint="whoever made it has to remove it; it is left as it is",
        step=step.describe(),
    )


def unresolved(query: ScsiQuery, limbo: Mapping[Thing, float], rows: Rows, now: float) -> tuple[str, ...]:
    """Records, logins and scans that were begun before a crash and may still come to something, until `limbo` says."""
    return tuple(
        f"{step_of(thing).describe()} (begun before the helper restarted)"
        for thing, until in limbo.items()
        if covers(query, thing) and thing in rows and until > now
    )
