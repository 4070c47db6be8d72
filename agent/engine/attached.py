"""What is attached here of an object: it is not changed under its users; nor attached while it is written."""

from agent.engine.desk import Desk
from agent.engine.ledger import Row
from agent.model import Stat
from attachers.problems import Code, Problem


def attached(desk: Desk, found: Stat) -> list[Row]:
    """The attachments of this object, also those on their way in or out."""
    return [row for row in desk.ledger.rows.values() if _is(row, found)]


def refuse_attached(desk: Desk, found: Stat, *, field: str) -> None:
    """Raises `Problem` (`in-use`) where the object is attached here."""
    if rows := attached(desk, found):
        detail = f"{field}: the object is attached here as {', '.join(row.name for row in rows)}"
        raise Problem(Code.IN_USE, detail, hint=f"detach first: cdmi-attach detach {rows[0].name}")


def refuse_written(desk: Desk, uri: str, object_id: str) -> None:
    """Raises `Problem` (`busy`) where the object is being written through this daemon."""
    if {uri, object_id.casefold()} & desk.written:
        raise Problem(Code.BUSY, f"source: {uri} is being written here", hint="try again when that is done")


def _is(row: Row, found: Stat) -> bool:
    if row.uri == found.uri:
        return True
    return bool(found.object_id) and row.object_id.casefold() == found.object_id.casefold()
