"""What is attached here of an object, and of what is below it: it is not changed under its users."""

from agent.caller import Caller
from agent.engine.desk import Desk
from agent.engine.ledger import Row
from agent.model import Phase, Stat
from attachers.base import Goal
from attachers.problems import Code, Problem


def attached(desk: Desk, found: Stat) -> list[Row]:
    """The attachments of this object, also those on their way in or out."""
    return [row for row in desk.ledger.rows.values() if row.keys & found.keys]


def attached_below(desk: Desk, found: Stat) -> list[Row]:
    """The attachments of what is in this container, however deep."""
    return [row for row in desk.ledger.rows.values() if found.keys.intersection(row.over)]


def refuse_attached(desk: Desk, found: Stat, *, field: str) -> None:
    """Raises `Problem` (`in-use`) where the object is attached here, or anything that is in it."""
    for rows, what in (
        (attached(desk, found), "the object is attached here as"),
        (attached_below(desk, found), "in it is what is attached here as"),
    ):
        if rows:
            detail = f"{field}: {what} {', '.join(map(_named, rows[:4]))}"
            raise Problem(Code.IN_USE, detail, hint=f"detach first: cdmi-attach detach {rows[0].name}")


def _named(row: Row) -> str:
    return row.name if row.phase is Phase.ATTACHED else f"{row.name} ({row.phase})"


def refuse_strangers(row: Row | None, by: Caller) -> None:
    """Raises `Problem` (forbidden) where somebody else has made an attachment, who alone may change it."""
    if row is not None and row.owner_uid != by.uid and not by.admin:
        raise Problem(
            Code.FORBIDDEN,
            f"name: {row.name} is an attachment of user {row.owner_uid}; user {by.uid} may look at it, not change it",
            hint="ask its owner or root, or be in the group that [socket] admins of config.toml names",
        )


def refused_before(row: Row) -> Problem | None:
    """Why a detach that waited for another one had nothing to do: that one was refused, and so is this; else None."""
    if row.goal is Goal.GONE or not row.problem:
        return None
    return Problem(Code(row.problem["code"]), str(row.problem["detail"]), hint=str(row.problem["hint"]))
