"""Node records of ours that are not as we made them: what is made anew before a login, what goes at the start. Pure."""

from agent.host.created import Kind, Row, Thing
from attachers.sights import ScsiSight


def is_to_be_made_anew(row: Row, sight: ScsiSight, *, boot_id: str) -> bool:
    """Whether a record of ours does not have our settings, all of them and of today.

    A crash may have left it half made, another boot may have brought another open-iscsi, a discovery may have
    written over it (attach.md, cases 10, 28, 29).
    """
    return not row.confirmed or row.boot_id != boot_id or _spoilt(row.thing, sight)


def is_to_go(thing: Thing, sight: ScsiSight) -> bool:
    """Whether a record of ours only makes commands of iscsiadm fail, and serves no session (attach.md, case 27)."""
    used = any((s.target, s.portal) == (thing.target, thing.portal) for s in sight.sessions)
    return thing.kind is Kind.RECORD and not used and _spoilt(thing, sight)


def _spoilt(thing: Thing, sight: ScsiSight) -> bool:
    same = [r for r in sight.records if (r.target, r.portal) == (thing.target, thing.portal)]
    return any(record.flaw or record.old for record in same)
