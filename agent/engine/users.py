"""Who uses what an attachment has handed out, on this host: its disk, the map above it, or the file itself."""

from dataclasses import replace

from agent.engine.converge import observe
from agent.engine.desk import Desk
from agent.engine.ledger import Row
from attachers.base import Goal
from attachers.sights import NfsQuery, NfsSight, ScsiQuery, ScsiSight, Sight


async def users_of(desk: Desk, row: Row) -> list[str]:
    """The users, as the host words them. Raises `Problem` (`unavailable`) where it cannot tell."""
    query = desk.attacher(row.protocol).query(row.name, row.plan or {}, goal=Goal.ATTACHED)
    assert isinstance(query, ScsiQuery | NfsQuery)
    return _users_in(await observe(desk.host, replace(query, holders=True)), disk=query.wwid is not None)


def _users_in(sight: Sight, *, disk: bool) -> list[str]:
    """A file that a disk is made of is used by that disk, and what counts is who uses the disk."""
    scsi = sight.scsi if isinstance(sight, NfsSight) else sight
    assert isinstance(scsi, ScsiSight)
    file = sight.file if isinstance(sight, NfsSight) and not disk else None
    held = [*(path.holders for path in scsi.paths), scsi.map.holders if scsi.map else (), file.holders if file else ()]
    return [user for users in held for user in users or ()]
