"""The way out where a logical unit has a multipath map: first the map, or out of it, then the paths. Pure."""

from collections.abc import Iterable

from attachers import scsi
from attachers.base import Act, Context, Decision, Fail, Wait
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem
from attachers.sights import ScsiMap, ScsiPath, ScsiSight
from attachers.steps import ForgetMap, LeaveMap, Publish, RemoveMap, Step, Unpublish


def take_apart(wwid: str, sight: ScsiSight, doomed: Iterable[ScsiPath], context: Context) -> Decision | None:
    """The next thing until no map stands in the way of the paths that we may free; None when none does.

    A map that is not ours, or that others need, stays: our paths leave it.
    """
    above = sight.map
    if above is None:
        return None
    if above.ours and f"wwid:{wwid}" not in context.needed:
        return _purge(wwid, sight, above, context) or _remove(wwid, sight, above, context)
    inside = {path.hctl for path in above.paths}
    leaving = next((path for path in doomed if path.hctl in inside), None)
    if leaving is None:
        return None
    return _once(LeaveMap(leaving.hctl, wwid), f"multipathd to let {leaving.hctl} go", context, restore=None)


def _purge(wwid: str, sight: ScsiSight, above: ScsiMap, context: Context) -> Decision | None:
    """First of all, out with a path on which another logical unit answers: a flush would write to that (case 3)."""
    paths = {path.hctl: path for path in sight.paths}
    for member in above.paths:
        path = paths.get(member.hctl)
        if scsi.is_wrong(path, wwid) if path else bool(member.designators) and wwid not in member.designators:
            return _once(LeaveMap(member.hctl, wwid), f"multipathd to let {member.hctl} go", context, restore=None)
    return None


def _remove(wwid: str, sight: ScsiSight, above: ScsiMap, context: Context) -> Decision:
    """Without a usable path nothing can be written out: the map is waited for, unless nobody can have written to it."""
    remove, usable = RemoveMap(wwid), any(path.usable for path in above.paths)
    if not usable and not context.force:
        detail = f"whether all that was written to {wwid} was written out is not known: no path of its map is usable"
        dirty = Problem(Code.DIRTY, detail, hint=REMEDY_OF_DIRTY, step=remove.describe())
        if remove in context.unsure:
            return Fail(dirty)
        if context.used and not above.read_only:
            return Wait(f"a usable path in {above.node}", dirty)
    if not usable or (context.may_lose and sight.dirty) or (context.force and context.could_not_write_out(remove)):
        remove = RemoveMap(wwid, lost=True)
    return _once(remove, f"the kernel to forget {above.node}", context, restore=put_back(wwid, context))


def is_free_again(wwid: str | None, failed: Step, context: Context) -> bool:
    """Whether a step that failed may have done so because of a map that has been removed since.

    multipathd makes one as soon as it sees a disk that a rescan brought back.
    """
    removals = (RemoveMap(wwid), RemoveMap(wwid, lost=True)) if wwid else ()
    done = [one for one in removals if one in context.done and one not in context.failed]
    return any(_last(one, context) > _last(failed, context) for one in done)


def _last(step: Step, context: Context) -> int:
    return max((index for index, done in enumerate(context.done) if done == step), default=-1)


def forget(wwid: str, sight: ScsiSight, context: Context) -> Decision | None:
    """Once nothing of ours leads to the logical unit any more: take back what was written down for its map."""
    ours = sight.notes is not None and sight.notes.ours
    if (sight.map and sight.map.ours) or not ours or f"wwid:{wwid}" in context.needed:
        return None
    return _once(ForgetMap(wwid), f"multipath to forget {wwid}", context, restore=None)


def _once(step: Step, awaited: str, context: Context, *, restore: Step | None) -> Decision:
    """Take a step; where it was done and does not show, or its thing is there again, once more after a while."""
    if step in context.failed:
        return Fail(context.failed[step], restore=restore)
    if step in context.done and step not in context.unsure:
        return Wait(awaited, Problem(Code.DEVICE_TIMEOUT, f"time ran out waiting for {awaited}"), again=step)
    return Act(step)


def put_back(wwid: str, context: Context) -> Step | None:
    """The step that gives a refused detach its link back, if we had taken it; it proves the map anew."""
    taken = any(isinstance(done, Unpublish) for done in context.done)
    return Publish(context.name, "", wwid, context.read_only, context.owner) if taken else None
