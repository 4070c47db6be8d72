"""Moves and restores: an object that is there already is changed, so nothing is ever cleared away when they fail.

The object's ID is committed before the server is asked: what is looked at afterwards has to be that very object.
"""

import logging
import time
from collections.abc import Set
from dataclasses import replace
from typing import Any

from agent.cdmi.sources import BY_ID
from agent.engine import making
from agent.engine.desk import Desk
from agent.engine.in_hand import alone, held
from agent.engine.ledger import Operation
from agent.engine.others import refuse_others
from agent.model import Making, MakingState, OperationState, Stat
from agent.uses import Despite
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)


async def checked(desk: Desk, wanted: Operation, *, mine: Set[str]) -> Operation:
    """The operation with the object's ID, if it may begin. Raises `Problem`: in-use, conflict, busy, not-found.

    `mine` are the keys of its destination, which are held already.
    """
    field = _field(wanted)
    async with held(desk, wanted.source, object_id=wanted.object_id) as found:
        _refuse_reference(wanted, found)
        async with alone(desk, found, field=field, operation=wanted.id, mine=mine):
            return await _checked(desk, wanted, found)


async def _checked(desk: Desk, wanted: Operation, found: Stat) -> Operation:
    despite, anybody = Despite(permitted=wanted.despite_permitted), wanted.kind == "restore"
    await refuse_others(desk, wanted.source, field=_field(wanted), despite=despite, anybody=anybody)
    if wanted.kind == "move":
        making.refuse_taken(wanted, await desk.cdmi.look(wanted.destination))
    else:
        there = await desk.cdmi.look(desk.cdmi.snapshot_place(wanted.source, wanted.name))
        if there.state is not MakingState.COMPLETE:
            detail = f"name: there is no snapshot {wanted.name} of {found.uri}"
            raise Problem(Code.NOT_FOUND, detail, hint="take one first: cdmi-attach snapshot")
    return replace(wanted, object_id=found.object_id, uri="", keys=tuple(sorted(found.keys)))


async def step(desk: Desk, operation: Operation) -> Operation:
    """Look, and do the one next thing: begin it, note how far it is, or end it. Raises `Problem`."""
    if not operation.begun:
        return await _ask(desk, operation)
    there = await making.look(desk, operation)
    silent_s = making.silence_of(desk, operation)
    unheard = not operation.answered and silent_s > making.UNHEARD_S
    match there.state:
        case MakingState.PROCESSING:
            return await _keep(desk, operation, percent=there.percent, worked=True)  # at what it was asked for last
        case MakingState.FAILED:
            detail = f"{operation.describe()}: the server says {there.says}"
            raise Problem(Code.CDMI_REFUSED, detail, hint="nothing was deleted; see the CDMI server's log")
        case MakingState.MISSING if unheard and operation.kind == "move":
            return await _ask(desk, operation)
        case MakingState.MISSING if silent_s > making.INVISIBLE_S:
            detail = f"{operation.describe()}: nothing is to be seen at its destination"
            raise Problem(Code.CDMI_REFUSED, detail, hint="nothing was deleted; see the CDMI server's log")
        case MakingState.COMPLETE if operation.kind == "move" and not (operation.object_id or operation.answered):
            making.refuse_unproved(desk, operation)
        case MakingState.COMPLETE if operation.kind == "move" or operation.answered:
            doubt = await _doubt(desk, operation, there)
            if doubt is None or (isinstance(doubt, str) and silent_s > making.UNHEARD_S):
                return await _end(desk, operation, there, note=doubt or "")
            if isinstance(doubt, Problem) and silent_s > making.INVISIBLE_S:
                raise doubt
        case MakingState.COMPLETE if unheard:
            return await _ask(desk, operation)
    return operation


async def _ask(desk: Desk, operation: Operation) -> Operation:
    """Ask the server, after committing that we do. No attach begins to count on the object meanwhile."""
    field = _field(operation)
    async with held(desk, operation.source) as found, alone(desk, found, field=field, operation=operation.id):
        now = await _checked(desk, operation, found)
        if now.object_id.casefold() != operation.object_id.casefold():
            detail = f"{operation.describe()}: its source is another object by now"
            raise Problem(Code.CONFLICT, detail, hint="ask again, if that is meant")
        log.info("%s", operation.describe())
        modified = operation.modified or found.times.get("modified") or ""
        operation = await _keep(desk, operation, begun=True, begun_at=time.time(), modified=modified, worked=False)
        making.hear(desk, operation)
        if operation.kind == "move":
            await _move(desk, operation)
        else:
            await desk.cdmi.restore(operation.source, operation.name, object_id=operation.object_id)
    return await _keep(desk, operation, answered=True)


async def _move(desk: Desk, operation: Operation) -> None:
    """A refusal may be that of a request that was made once more: then the object is there already."""
    try:
        await desk.cdmi.move(operation.source, operation.destination, object_id=operation.object_id)
    except Problem as problem:
        if problem.code is Code.CDMI_UNREACHABLE:
            raise
        there = await desk.cdmi.look(operation.destination)
        if not operation.object_id or there.object_id.casefold() != operation.object_id.casefold():
            raise


async def _doubt(desk: Desk, operation: Operation, there: Making) -> Problem | str | None:
    """Why it does not count as done although the server says so; None where it does. It may be so a moment later.

    A string is a note: nothing contradicts it, and nothing of this server's can prove it.

    Raises `Problem`; a look that is refused, or finds nothing, is a `NotToldError`: no word about what was done.
    """
    if operation.object_id and there.object_id.casefold() != operation.object_id.casefold():
        detail = f"{operation.describe()}: the object there is {there.object_id}, and not {operation.object_id}"
        return Problem(Code.CONFLICT, detail, hint="nothing was deleted; see what is there: cdmi-attach stat")
    try:
        return await (_not_moved(desk, operation) if operation.kind == "move" else _not_restored(desk, operation))
    except Problem as problem:
        if problem.code not in (Code.CDMI_REFUSED, Code.NOT_FOUND):
            raise
        detail = f"{operation.describe()}: the server said yes, and does not tell what it has done: {problem.detail}"
        raise making.NotToldError(Code.CDMI_REFUSED, detail, hint=problem.hint) from problem


async def _not_moved(desk: Desk, operation: Operation) -> Problem | None:
    """Whether it is where it was as well: some pass `move` over, or copy. By its ID it is found wherever it is."""
    if operation.object_id and f"/{BY_ID}/" in desk.cdmi.place(operation.source):
        return None
    try:
        there = await desk.cdmi.look(operation.source)
    except Problem as problem:
        if problem.code is Code.CONFLICT:
            return None  # a reference: it is not there itself
        raise
    another = bool(operation.object_id) and there.object_id.casefold() != operation.object_id.casefold()
    if there.state is MakingState.MISSING or another:
        return None
    detail = f"{operation.describe()}: the server said yes, and something is at its source still"
    return Problem(Code.CDMI_REFUSED, detail, hint="nothing was deleted; see what is at both: cdmi-attach stat")


async def _not_restored(desk: Desk, operation: Operation) -> Problem | str | None:
    """Whether it is as its snapshot is; and, where that tells nothing, whether the server has said to have changed it.

    Some pass `copy` over, and say yes. Of a LUN nothing but its size can be compared, and the time of its last change:
    that is optional, writes over iSCSI need not move it, and a restore may bring back the one of the snapshot.
    """
    if why := await desk.cdmi.unlike(operation.source, operation.name):
        detail = f"{operation.describe()}: the server said yes, and it is not as its snapshot {operation.name}: {why}"
        return Problem(Code.CDMI_REFUSED, detail, hint="see its log, or clone the snapshot (cdmi-attach clone)")
    now = await _modified(desk, operation.source)
    if operation.worked or (operation.modified and now and now != operation.modified):
        return None
    if why := await _no_telling(desk, operation, now):
        return f"nothing tells that the server did anything ({why}): look at its content before you use it"
    what = "the server said yes, and nothing tells that it did anything (its cdmi_mtime is what it was)"
    hint = f"look at its content before you use it; else clone the snapshot {operation.name} (cdmi-attach clone)"
    return Problem(Code.CONFLICT, f"{operation.describe()}: {what}", hint=hint)


async def _no_telling(desk: Desk, operation: Operation, now: str) -> str:
    """Why the time of the last change says nothing, although it is not another one than before; empty where it does."""
    if not (operation.modified and now):
        return "its cdmi_mtime is not told"
    try:
        kept = await _modified(desk, desk.cdmi.snapshot_place(operation.source, operation.name))
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return "its snapshot is not there any more"
        raise
    return "its cdmi_mtime was and is that of its snapshot" if kept == now else ""


async def _modified(desk: Desk, source: str) -> str:
    return (await desk.cdmi.stat(source)).times.get("modified") or ""


async def _end(desk: Desk, operation: Operation, there: Making, *, note: str) -> Operation:
    log.info("%s: done%s", operation.describe(), f", but {note}" if note else "")
    return await _keep(desk, operation, state=OperationState.DONE, percent=100, uri=there.uri, note=note)


async def _keep(desk: Desk, operation: Operation, **changes: Any) -> Operation:
    changed = replace(operation, **changes)
    return operation if changed == operation else await desk.ledger.keep(changed)


def _refuse_reference(wanted: Operation, found: Stat) -> None:
    """Raises `Problem` (`conflict`): what is asked for would be done to another object than the one that was named."""
    if found.reference:
        detail = f"{_field(wanted)}: {found.reference} is a reference to {found.uri}"
        raise Problem(Code.CONFLICT, detail, hint="give the address of the object that is meant")


def _field(operation: Operation) -> str:
    return "source" if operation.kind == "move" else "uri"
