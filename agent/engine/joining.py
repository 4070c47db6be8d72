"""A request for a name that is there already: whether it asks for the same."""

from dataclasses import replace

from agent.engine.ledger import Row
from agent.model import Request
from attachers.base import Goal
from attachers.problems import Code, Problem


def refuse_other(row: Row, request: Request) -> None:
    """Raises `Problem` (`conflict`) where the name stands for something else."""
    if not _same(row.request, request):
        raise Problem(
            Code.CONFLICT,
            f"name: {row.name} is already an attachment of {row.request.source} with other settings",
            hint="choose another name, or detach this one first",
        )


def refuse_leaving(row: Row) -> None:
    """Raises `Problem` (`busy`) where it is being taken down."""
    if row.goal is Goal.GONE:
        raise Problem(
            Code.BUSY,
            f"name: {row.name} is on its way out ({row.phase})",
            hint=f"repeat the detach until it succeeds: cdmi-attach detach {row.name}",
        )


def _same(one: Request, other: Request) -> bool:
    """How long the caller waits, for how long it is, and the number of the request, do not matter."""
    first, second = (replace(each, timeout_s=0, generation=None, lease_s=None) for each in (one, other))
    return first == second
