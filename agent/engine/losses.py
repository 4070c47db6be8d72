"""What a detach by force gives up: noted before it is done, and kept when the attachment is gone."""

import logging
from datetime import UTC, datetime

from agent.caller import Caller
from agent.engine.desk import Desk
from agent.engine.ledger import Row
from agent.messages import Message, fields
from agent.model import Request
from attachers.problems import Code
from attachers.steps import GiveUp, RemoveDevice, RemoveDisk, RemoveMap, Step, Unmount, WriteOutFile

log = logging.getLogger(__name__)
KEPT = 16
"""Facts of one attachment."""


async def note(desk: Desk, name: str, step: Step) -> None:
    """Commit what a step of a forced detach may lose, before it is taken; nothing of any other step."""
    row = desk.ledger.rows[name]
    if not (row.forced and (_loses(step) or (isinstance(step, Unmount) and _is_dirty(row)))):
        return
    text = f"{step.describe()}: forced by {row.forced}"
    if any(fact.endswith(text) for fact in row.tainted):
        return
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    await desk.ledger.change(name, tainted=(*row.tainted, f"{at} {text}")[-KEPT:])


def _is_dirty(row: Row) -> bool:
    return row.problem is not None and row.problem.get("code") == Code.DIRTY


def _loses(step: Step) -> bool:
    return isinstance(step, GiveUp) or (
        isinstance(step, RemoveDevice | RemoveDisk | RemoveMap | WriteOutFile) and step.lost
    )


async def force(desk: Desk, row: Row, by: Caller) -> Row:
    """The loss of what cannot be written out is known, as somebody says. Returns the row that says so."""
    who = f"uid {by.uid}, pid {by.pid}"
    log.warning("%s: detach by force, asked for by %s", row.name, who, extra=fields(Message.FORCED, server=row.server))
    desk.events.tell(row.name, "forced", by=who)
    return await desk.ledger.change(row.name, forced=who)


def before(desk: Desk, request: Request) -> tuple[str, ...]:
    """What was given up of the same source by that name, and nobody has said that it was seen."""
    row = desk.ledger.tainted.get(request.name)
    return row.tainted if row else ()
