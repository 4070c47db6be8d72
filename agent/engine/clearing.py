"""What a copy, a snapshot or a creation that failed has left on a server: deleted where it is proved to be ours.

CDMI has its clients delete what failed (1.1 clause 8.2, `completionStatus`). Proved is what the server's own answer to
our request named by its ID; of what it took on without naming it, only what it says to have failed. Anything else at
that place may be another host's, whole, and stays; that it stays is said.
"""

from contextlib import AsyncExitStack

from agent.engine.desk import Desk
from agent.engine.in_hand import alone, held
from agent.engine.ledger import Operation
from agent.engine.others import refuse_others
from agent.engine.pause import pauses
from agent.model import Making, MakingState
from agent.uses import CAREFUL
from attachers.problems import Code, Problem


async def clear_away(desk: Desk, operation: Operation) -> str:
    """Delete what is left of it. Returns what stays there, in words: empty where nothing does."""
    try:
        there = await desk.cdmi.look(operation.destination)
        if there.state is MakingState.MISSING:
            return ""
        if why := _why_not(operation, there):
            return f"; what is at {operation.destination} was not deleted: {why}"
        await _delete(desk, operation, there)
        return ""
    except Problem as problem:
        return f"; what is at {operation.destination} was not deleted: {problem.detail}"


def _why_not(operation: Operation, there: Making) -> str:
    """Why nothing may be deleted; empty where it is ours, and at its end."""
    if not operation.object_id:
        return "nothing proves that it is ours"
    if there.object_id.casefold() != operation.object_id.casefold():
        return f"it is another object than ours, {operation.object_id}"
    if there.state is MakingState.PROCESSING:
        return "the server is still making it"
    proved = operation.owned or (operation.answered and there.state is MakingState.FAILED)
    return "" if proved else "nothing proves that it is ours"


async def _delete(desk: Desk, operation: Operation, there: Making) -> None:
    """That very object. What the server says to be made may be in use by now, here or elsewhere: then it stays."""
    async with AsyncExitStack() as stack:
        if there.state is not MakingState.FAILED:
            found = await stack.enter_async_context(held(desk, operation.destination))
            await stack.enter_async_context(alone(desk, found, field="destination"))
            await refuse_others(desk, operation.destination, field="destination", despite=CAREFUL)
        waits = pauses(desk.host)
        await desk.cdmi.delete(operation.destination, pause=waits, object_id=operation.object_id)


def refuse_another(operation: Operation, there: Making) -> None:
    """Raises `Problem` (conflict) where something else is by now where ours was seen."""
    known = operation.object_id
    if known and there.state is not MakingState.MISSING and there.object_id.casefold() != known.casefold():
        detail = f"destination: {operation.destination} is another object by now, not {known}"
        raise Problem(Code.CONFLICT, detail, hint="see who replaced it; nothing of it was changed")
