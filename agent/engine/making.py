"""What holds for everything that a server is asked to make or to change, and that may take its time."""

import time

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


def age_of(operation: Operation) -> float:
    """Seconds since the server was asked."""
    return time.time() - operation.begun_at
