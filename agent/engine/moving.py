"""A plan is not for ever: the server is asked again where a unit is, and the same unit elsewhere is a new plan.

Only what has a name of its own can be found again: a logical unit. Whatever the server says, the new plan leads to the
very unit that was handed out, or nowhere: it is proved by that name on every path (attach.md, case 83).
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from agent.cdmi.choose import candidates
from agent.engine.desk import Desk, permissions_of, refuse_overtaken, refuse_second_use
from agent.engine.in_hand import refuse_changing
from agent.engine.ledger import Former, Row
from agent.engine.permits import host_sight, permits_of, to_be_made
from agent.engine.plans import place_of, plan_of
from agent.engine.touched import refuse_touched
from agent.engine.withdrawn import refuse_taken, refuse_withdrawn
from agent.model import Resolved, SeenExport
from attachers import fc, iscsi
from attachers.problems import Code, Problem
from attachers.sights import HostSight

BY_NAME = (iscsi.protocol, fc.protocol)
"""The protocols whose plans name a logical unit."""
FAILS = frozenset({Code.TARGET_REFUSED, Code.TARGET_TIMEOUT, Code.DEVICE_TIMEOUT, Code.WRONG_DEVICE})
"""What may be because the unit is elsewhere by now. A name of its own that says `conflict`, say, is not."""


def may_move(row: Row) -> bool:
    """Whether the server may be asked again where it is: what was handed out has a name."""
    return row.handed_out and row.protocol in BY_NAME and unit_of(row) is not None


def unit_of(row: Row) -> str | None:
    """The name of the logical unit that was handed out: as the export says it, else as the disk itself does."""
    said: str | None = (row.plan or {}).get("wwid")
    return said or (row.device.wwid if row.device else None)


async def find_again(desk: Desk, row: Row) -> bool:
    """Ask the server where the unit is by now. Returns whether it is elsewhere: then that is the plan, committed.

    The plan before it is kept, for what it made here, together with the intent to be permitted at the new place. Raises
    `Problem`: the server does not answer, or has another object there, or the place belongs to another attachment here.
    """
    with desk.touched.watch() as touched:
        async with desk.noted(row.name, f"ask for {row.uri} again", "Ask"):
            resolved = await desk.cdmi.resolve(row.uri)
            _insist_on_object(row, resolved)
        export = _elsewhere(row, resolved)
        if export is None:
            refuse_withdrawn(row, resolved)
            return False
        sight = await host_sight(desk)
        refuse_taken(row, export, sight)
        await _commit(desk, row, resolved, export, sight, touched)
        return True


def _insist_on_object(row: Row, resolved: Resolved) -> None:
    if resolved.object_id.casefold() != row.object_id.casefold():
        what = f"the server has {resolved.object_id or 'an object without an ID'} at {row.uri}, not {row.object_id}"
        raise Problem(Code.WRONG_DEVICE, what, hint="detach it, and attach the object that is meant")


def _elsewhere(row: Row, resolved: Resolved) -> SeenExport | None:
    """The export by which the unit is to be had now; None where it is where it was, or where nothing names it.

    Another entry, or protocol, is taken only where the one that was used is not there any more, or leads nowhere.
    """
    found = [one for one in candidates(resolved, row.request.protocols) if _is_of_unit(row, one)]
    found.sort(key=lambda one: (one.key, one.protocol) != (row.key, row.protocol))
    first = next(iter(found), None)
    if first is None or (first.protocol == row.protocol and place_of(first.plan or {}) == place_of(row.plan or {})):
        return None
    return first


def _is_of_unit(row: Row, export: SeenExport) -> bool:
    known = {unit_of(row), row.device.wwid if row.device else None}
    return export.protocol in BY_NAME and export.plan is not None and export.plan.get("wwid") in {None, *known}


async def _commit(
    desk: Desk,
    row: Row,
    resolved: Resolved,
    export: SeenExport,
    sight: HostSight,
    touched: Set[str],
) -> None:
    plan = {**(export.plan or {}), "wwid": unit_of(row)}
    plan |= {"multipath": True} if (row.plan or {}).get("multipath") else {}  # as it was handed out
    found: dict[str, Any] = {
        "server": resolved.server,
        "uri": resolved.uri,
        "key": export.key,
        "protocol": export.protocol,
        "plan": await plan_of(export.protocol, plan, row.request, desk.settings),
        "boot_id": sight.boot_id,
        "at": export.at,
        "permits": (),
        "let_in": (),
        "places": resolved.places,
        "over": resolved.over,
    }
    known = resolved.keys.union(resolved.over)
    where = export.at or resolved.uri
    async with (
        desk.locks.hold(map(permissions_of, {resolved.uri, where})),
        desk.locks.hold(["admission"]),
    ):
        refuse_touched(desk.touched, known, f"source: {resolved.uri}")
        refuse_changing(desk, known, f"source: {resolved.uri}", begun=True)
        refuse_overtaken(desk, row.name)
        now = desk.ledger.rows[row.name]
        if known & touched or now.plan != row.plan:
            raise Problem(Code.BUSY, f"source: {resolved.uri} was changed meanwhile", hint="it is asked for again")
        refuse_second_use(desk, replace(now, **found))
        permits = permits_of(export, now.request, sight, {})
        grants = to_be_made(where, export.key, permits, desk.ledger.grants)
        former = Former(now.protocol, now.granted_at, now.key, now.plan or {})
        await desk.ledger.change(row.name, grants=grants, former=(former, *now.former), **found)


def left_of(former: Sequence[Former]) -> str:
    """What is said of what plans before this one have left here; empty where nothing is known to be."""
    return "; ".join(
        f"of where it was before ({_words(one)}) something is left: {one.why}" for one in former if one.why
    )


def _words(former: Former) -> str:
    plan = former.plan
    ways = ", ".join(plan.get("portals") or plan.get("targets") or ())
    return f"{former.protocol}, LUN {plan.get('lun')} of {plan.get('target') or ways} at {ways}"
