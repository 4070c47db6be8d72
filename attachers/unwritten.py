"""What this host caches of a disk and could not write out: waited for, told, or given up on the way out. Pure."""

from collections.abc import Iterable

from attachers import scsi
from attachers.base import Context, Wait
from attachers.problems import REMEDY_OF_DIRTY, Code, Problem
from attachers.sights import ScsiPath, ScsiSight
from attachers.steps import GiveUp, RemoveDevice, RemoveMap


def unknown(path: ScsiPath, context: Context) -> Problem | None:
    """Why a path that fell silent may not be removed as it is: its cache was to be written out, perhaps in vain."""
    begun = (s for s in context.done if isinstance(s, RemoveDevice) and s.hctl == path.hctl and s.wwid)
    flush = next((s for s in begun if s in context.failed or s in context.unsure), None)
    if flush is None or path.designators:  # another logical unit: see `astray`
        return None
    detail = f"whether all that was written to {flush.wwid} was written out is not known: {path.hctl} fell silent"
    return context.failed.get(flush) or Problem(
        Code.DIRTY, detail, hint="see the kernel's log; the data written last may be lost", step=flush.describe()
    )


def astray(what: str, wwid: str | None, path: ScsiPath, sight: ScsiSight, context: Context) -> Problem | None:
    """Why a disk that leads to another unit by now may not be removed without a word, where `wwid` was handed out for
    writing: what was written last is in that other unit, or still cached, and then nobody may write it out.

    Not where the unit was written out, or is to be, by another disk: that is the one that was handed out. As a rule
    the record has the unit as dirty by then, from a look at its link: this is for a swap between two steps.
    """
    if wwid is None or sight.dirty or not context.used or context.read_only or not _has_cache(path, sight):
        return None
    written = (s for s in context.done if isinstance(s, RemoveDevice) and s.wwid == wwid and s not in context.failed)
    right = any(scsi.is_right(one, wwid) for one in sight.paths) or any(s not in context.unsure for s in written)
    if right or not scsi.is_wrong(path, wwid):
        return None
    detail = f"{what} ({path.hctl}) is {scsi.what_it_is(path)} by now, not {wwid}: what was written last may be lost"
    return Problem(Code.DIRTY, detail, hint=REMEDY_OF_DIRTY)


def _has_cache(path: ScsiPath, sight: ScsiSight) -> bool:
    """Whether anything may be cached of a disk by itself: what is written to a map goes through the map."""
    mapped = sight.notes is not None and sight.notes.announced
    return path.node is not None and not path.read_only and not mapped


def awaited(what: str, path: ScsiPath, sight: ScsiSight, context: Context) -> Wait | None:
    """A silent disk that may have been written to is waited for, and then said to be dirty (attach.md, case 98)."""
    if path.designators or not _has_cache(path, sight) or not context.used:
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
