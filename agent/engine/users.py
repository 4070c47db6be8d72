"""Who uses what an attachment has handed out, on this host: its disk, the map above it, or the file itself."""

from dataclasses import replace

from agent.engine.converge import observe
from agent.engine.desk import Desk
from agent.engine.ledger import Row
from attachers import checks, scsi
from attachers.base import Goal
from attachers.sights import IscsiQuery, NfsQuery, NfsSight, ScsiPath, ScsiQuery, ScsiSight, Sight


async def users_of(desk: Desk, row: Row) -> list[str]:
    """The users, as the host words them. Raises `Problem` (`unavailable`) where it cannot tell."""
    query = desk.attacher(row.protocol).query(row.name, row.plan or {}, goal=Goal.ATTACHED)
    assert isinstance(query, ScsiQuery | NfsQuery)
    return _users_in(await observe(desk.host, replace(query, holders=True)), query)


async def users_now(desk: Desk, row: Row) -> list[str]:
    """Who has the very device open that was handed out last, and not one that led to the same unit before it.

    Raises `Problem` (`unavailable`) where the host cannot tell.
    """
    query = desk.attacher(row.protocol).query(row.name, row.plan or {}, goal=Goal.ATTACHED)
    assert isinstance(query, ScsiQuery | NfsQuery)
    sight = await observe(desk.host, replace(query, holders=True))
    node = row.device.node if row.device else ""
    shown = sight.scsi if isinstance(sight, NfsSight) else sight
    assert isinstance(shown, ScsiSight)
    held = [path.holders for path in shown.paths if path.node == node]
    held += [shown.map.holders] if shown.map and shown.map.node == node else []
    held += [sight.file.holders] if isinstance(sight, NfsSight) and sight.file and query.wwid is None else []
    return [user for users in held for user in users or ()]


def _users_in(sight: Sight, query: ScsiQuery | NfsQuery) -> list[str]:
    """A file that a disk is made of is used by that disk, and what counts is who uses the disk."""
    shown = sight.scsi if isinstance(sight, NfsSight) else sight
    assert isinstance(shown, ScsiSight)
    file = sight.file if isinstance(sight, NfsSight) and query.wwid is None else None
    paths = [path for path in shown.paths if not _is_anothers(path, query)]
    held = [*(path.holders for path in paths), shown.map.holders if shown.map else (), file.holders if file else ()]
    return [user for users in held for user in users or ()]


def _is_anothers(path: ScsiPath, query: ScsiQuery | NfsQuery) -> bool:
    """At the number of an iSCSI target's LUN in its other form (SAM-5 4.7.7) there may be a unit of somebody else."""
    if not isinstance(query, IscsiQuery) or query.wwid is None or checks.number_at(path.hctl) == query.lun:
        return False
    return not path.ours and scsi.is_wrong(path, query.wwid)
