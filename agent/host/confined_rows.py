"""What the record of what was created says of what is handed out. Pure."""

from collections.abc import Callable, Iterable

from agent.host.created import Kind, Row
from agent.host.guarded_judge import Rows
from attachers.nfs_share import Share
from attachers.sights import Made, RecordSight

LATELY_S = 300.0
"""For how long what was taken back may be put back though it is in use: a detach that is refused does so."""
MOST = 1024


def links_of(name: str, rows: Rows) -> list[Row]:
    """The links of an attachment."""
    return [row for thing, row in rows.items() if thing.kind is Kind.LINK and thing.name == name]


def published(wwid: str, rows: Rows) -> bool:
    """Whether a logical unit is handed out by any name."""
    return any(thing.kind is Kind.LINK and thing.wwid == wwid for thing in rows)


def is_out(key: str, rows: Rows) -> bool:
    """Whether a logical unit (by its name) or a file (by its place) is handed out for writing already."""
    links = (row for thing, row in rows.items() if thing.kind is Kind.LINK and key in (thing.wwid, thing.target))
    return any(row.writable and row.confirmed for row in links)


def is_made(hctl: str, rows: Rows) -> bool:
    """Whether the disk at an address was scanned here, and not there before."""
    return any(thing.kind is Kind.DEVICE and thing.hctl == hctl for thing in rows)


def disks_in(share: Share, rows: Rows) -> list[str]:
    """The names of the disks that we had LIO make of files in a share."""
    place = (Kind.DISK, share.source, share.version)
    return [thing.wwid for thing in rows if (thing.kind, thing.target, thing.portal) == place]


def recorded(seen: RecordSight, rows: Rows) -> RecordSight:
    """What is in the record, beside what is dead and not in it: as much of both as a message holds."""
    mine = {thing.hctl for thing in rows if thing.hctl}
    dead = [one for one in seen.dead if not one.hctl or one.hctl not in mine]
    made = [Made(str(t.kind), t.target, t.portal, t.hctl, t.name, t.wwid) for t in rows]
    more = max(0, len(made) - MOST) + max(0, len(dead) - MOST)
    return RecordSight(tuple(made[:MOST]), tuple(dead[:MOST]), more)


class Lately:
    """What was handed out for writing, and has been taken back a moment ago. `now` is in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[tuple[str, str], float] = {}

    def note(self, rows: Iterable[Row]) -> None:
        """These links are taken back."""
        for row in rows:
            if row.writable and row.confirmed:
                key = (row.thing.name, row.thing.target or row.thing.wwid)
                self._until.pop(key, None)
                self._until[key] = self._now() + LATELY_S
        while len(self._until) > MOST:
            del self._until[next(iter(self._until))]

    def had(self, name: str, key: str) -> bool:
        """Whether the attachment of that name had this."""
        return self._until.get((name, key), 0.0) > self._now()
