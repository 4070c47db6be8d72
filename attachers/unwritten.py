"""What this host caches of a disk and could not write out: waited for, told, or given up on the way out. Pure."""

from collections.abc import Iterable

from attachers.base import Context, Wait
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem
from attachers.sights import ScsiPath, ScsiSight
from attachers.steps import GiveUp, RemoveDevice, RemoveMap


def unknown(path: ScsiPath, context: Context) -> Problem | None:
    """Why a path that fell silent may not be removed as it is: its cache was to be written out, perhaps in vain."""
    begun = (s for s in context.done if isinstance(s, RemoveDevice) and s.hctl == path.hctl and s.wwid)
    flush = next((s for s in begun if s in context.failed or s in context.unsure), None)
    if flush is None or path.designators:  # another logical unit: nothing can be written to that any more
        return None
    detail = f"whether all that was written to {flush.wwid} was written out is not known: {path.hctl} fell silent"
    return context.failed.get(flush) or Problem(
        Code.DIRTY, detail, hint="see the kernel's log; the data written last may be lost", step=flush.describe()
    )


def awaited(what: str, path: ScsiPath, sight: ScsiSight, context: Context) -> Wait | None:
    """A silent disk that may have been written to is waited for, and then said to be dirty (attach.md, case 98).

    The disks of a map have no cache of their own: what was written went through the map.
    """
    mapped = sight.notes is not None and sight.notes.announced
    if path.designators or not path.node or path.read_only or mapped or not context.used:
        return None
    text = f"{what} ({path.hctl}) to answer, so that what was written to it can be written out"
    detail = f"what was written to {path.node} may not have been written out: time ran out waiting for {text}"
    return Wait(text, Problem(Code.DIRTY, detail, hint=REMEDY_OF_DIRTY))


def dirty(what: str) -> Problem:
    """A write-out failed once: whatever the kernel says now, it says of clean pages (attach.md, case 97)."""
    detail = f"a write-out of {what} failed, or was not seen to succeed: what was written last may be lost"
    return Problem(Code.DIRTY, detail, hint=REMEDY_OF_DIRTY)


def stuck(wwid: str | None, context: Context) -> tuple[str, ...]:
    """What may be under way for ever, and need not be waited for where its loss is known: a write-out of a map."""
    return (RemoveMap(wwid).describe(),) if context.force and wwid else ()


def to_give_up(names: Iterable[str | None], sight: ScsiSight, context: Context) -> GiveUp | None:
    """The step that says that what is lost is known, by each name that the unit may have been written out by."""
    steps = [GiveUp(name) for name in names if name] if sight.dirty else []
    return next((one for one in steps if one not in context.done or one in context.unsure), None)
