"""Disks of ours that somebody else's rescan brings back while the server still shows them (attach.md, cases 11 and 12).

A session of ours carries what we had the kernel look for, and nothing else. A disk that shows again at an address from
which we have just removed it, on that very session, is no wish of anybody: it is ours, to be removed again.
"""

from agent.host.created import Row
from agent.host.guarded_judge import Rows, is_ours
from attachers.sights import ScsiSight

LATELY_S = 180.0
"""How long after its removal: above the longest detach, and no longer than somebody may mean it."""


class Returned:
    """What was removed lately."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int | None], tuple[Row, float]] = {}

    def note(self, row: Row, now: float) -> None:
        """We have removed this disk."""
        lately = {key: value for key, value in self._rows.items() if now - value[1] < LATELY_S}
        self._rows = lately | {(row.thing.hctl, row.sid): (row, now)}

    def back(self, sight: ScsiSight, rows: Rows, now: float) -> list[Row]:
        """The rows of those that are there again."""
        found = []
        for session in sight.sessions:
            for hctl in session.devices if is_ours(session, sight, rows) else ():
                row, since = self._rows.get((hctl, session.sid), (None, 0.0))
                if row and row.thing not in rows and now - since < LATELY_S:
                    found.append(row)
        return found
