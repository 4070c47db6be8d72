"""What nobody asks for any more: what was made here and no attachment needs, and what it is known by.

Nothing is remembered for it: what was made is in the helper's record, what is needed in the daemon's ledger, and a
leftover is the difference. What others have left is told as well, and never touched.
"""

import hashlib
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Any

from agent.engine.converge import observe
from agent.engine.desk import Desk
from agent.engine.ledger import Grant, Row
from attachers import checks, fc, iscsi, unit_names
from attachers.base import Device, Goal
from attachers.nfs_share import MOUNTS, Share
from attachers.sights import Dead, IscsiQuery, Made, RecordQuery, RecordSight, ScsiQuery, ScsiSight
from attachers.steps import DEVICES

MAP_KINDS = frozenset({"announced", "map", "listed"})
UNIT_KINDS = frozenset({"device", "owned", "borrowed"})
NEXUS_KINDS = frozenset({"session", "record"})
_SOURCE = "leftover: "


@dataclass(frozen=True, slots=True)
class Unit:
    """A logical unit, or a session without one, that was made here: the plan by which it is taken down as any other.

    `name` is what it was handed out as, empty where it was not. `keys` is what it uses (`Attacher.needs`).
    """

    protocol: str
    plan: dict[str, Any]
    keys: frozenset[str]
    device: Device | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One leftover: `what` in words, `things` it is made of; `why` it is not taken away (empty: it may be).

    What takes it away is one of `unit`, `link` (a name), `share`, `grant`.
    """

    kind: str
    what: str
    things: tuple[str, ...]
    ours: bool = True
    why: str = ""
    users: tuple[str, ...] = ()
    unit: Unit | None = None
    link: str = ""
    share: Share | None = None
    grant: Grant | None = None

    @property
    def id(self) -> str:
        """What it is called: the same as long as it is the same."""
        return hashlib.sha256("\n".join((self.kind, self.what, *self.things)).encode()).hexdigest()[:12]

    def view(self) -> dict[str, Any]:
        """As docs/api.md has it."""
        told = {"id": self.id, "kind": self.kind, "what": self.what, "things": list(self.things), "ours": self.ours}
        return told | {"users": list(self.users), "cleanable": not self.why, "why": self.why or None}


def source_of(item: Item) -> str:
    """What stands for the source of a leftover that is being taken away."""
    return f"{_SOURCE}{item.what}"


def is_one(row: Row) -> bool:
    """Whether a row of the ledger is a leftover that is being taken away."""
    return row.request.source.startswith(_SOURCE)


async def find(desk: Desk) -> tuple[list[Item], int]:
    """All leftovers, and how many more there are. Changes nothing. Raises `Problem` where the helper is away."""
    sight = await observe(desk.host, RecordQuery())
    assert isinstance(sight, RecordSight)
    made = [one for one in sight.made if not _is_needed(one, needed(desk), desk.ledger.rows.keys())]
    items = await _units(desk, made)
    in_units = {thing for item in items for thing in item.things}
    rest = [one for one in made if _words(one) not in in_units]
    items += [item for one in rest if (item := _alone(one, made))]
    items += [_permission(one) for one in sorted(desk.ledger.grants, key=str) if not desk.grant_is_needed(one, "")]
    return [*items, *map(_dead, sight.dead)], sight.more


def needed(desk: Desk) -> Set[str]:
    """What attachments need, or may still have here: also those that are to go, and have not gone yet."""
    return {key for row in desk.ledger.rows.values() if row.plan is not None for key in desk.needs_of(row)}


def _is_needed(made: Made, keys: Set[str], names: Iterable[str]) -> bool:
    return bool(_keys(made) & keys) or (made.kind == "link" and made.name in names)


def _keys(made: Made) -> frozenset[str]:
    """The keys of a thing, as the attachers spell them."""
    nexus = f"{made.target}@{made.portal}"
    fibre = checks.is_wwpn(made.target)
    match made.kind:
        case "record" | "session":
            return frozenset({f"record:{nexus}", f"session:{nexus}"})
        case "device":
            return frozenset({f"lun:{made.target if fibre else nexus}#{checks.lun_of(made.hctl)}"})
        case "owned" | "borrowed":
            return frozenset({f"lun:{made.target}#{made.name}", f"own:{made.target}#{made.name}"})
        case "mount":
            return frozenset({f"mount:{Share.of(made.target, made.portal).point}"})
        case "link" if made.target:
            return frozenset({f"file:{made.target}"})
        case _:
            return frozenset({f"wwid:{made.wwid or made.name}"})


def _words(made: Made) -> str:
    """One thing, for people and for scripts."""
    parts = (made.name, made.target, made.portal, made.hctl, made.wwid)
    return " ".join((made.kind, *(part for part in parts if part)))


# Logical units, and the sessions that lead to them.


async def _units(desk: Desk, made: list[Made]) -> list[Item]:
    nexuses = {(one.target, _number(one)) for one in made if one.kind in UNIT_KINDS}
    bare = {one.target for one in made if one.kind in NEXUS_KINDS} - {target for target, _ in nexuses}
    found = [await _unit(desk, made, target, lun) for target, lun in sorted(nexuses)]
    return found + [_session(made, target) for target in sorted(bare)]


def _number(made: Made) -> int:
    return checks.lun_of(made.hctl) if made.kind == "device" else int(made.name)


async def _unit(desk: Desk, made: list[Made], target: str, lun: int) -> Item:
    """A LUN at a target (behind Fibre Channel: at a target port), as it answers now."""
    mine = [one for one in made if one.target == target and (one.kind in NEXUS_KINDS or _is_at(one, lun))]
    portals = tuple(sorted({one.portal for one in mine if one.portal and one.kind != "borrowed"}))
    kind = fc if checks.is_wwpn(target) else iscsi
    bare: dict[str, Any] = {"targets": [target], "portals": list(portals) or ["0.0.0.0:3260"], "target": target}
    bare |= {"lun": lun, "wwid": None}
    query = kind.query("none", bare, goal=Goal.GONE)
    assert isinstance(query, ScsiQuery)
    sight = await _seen(desk, query)
    names = frozenset[str]().union(*(path.designators for path in sight.paths))
    wwid = unit_names.main(names)
    if wwid:  # by its name, its map is found as well, and who has that open
        sight = await _seen(desk, replace(query, wwid=wwid))
    links = [one for one in made if one.kind == "link" and one.wwid in names]
    maps = [one for one in made if one.kind in MAP_KINDS and one.wwid in names]
    plan = bare | {"wwid": wwid} | ({"multipath": True} if maps and wwid else {})
    paths = [path for path in sight.paths if path.node]
    device = None
    if paths and wwid:
        device = Device("block", f"{DEVICES}/{wwid}", str(paths[0].node), wwid, paths[0].size, paths[0].read_only)
    held = [*(path.holders for path in sight.paths), sight.map.holders if sight.map else (), sight.users]
    users = tuple(dict.fromkeys(user for users in held for user in users or ()))
    things = tuple(dict.fromkeys(map(_words, [*mine, *links, *maps])))
    unit = Unit(kind.protocol, plan, kind.needs(plan), device, links[0].name if links else "")
    why = _why_not(sight, wwid, users, unit, made)
    return Item(
        "unit", f"LUN {lun} of {target}" + (f" ({wwid})" if wwid else ""), things, why=why, users=users, unit=unit
    )


async def _seen(desk: Desk, query: ScsiQuery) -> ScsiSight:
    sight = await observe(desk.host, replace(query, holders=True))
    assert isinstance(sight, ScsiSight)
    return sight


def _is_at(made: Made, lun: int) -> bool:
    return made.kind in UNIT_KINDS and _number(made) == lun


def _why_not(sight: ScsiSight, wwid: str | None, users: tuple[str, ...], unit: Unit, made: list[Made]) -> str:
    """Why it stays, in words; empty where it may go. All of it is judged once more while it is taken down."""
    if users:
        return f"in use by {', '.join(users)}"
    if foreign := [path.hctl for path in sight.paths if not path.ours]:
        return f"{', '.join(foreign)} was not made here"
    if sight.paths and any(wwid not in path.designators for path in sight.paths):
        return "which unit it is cannot be proved: " + (sight.paths[0].inquiry_error or "its paths say different names")
    if any(one.kind == "unwritten" and one.name in {wwid} for one in made):
        return "what was written may not have been written out (dirty): attach it, and detach it by force"
    return ""


def _session(made: list[Made], target: str) -> Item:
    """Sessions and node records of a target, with no LUN of ours behind them. What else is behind them stays."""
    mine = [one for one in made if one.kind in NEXUS_KINDS and one.target == target]
    portals = sorted({one.portal for one in mine})
    plan = {"target": target, "portals": portals, "lun": checks.MAX_LUN, "wwid": None}
    query = IscsiQuery("none", target, tuple(portals), checks.MAX_LUN)
    unit = Unit(iscsi.protocol, plan, iscsi.needs(plan))
    return Item("session", f"{target} at {', '.join(query.portals)}", tuple(map(_words, mine)), unit=unit)


# Everything else.


def _alone(made: Made, all_made: list[Made]) -> Item | None:
    match made.kind:
        case "link":
            return Item("link", f"the link {made.name}", (_words(made),), link=made.name)
        case "mount":
            share = Share.of(made.target, made.portal)
            disks = [one for one in all_made if one.kind == "disk" and one.target == made.target]
            why = "a disk is made of a file in it" if disks else ""
            return Item("mount", f"{share.source} at {MOUNTS}", (_words(made),), why=why, share=share)
        case "disk":
            why = "its file is not known any more: see targetcli, and remove the backstore when nobody uses it"
            return Item("disk", f"{made.wwid} of a file in {made.target}", (_words(made),), why=why)
        case _:
            return Item(made.kind, _words(made), (_words(made),), why="it goes with its disks, or when they come again")


def _permission(grant: Grant) -> Item:
    return Item("permission", f"{grant.initiator} in {grant.key} of {grant.uri}", (), grant=grant)


def _dead(dead: Dead) -> Item:
    why = "not made here: " + ("something is stacked upon it" if dead.used else "whoever made it takes it away")
    return Item(dead.kind, f"{dead.node} {dead.hctl}".strip() + f": {dead.says}", (), ours=False, why=why)
