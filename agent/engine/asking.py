"""Whether an object is still where it was when it was attached, as its CDMI server says: asked before a hand-out anew.

A file has no name of its own in it: that the same file lies at the same path says nothing of whose it is by now.
"""

from collections.abc import Mapping
from typing import Any

from agent.engine.desk import Desk
from agent.engine.ledger import Row
from agent.model import Resolved, SeenExport
from attachers.problems import Code, Problem

PLACE = ("export", "path")
"""What of a plan says where a file is. (The address of its server is one of several, perhaps: see `networks`.)"""


async def ask_again(desk: Desk, row: Row) -> SeenExport:
    """Ask for the object, by its ID where it has one. Returns its export at the place of the plan.

    Raises `Problem`: wrong-device where it is another, or elsewhere; not-found, cdmi-unreachable, no-usable-export
    where the server does not say so just now.
    """
    async with desk.noted(row.name, f"ask for {row.uri} again", "Ask"):
        resolved = await desk.cdmi.resolve(row.uri)
        if resolved.object_id.casefold() != row.object_id.casefold():
            what = f"the server has {resolved.object_id or 'an object without an ID'} at {row.uri}, not {row.object_id}"
            raise Problem(Code.WRONG_DEVICE, what, hint="detach it, and attach the object that is meant")
        return _at_its_place(row, resolved)


def _at_its_place(row: Row, resolved: Resolved) -> SeenExport:
    seen = [one for one in resolved.exports if one.protocol == row.protocol]
    places = [(one, _place(one.plan)) for one in seen if one.plan is not None]
    if there := [one for one, place in places if place == _place(row.plan or {})]:
        return next((one for one in there if (one.at, one.key) == (row.at, row.key)), there[0])
    if places:
        now = " or ".join(f"{path} in {export}" for _, (export, path) in places)
        export, path = _place(row.plan or {})
        what = f"the server has the object at {now} by now, not at {path} in {export}"
        raise Problem(Code.WRONG_DEVICE, what, hint="detach it, then attach it again")
    why = "; ".join(one.reason for one in seen) or f"the object has no {row.protocol} export any more"
    hint = next((one.hint for one in seen if one.hint), "let the server export the object again")
    raise Problem(Code.NO_USABLE_EXPORT, why, hint=hint)


def _place(plan: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(plan.get(name, "")) for name in PLACE)
