"""What every SCSI transport does once a path to its LUN is there: prove it, hand it out, take it back. Pure.

A transport brings the path (a session, a port, a scan) and, on the way out, takes down what it made for it; whatever is
between is decided here, the same for all of them.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from attachers import checks, naming, scsi, unmap, unwritten
from attachers.base import Act, Context, Decision, Fail, Look, Ready, Wait
from attachers.problems import Code, Problem
from attachers.sights import MapPath, NfsQuery, ScsiPath, ScsiQuery, ScsiSight, Session
from attachers.steps import DEVICES, Publish, RemoveDevice, Rescan, Scan, Step, Unpublish


@dataclass(frozen=True, slots=True)
class Unit:
    """The logical unit that a plan asks for.

    `text` names it in sentences ("LUN 3 of iqn..."), `wwid` is what the export says (None: nothing), `size` the least
    one in bytes, `number` its LUN at every target, for who has to look for it.
    """

    text: str
    wwid: str | None
    size: int
    number: int = 0


# On the way in.


def with_begun(sight: ScsiSight, context: Context) -> ScsiSight:
    """The sight, with what this attempt has begun as under way, though the host may not show it yet."""
    begun = sorted(step.describe() for step in context.under_way)
    return replace(sight, busy=(*sight.busy, *(text for text in begun if text not in sight.busy)))


def wait_if_busy(sight: ScsiSight, *, but: Collection[str] = ()) -> Wait | None:
    """Nothing is decided while a step on these very resources is under way, unless it is one of `but`."""
    busy = next((one for one in sight.busy if one not in but), None)
    return Wait(busy, Problem(Code.TARGET_TIMEOUT, f"still under way: {busy}")) if busy else None


def find(unit: Unit, ways: Sequence[tuple[Session, bool]], sight: ScsiSight, context: Context) -> Decision:
    """Bring up one path on any of these sessions, prove it, and hand it out.

    With each goes whether another attachment here relies on the LUN by it.
    """
    found = [(path, needed) for session, needed in ways for path in paths_on(unit, session, sight)]
    found.sort(key=lambda pair: pair[0].node is None or pair[0].node != sight.device_link)
    decisions = [verify(unit, path, sight, context, needed=needed) for path, needed in found]
    good = (d for d in decisions if isinstance(d, Ready) or (isinstance(d, Act) and isinstance(d.step, Publish)))
    seen = next(good, decisions[0] if decisions else None)
    if context.wwid and found and _is_linked(found[0][0], sight) and isinstance(decisions[0], Wait):
        return decisions[0]  # who has that one open is not helped by another one
    if seen is not None and (isinstance(seen, Ready | Act) or any(path.node is None for path, _ in found)):
        return seen
    return _look_on(unit, [session for session, _ in ways], sight, context, seen)


def is_in_vain(unit: Unit, found: Decision, sight: ScsiSight, context: Context) -> bool:
    """Whether what `find` came to is a reason to look for the LUN on more ways than there are.

    Not while the kernel still makes its node, nor where the disk that was handed out is there and is waited for.
    """
    if not isinstance(found, Wait | Fail):
        return False
    paths = [path for session in sight.sessions for path in paths_on(unit, session, sight)]
    return all(path.node and not (context.wwid and _is_linked(path, sight)) for path in paths)


def _is_linked(path: ScsiPath, sight: ScsiSight) -> bool:
    """Whether the unit's link leads to that very disk."""
    return path.node is not None and path.node == sight.device_link


def _look_on(
    unit: Unit, sessions: Sequence[Session], sight: ScsiSight, context: Context, seen: Decision | None
) -> Decision:
    """Look at the LUN on each way that does not show it, one after the other; then again, the longest ago first."""
    empty = [session for session in sessions if not paths_on(unit, session, sight)]
    taken = {path.hctl for path in sight.paths}
    turns = [scan for scan in scans(unit, empty) if scan.hctl not in taken]
    if seen is not None and all(scan in context.done or scan in context.failed for scan in turns):
        return seen
    ways = " and ".join(session.via for session in sessions)
    return scan(turns, f"{ways} to show {unit.text}", context)


def paths_on(unit: Unit, session: Session, sight: ScsiSight) -> list[ScsiPath]:
    """The paths to the LUN on that session: the right one first, then that of its number as it is written.

    At its number in the other form there may be another unit (LIO tells them apart), which is somebody else's affair:
    such a path counts where it is the right one, or where we had the kernel find it.
    """
    there = [path for path in sight.paths if path.hctl == session.at(checks.number_at(path.hctl))]
    if unit.wwid is None:
        return [path for path in there if _is_as_written(unit, path)]
    wwid = unit.wwid
    known = [path for path in there if path.ours or scsi.is_right(path, wwid) or _is_as_written(unit, path)]
    return sorted(known, key=lambda path: (not scsi.is_right(path, wwid), not _is_as_written(unit, path)))


def path_on(unit: Unit, session: Session, sight: ScsiSight) -> ScsiPath | None:
    """The first of them."""
    return next(iter(paths_on(unit, session, sight)), None)


def _is_as_written(unit: Unit, path: ScsiPath) -> bool:
    """Below 256 a number means one unit, in whatever form (the kernel takes that of the array: FC)."""
    number = checks.number_at(path.hctl)
    return number == unit.number or checks.plain_lun(number) == unit.number < checks.MOST_PERIPHERAL


def scans(unit: Unit, sessions: Sequence[Session]) -> list[Scan]:
    """Every address at which the LUN may be (attach.md, case 73), its number as it is written first on all sessions.

    A unit without a name is looked for there alone: what answers in the other form could not be told from it.
    """
    forms = checks.lun_forms(unit.number) if unit.wwid else (unit.number,)
    return [Scan(session.at(form), session.target, session.portal, unit.wwid) for form in forms for session in sessions]


def scan(turns: Sequence[Scan], awaited: str, context: Context) -> Decision:
    """Look at one of these addresses; where none shows anything, again after a wait. `awaited`: who is to show what."""
    step = _next(turns, context)
    if step in context.failed:
        return Fail(context.failed[step])
    if step in context.done:
        refused = [context.failed[one].detail for one in turns if one in context.failed]
        text = "; ".join([f"{awaited} ({step.hctl})", *refused])
        hint = "the target does not map that LUN to this initiator: see the export's permissions on the server"
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}", hint=hint), again=step)
    return Act(step)


def _next(turns: Sequence[Scan], context: Context) -> Scan:
    """The one that was not taken yet, else the one that was taken the longest ago; one that failed where all did."""
    new = (scan for scan in turns if scan not in context.done and scan not in context.failed)
    again = sorted((scan for scan in turns if scan in context.done), key=context.done.index)
    good = (scan for scan in again if scan not in context.failed)
    return next(new, None) or next(good, turns[0])


def verify(unit: Unit, path: ScsiPath, sight: ScsiSight, context: Context, *, needed: bool) -> Decision:
    """Prove a single path, and hand it out. `needed`: another attachment here relies on this very LUN."""
    proved = prove(unit, path, context, needed=needed)
    if not isinstance(proved, str):
        return proved
    return carries(unit, path) or hand_out(unit, path, proved, sight, context)


def carries(unit: Unit, path: ScsiPath) -> Wait | None:
    """None where the path carries I/O: a block was read of it just now. What answers to an INQUIRY need not: a path in
    ALUA standby does, and fails every read (SPC-4 5.15.2.4.4; attach.md, case 82).
    """
    if not path.unread:
        return None
    text = f"{unit.text} ({path.hctl} at {path.via}) awaits a block to be read ({path.unread}){_kept(path)}"
    hint = "see the target port groups on the storage system" if path.access else "see the kernel's log on this host"
    return Wait(text, Problem(Code.DEVICE_TIMEOUT, text, hint=hint))


def _kept(path: ScsiPath) -> str:
    """What the target's own state has to do with it, for a sentence."""
    return f"; the target keeps this path in ALUA state {path.access}" if path.access else ""


def prove(unit: Unit, path: ScsiPath, context: Context, *, needed: bool) -> Decision | str:
    """The name under which a path may be handed out, or what is next because it may not."""
    if path.kind:
        return _wrong(unit, path, unit.wwid or context.wwid or "a disk", context, needed=needed)
    if path.node is None:
        return _device_wait(unit, path, "the kernel to make its block device")
    known = unit.wwid or context.wwid
    if not path.designators and not (known is None and context.allow_unverified):
        return _device_wait(unit, path, f"an answer to INQUIRY ({path.inquiry_error or 'no strong designator'})")
    if unit.wwid is None and not context.allow_unverified:
        return Fail(_unnamed(path))
    wwid = scsi.identity_of(path, known)
    if wwid is None:
        return Fail(_unnamed(path))
    if scsi.is_wrong(path, wwid):
        return _wrong(unit, path, wwid, context, needed=needed)
    if path.size < max(unit.size, 1):
        return _device_wait(unit, path, f"a size of {unit.size} bytes (it is {path.size} now){_kept(path)}")
    if wwid != unit.wwid and not needed and (taken := naming.is_taken(unit.text, unit.wwid, wwid, context)):
        return Fail(taken)
    if path.read_only and not context.read_only and f"wwid:{wwid}" not in context.needed:
        return Fail(
            Problem(
                Code.TARGET_REFUSED,
                f"the target offers {wwid} read-only",
                hint="ask for access ro, or let the server export the LUN writable",
            )
        )
    return wwid


def hand_out(unit: Unit, path: ScsiPath, wwid: str, sight: ScsiSight, context: Context) -> Decision:
    """Publish a proved path under that name, or be ready where it is published."""
    published = sight.link == f"{DEVICES}/{wwid}" and sight.device_link == path.node and sight.kept
    if not (published and (not path.ours or context.owner in ("", sight.owner))):
        return step(Publish(context.name, path.hctl, wwid, context.read_only, context.owner), context)
    if context.grow is not None and (next_ := grown(unit, [path], wwid, context.grow, context)):
        return next_
    device = scsi.as_device(path, wwid, read_only=context.read_only)
    note = "" if path.ours else kept(path.node or "", sight, context)
    return Ready(device, verified=naming.is_proof(unit.wwid, context), note=note)


def kept(node: str, sight: ScsiSight, context: Context) -> str:
    """What is said of something borrowed that is not given to the configured owner."""
    if context.owner in ("", sight.owner):
        return ""
    return f"{node} was on this host before: it keeps its owner {sight.owner}, and is not given to {context.owner}"


def grown(unit: Unit, paths: Sequence[ScsiPath | MapPath], wwid: str, least: int, context: Context) -> Decision | None:
    """Have the size read again on every path, until all are equal and large enough; None when they are.

    A map above them has to be resized after that, and not before (attach.md, case 51).
    """
    for rescan in (Rescan(path.hctl, wwid) for path in paths):
        if rescan in context.failed or rescan not in context.done:
            return step(rescan, context)
    wanted = max(least, *(path.size for path in paths))
    behind = next((path for path in paths if path.size < wanted), None)
    if behind is None:
        return None
    text = f"{unit.text} ({behind.hctl}) to have {wanted} bytes (it has {behind.size} now)"
    hint = "see that the storage system shows the new size at every portal and port, then try again"
    problem = Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}", hint=hint)
    return Wait(text, problem, again=Rescan(behind.hctl, wwid))


def _wrong(unit: Unit, path: ScsiPath, wwid: str, context: Context, *, needed: bool) -> Decision:
    """Another logical unit answers: drop a stale device of ours once, if nobody needs it; then refuse."""
    remove = RemoveDevice(path.hctl)
    if path.ours and not needed and remove not in context.done and remove not in context.failed:
        return Act(remove)
    return Fail(another(unit, path, wwid))


def another(unit: Unit, path: ScsiPath, wwid: str) -> Problem:
    """What is said of a path that leads to another logical unit."""
    return Problem(
        Code.WRONG_DEVICE,
        f"{unit.text} is {scsi.what_it_is(path)}, not {wwid}",
        hint="the server maps another logical unit there: correct the export's logical_unit_number or the mapping",
    )


def _device_wait(unit: Unit, path: ScsiPath, awaited: str) -> Wait:
    text = f"{unit.text} ({path.hctl}) awaits {awaited}"
    return Wait(text, Problem(Code.DEVICE_TIMEOUT, text, hint="see the kernel's log on this host"))


def _unnamed(path: ScsiPath) -> Problem:
    return Problem(
        Code.WRONG_DEVICE,
        f"the export names no logical unit, so that {scsi.what_it_is(path)} cannot be proved to be the right one",
        hint="let the server fill in logical_unit_name, or set allow_unverified in [attach]",
    )


# On the way out: link, device.


def created(sight: ScsiSight, key: Callable[[Session, int], str]) -> frozenset[str]:
    """The keys of the LUNs to which we made paths; `key` is the transport's key of a LUN on a session."""
    made = (path.hctl for path in sight.paths if path.ours)
    return frozenset(
        key(session, checks.number_at(hctl)) for hctl in made for session in sight.sessions if hctl in session.devices
    )


def take_back(
    unit: Unit, sight: ScsiSight, doomed: Iterable[ScsiPath], context: Context, again: ScsiQuery, *, needed: bool
) -> Decision | None:
    """The next thing until link and disks are gone; None when they are. `doomed` are the paths that we may free.

    Nothing is taken from under whoever uses the unit, by whatever path or map, ours or borrowed: its users are asked
    for (with `again`) before the link goes, and once more before the permission does. Not where another attachment
    here relies on it (`needed`): they may be its users, and it stays.
    """
    paths = list(doomed)
    if sight.dirty and not context.may_lose and not needed and not _leads_astray(unit, sight, context):
        return Fail(unwritten.dirty(unit.text), restore=_link_back(unit, sight, context))
    if sight.link is not None and not context.former:
        refused = None if needed else users_of(sight, again)
        return refused or step(Unpublish(context.name, _free_wwid(unit, paths, context)), context)
    wwid = _wwid(unit, paths, context)
    if wwid and (first := unmap.take_apart(wwid, sight, paths, context)):
        return first
    if paths:
        return _remove(unit, paths[0], sight, context)
    if wwid and (forget := unmap.forget(wwid, sight, context)):
        return forget
    if not needed and (lost := unwritten.to_give_up((unit.wwid, context.wwid, sight.wwid), sight, context)):
        return step(lost, context)
    handed_out = context.wwid is not None or any(isinstance(done, Unpublish) for done in context.done)
    if needed or context.withdrawn or not handed_out:
        return None
    return users_of(sight, again, restore=_link_back(unit, sight, context))


def _leads_astray(unit: Unit, sight: ScsiSight, context: Context) -> bool:
    """Whether the attachment's link leads to the disk of another unit: then it goes, whatever stays."""
    wwid = unit.wwid or context.wwid
    linked = [path for path in sight.paths if path.node is not None and path.node == sight.device_link]
    ours = sight.link is not None and not context.former
    return ours and wwid is not None and any(scsi.is_wrong(path, wwid) for path in linked)


def users_of(sight: ScsiSight, again: ScsiQuery | NfsQuery, *, restore: Step | None = None) -> Decision | None:
    """The refusal where anybody uses what is there of the unit; first the look that tells; None when nobody does."""
    if not sight.paths and sight.map is None:
        return None
    if sight.users is None:
        return Look(replace(again, holders=True))
    if not sight.users:
        return None
    node = sight.device_link or (sight.map.node if sight.map else sight.paths[0].node) or sight.paths[0].hctl
    text = f"{node} is in use by {', '.join(sight.users)}"
    hint = "stop or detach the user of the disk, then try again"
    return Fail(Problem(Code.IN_USE, text, hint=hint), restore=restore)


def _link_back(unit: Unit, sight: ScsiSight, context: Context) -> Step | None:
    """The step that gives a refused detach the link to the disk, or the map, back."""
    if sight.map is not None:
        return unmap.put_back(unit.wwid or context.wwid or "", context)
    return next((back for path in sight.paths if (back := _put_back(unit, path, context))), None)


def _remove(unit: Unit, path: ScsiPath, sight: ScsiSight, context: Context) -> Decision:
    """The step itself claims the disk, writes out its cache where it is the right one, and looks for users."""
    wwid = scsi.identity_of(path, unit.wwid or context.wwid)
    right = wwid is not None and path.node is not None and scsi.is_right(path, wwid)
    if not right and not context.force:
        lost = unwritten.unknown(path, context) or unwritten.astray(unit.text, wwid, path, sight, context)
        if lost:
            return Fail(lost)
        if silent := unwritten.awaited(unit.text, path, sight, context):
            return silent
    remove = RemoveDevice(path.hctl, wwid if right else None)
    refused = not path.designators or context.could_not_write_out(remove)
    if (context.may_lose and sight.dirty) or (context.force and refused):
        remove = replace(remove, lost=True)
    if _was_done(remove, context):
        text = f"the kernel to forget {path.hctl}"  # or somebody's rescan has brought it back (attach.md, case 12)
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}"), again=remove)
    if remove in context.failed and unmap.is_free_again(wwid, remove, context):
        return Act(remove)
    announced = sight.notes is not None and sight.notes.announced  # then a disk alone is never handed out
    return step(remove, context, restore=None if announced else _put_back(unit, path, context))


def _put_back(unit: Unit, path: ScsiPath, context: Context) -> Step | None:
    """The step that gives a refused detach its link back, if we had taken it and the disk is still the right one."""
    wwid = scsi.identity_of(path, unit.wwid or context.wwid)
    taken = any(isinstance(done, Unpublish) for done in context.done)
    if taken and wwid and path.node and scsi.is_right(path, wwid):
        return Publish(context.name, path.hctl, wwid, context.read_only, context.owner)
    return None


def step(next_: Step, context: Context, *, restore: Step | None = None) -> Decision:
    """Take it, unless it failed before."""
    if next_ in context.failed:
        return Fail(context.failed[next_], restore=restore)
    return Act(next_)


def _was_done(taken: Step, context: Context) -> bool:
    """Whether the step was taken, and has said so: one that failed or may be lost is no ground for the next."""
    return taken in context.done and taken not in context.unsure and taken not in context.failed


def _free_wwid(unit: Unit, doomed: list[ScsiPath], context: Context) -> str | None:
    wwid = _wwid(unit, doomed, context)
    return None if wwid is None or f"wwid:{wwid}" in context.needed else wwid


def _wwid(unit: Unit, paths: Iterable[ScsiPath], context: Context) -> str | None:
    return unit.wwid or context.wwid or next((scsi.identity_of(path, None) for path in paths), None)
