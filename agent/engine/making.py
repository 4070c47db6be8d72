"""What holds for everything that a server is asked to make or to change, and that may take its time."""

from agent.engine.desk import Desk
from agent.engine.ledger import Operation
from agent.model import Making, MakingState
from attachers.problems import Code, Problem

INVISIBLE_S = 60.0
"""How long an object may not be seen after the server said yes."""
UNHEARD_S = 10.0
"""How long after a request without an answer to wait for what came of it, before it is made again."""


def refuse_taken(operation: Operation, there: Making) -> Operation:
    """Raises `Problem` (`conflict`) where something is at the destination."""
    if there.state is not MakingState.MISSING:
        detail = f"destination: there is already something at {operation.destination}"
        raise Problem(Code.CONFLICT, detail, hint="choose another place, or delete it first")
    return operation


def refuse_unproved(desk: Desk, operation: Operation) -> None:
    """Raises `Problem` (`conflict`): no answer came, and what is there may be what another host has put there.

    Not at once: a server may show what we have put into it a moment later than the object.
    """
    if silence_of(desk, operation) > UNHEARD_S:
        what = f"the answer was lost, and nothing proves that what is at {operation.destination} is ours"
        hint = "look at it (cdmi-attach stat): use it if it is what was meant, else choose another place"
        raise Problem(Code.CONFLICT, f"{operation.describe()}: {what}", hint=hint)


class NotToldError(Problem):
    """The server does not say at the moment how far it is: that is no word about what it makes."""


async def look(desk: Desk, operation: Operation) -> Making:
    """How far it is. Raises `Problem`; a refusal to tell is a `NotToldError`, once the server was asked to make it."""
    try:
        there = await desk.cdmi.look(operation.destination)
    except Problem as problem:
        if problem.code is Code.CDMI_REFUSED and operation.begun:
            raise NotToldError(problem.code, problem.detail, hint=problem.hint) from problem
        raise
    if there.state is MakingState.PROCESSING:
        hear(desk, operation)
    return there


def hear(desk: Desk, operation: Operation) -> None:
    """It is worked on at this moment, by the host's monotonic clock: asked for, taken up, or seen in the making."""
    desk.heard[operation.id] = desk.host.now()


def silence_of(desk: Desk, operation: Operation) -> float:
    """Seconds since nothing was heard of it. A clock that is set, and a restart, make it no older."""
    return desk.host.now() - desk.heard.setdefault(operation.id, desk.host.now())
