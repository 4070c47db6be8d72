"""Several paths to one logical unit: each brought up beside the others, and their multipath map handed out. Pure.

A transport says of each way (a portal, a pair of ports) what is next until its path is there. From then on all is the
same: the path is proved and joins the map; the map is handed out as soon as enough paths are in it; the others follow.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attachers import lun, naming, scsi
from attachers.base import Act, Begin, Context, Decision, Device, Fail, PathInfo, Ready, Wait
from attachers.problems import Code, Problem
from attachers.sights import STANDBY, MapPath, ScsiMap, ScsiPath, ScsiSight
from attachers.steps import DEVICES, AnnounceMap, JoinMap, LeaveMap, Publish, RemoveDevice, ResizeMap


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the logical unit.

    `name` is how people know it (10.0.0.1:3260), `path` the disk at its end; while there is none, `next_` is what the
    transport does or awaits. `own` are the descriptions of the steps that concern no other way. `needed`: another
    attachment here relies on the same LUN by this way.
    """

    name: str
    path: ScsiPath | None
    next_: Decision
    own: tuple[str, ...] = ()
    needed: bool = False

    def is_busy(self, sight: ScsiSight) -> str:
        """What is under way on this way alone; empty when nothing is."""
        return next((busy for busy in sight.busy if self.owns(busy)), "")

    def owns(self, busy: str) -> bool:
        """Whether that description of something under way is of a step on this way alone."""
        return any(busy == one or busy.startswith(f"{one} (") for one in self.own)


def attach(unit: lun.Unit, ways: Sequence[Way], sight: ScsiSight, context: Context) -> Decision:
    """The next thing until the map is handed out with enough paths, or with all of them. `unit` has a name."""
    wwid = unit.wwid or ""
    for busy in sight.busy:
        if not any(way.owns(busy) for way in ways):
            return Wait(busy, Problem(Code.TARGET_TIMEOUT, f"still under way: {busy}"))
    if refused := _refuse_strange(wwid, sight):
        return refused
    if purge := _purge(wwid, ways, sight, context):
        return purge
    growing = _grow(unit, wwid, ways, sight.map, context) if sight.map and sight.map.paths else None
    if growing:
        return growing
    states = [(way, _state(unit, wwid, way, sight, context)) for way in ways]
    good = [way for way, next_ in states if next_ is None]
    enough = sight.map is not None and len(good) >= context.min_paths
    if enough:  # a path in standby is there for when these fail: nothing is missing
        states = [(way, None if _is_spare(way, sight) else next_) for way, next_ in states]
    if sight.map is not None and enough and (publish := _hand_out(wwid, sight.map, sight, context)):
        return publish
    missing = _missing(unit, [(way, next_) for way, next_ in states if next_ is not None], len(ways))
    open_ = [next_ for _, next_ in states if next_ is not None and not isinstance(next_, Fail)]
    if sight.map is not None and enough and (not context.whole or not open_):
        note = "" if sight.map.ours else lun.kept(sight.map.node, sight, context)
        device = _device(wwid, sight.map, ways, good, context)
        return Ready(device, verified=naming.is_proof(unit.wwid, context), missing=missing, note=note)
    return _first(open_, context) or Fail(missing or _lost(wwid))


def _refuse_strange(wwid: str, sight: ScsiSight) -> Fail | None:
    """Nothing is added to a map of somebody else, none of whose paths is one of the export's.

    A target can answer any name to an INQUIRY: its LUN would be written to in place of a disk of this host, and that
    disk would be handed out. udev is told nothing before this has been looked at.
    """
    above, told = sight.map, sight.notes is not None and sight.notes.announced
    inside = [member for member in above.paths if member.hctl] if above else []
    if above is None or above.ours or told or not inside:
        return None
    named = {hctl for session in sight.sessions for hctl in session.devices}
    if any(member.hctl in named for member in inside):
        return None
    nodes = ", ".join(f"{member.node} ({member.hctl})" for member in inside)
    text = f"{above.node} is a map of {wwid} already, of {nodes}: none of these is a path that the export names"
    hint = "if it is the same disk, let the export name a way to it that the map has; if not, its name is taken"
    return Fail(Problem(Code.WRONG_DEVICE, text, hint=hint))


def _grow(unit: lun.Unit, wwid: str, ways: Iterable[Way], above: ScsiMap, context: Context) -> Decision | None:
    """Have the size read again on every path, in the map or not, and only then give it to the map (case 51)."""
    if context.grow is None:
        return None
    inside = {member.hctl: member for member in above.paths if member.hctl}
    beside = [way.path for way in ways if way.path and way.path.node and way.path.hctl not in inside]
    if next_ := lun.grown(unit, [*inside.values(), *beside], wwid, context.grow, context):
        return next_
    size = max(path.size for path in above.paths)
    if above.size == size:
        return None
    resize = ResizeMap(wwid, size)
    if resize in context.done and resize not in context.unsure:
        return _map_wait(above, f"to have {size} bytes (it has {above.size} now)")
    return lun.step(resize, context)


def _state(unit: lun.Unit, wwid: str, way: Way, sight: ScsiSight, context: Context) -> Decision | None:
    """What is next on one way; None when its path is in the map, and works."""
    if busy := way.is_busy(sight):
        return Wait(busy, Problem(Code.TARGET_TIMEOUT, f"still under way: {busy}"))
    path = way.path
    announced = sight.notes is not None and sight.notes.announced
    if path is None:
        return way.next_
    inside = _member(path, sight)
    proved = lun.prove(unit, path, context, needed=way.needed)
    if not isinstance(proved, str):
        return proved
    if not announced:
        return lun.step(AnnounceMap(wwid, context.owner), context)
    if inside is None:
        return _join(path, wwid, context)
    return _works(path, inside, sight.map, context) or lun.carries(unit, path)


def _is_spare(way: Way, sight: ScsiSight) -> bool:
    """Whether the path is in the map and only waits for its turn."""
    path = way.path
    return path is not None and path.access == STANDBY and bool(path.unread) and _member(path, sight) is not None


def _member(path: ScsiPath, sight: ScsiSight) -> MapPath | None:
    inside = sight.map.paths if sight.map else ()
    return next((member for member in inside if member.hctl == path.hctl), None)


def _join(path: ScsiPath, wwid: str, context: Context) -> Decision:
    join = JoinMap(path.hctl, wwid)
    if join in context.failed:
        return Fail(context.failed[join])
    if join in context.done and join not in context.unsure:
        text = f"multipathd to take {path.hctl} into the map of {wwid}"
        hint = "see: journalctl -u multipathd; and multipathd show paths"
        return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {text}", hint=hint), again=join)
    return Act(join)


def _works(path: ScsiPath, inside: MapPath, above: ScsiMap | None, context: Context) -> Decision | None:
    """A path in the map has to carry I/O, and to be as large as the map (attach.md, case 3).

    Once the map was handed out its disk may have grown, which is nothing to stop anybody: see `_grow`.
    """
    text = ""
    if not inside.usable:
        text = f"{path.node} ({path.hctl}) to carry I/O again"
    elif above and (path.size < above.size or (path.size > above.size and context.wwid is None)):
        text = f"{path.node} ({path.hctl}) to be as large as the map: it has {path.size} bytes, not {above.size}"
    return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"waiting for {text}")) if text else None


def _purge(wwid: str, ways: Iterable[Way], sight: ScsiSight, context: Context) -> Decision | None:
    """Nothing is handed out, and nothing else done, while another logical unit answers in the map.

    What is written down such a path is lost, and ruins the other one (attach.md, case 3).
    """
    paths = {way.path.hctl: way.path for way in ways if way.path}
    for member in sight.map.paths if sight.map else ():
        path = paths.get(member.hctl)
        wrong = scsi.is_wrong(path, wwid) if path else bool(member.designators) and wwid not in member.designators
        if not wrong:
            continue
        leave = LeaveMap(member.hctl, wwid)
        if leave not in context.failed:
            return Act(leave)
        names = ", ".join(sorted(member.designators)) or "nothing"
        text = f"{member.node} ({member.hctl}) in the map of {wwid} is {names}: {context.failed[leave].detail}"
        hint = f"see who put it there; take it out: multipathd del path {member.node.rpartition('/')[2]}"
        return Fail(Problem(Code.WRONG_DEVICE, text, hint=hint))
    return None


def _hand_out(wwid: str, above: ScsiMap, sight: ScsiSight, context: Context) -> Decision | None:
    """What is next until the map is published; None when it is (attach.md, cases 42 and 52)."""
    if above.suspended:
        return _map_wait(above, "to be resumed")
    published = sight.link == f"{DEVICES}/{wwid}" and sight.device_link == above.node and sight.kept
    too_little = above.read_only and not context.read_only and f"wwid:{wwid}" not in context.needed
    if too_little and not above.ours:
        return Fail(Problem(Code.TARGET_REFUSED, f"{above.node} is read-only on this host", hint="ask for access ro"))
    if not (published and (not above.ours or context.owner in ("", sight.owner))):
        return lun.step(Publish(context.name, "", wwid, context.read_only, context.owner), context)
    return _map_wait(above, "to become writable") if too_little else None


def _map_wait(above: ScsiMap, awaited: str) -> Wait:
    text = f"{above.node} {awaited}"
    return Wait(text, Problem(Code.DEVICE_TIMEOUT, f"waiting for {text}", hint="see: journalctl -u multipathd"))


def _first(open_: Sequence[Decision], context: Context) -> Decision | None:
    """What begins and needs no waiting; then a step, those nearest to a usable path first; then what is awaited."""
    if begin := next((next_ for next_ in open_ if isinstance(next_, Begin)), None):
        return begin
    acts = [next_ for next_ in open_ if isinstance(next_, Act)]
    if acts:
        return min(acts, key=lambda act: not isinstance(act.step, JoinMap | LeaveMap | RemoveDevice | AnnounceMap))
    waits = [next_ for next_ in open_ if isinstance(next_, Wait)]
    again = [wait for wait in waits if wait.again]
    return min(again, key=lambda wait: _when(wait, context), default=next(iter(waits), None))


def _when(wait: Wait, context: Context) -> int:
    """When the step that is worth another try was taken; the one that waits longest comes first."""
    return max((index for index, done in enumerate(context.done) if done == wait.again), default=0)


def _missing(unit: lun.Unit, states: Sequence[tuple[Way, Decision]], wanted: int) -> Problem | None:
    """What is said of the paths that are not there; None when all are. Another unit on one of them is said first."""
    if not states:
        return None
    problems = [(way, next_, _problem(unit, way, next_)) for way, next_ in states]
    reasons = [f"{way.name}: {_reason(next_, problem)}" for way, next_, problem in problems]
    told = sorted((p for _, _, p in problems if p), key=lambda problem: problem.code is not Code.WRONG_DEVICE)
    code, hint = (told[0].code, told[0].hint) if told else (Code.DEVICE_TIMEOUT, "")
    text = f"{wanted - len(states)} of {wanted} paths ({'; '.join(reasons)})"
    return Problem(code, text, hint=hint or "the daemon goes on trying")


def _problem(unit: lun.Unit, way: Way, next_: Decision) -> Problem | None:
    """What keeps a way from being used; of a path to another unit that, whatever is done about it."""
    if way.path and unit.wwid and scsi.is_wrong(way.path, unit.wwid):
        return lun.another(unit, way.path, unit.wwid)
    return next_.problem if isinstance(next_, Fail | Wait) else None


def _reason(next_: Decision, problem: Problem | None) -> str:
    match next_:
        case Wait(reason):
            return f"waiting for {reason}"
        case Act(step) | Begin(step) if problem is None:
            return f"{step.describe()} is to be done"
    return problem.detail if problem else ""


def _lost(wwid: str) -> Problem:
    """All paths are in a map that is not there any more: never seen, and worth another look."""
    return Problem(Code.DEVICE_TIMEOUT, f"the map of {wwid} is gone", hint="see: journalctl -u multipathd")


def _device(wwid: str, above: ScsiMap, ways: Iterable[Way], good: Sequence[Way], context: Context) -> Device:
    paths = [
        PathInfo(way.path.node or "", way.path.hctl, way.name, _state_of(way.path, works=way in good))
        for way in ways
        if way.path
    ]
    read_only = context.read_only or above.read_only
    return Device("block", f"{DEVICES}/{wwid}", above.node, wwid, above.size, read_only, tuple(paths))


def _state_of(path: ScsiPath, *, works: bool) -> str:
    return path.state if works else path.access if path.unread and path.access else "failed"
