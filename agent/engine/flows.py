"""Attach and detach from end to end: resolve, grant, converge, hand over; take back, converge, revoke, forget.

Each stage looks first and does only what is missing, so that a flow may be entered again anywhere: after a crash,
after a failure, or by a caller who asks twice.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Set
from dataclasses import replace
from typing import Any

from agent import timeouts
from agent.cdmi.choose import candidates
from agent.engine.asking import ask_again
from agent.engine.desk import Desk, permissions_of, refuse_overtaken, refuse_second_use
from agent.engine.domains import hand_over, take_back
from agent.engine.exporting import ready_or_made
from agent.engine.in_hand import refuse_changing
from agent.engine.ledger import Former, Grant, Row
from agent.engine.moving import FAILS, find_again, may_move
from agent.engine.pause import within
from agent.engine.permits import (
    boot_id_of,
    grant,
    grant_again,
    host_sight,
    insist_on_boot,
    permit_again,
    routes_of,
    to_be_made,
)
from agent.engine.plans import plan_of
from agent.engine.preference import Known, first_usable, may_pass, passed, share, told, with_those_before
from agent.engine.reaching import reach, reach_former
from agent.engine.standing import stand
from agent.engine.touched import refuse_touched
from agent.engine.users import users_of
from agent.engine.withdrawing import not_needed, withdraw
from agent.engine.withdrawn import WithdrawnError
from agent.model import Phase
from attachers.base import Goal, Gone, Ready
from attachers.problems import Code, Problem

log = logging.getLogger(__name__)
UNPLANNED: Mapping[str, Any] = {
    "plan": None,
    "protocol": "",
    "key": "",
    "others": 0,
    "at": "",
    "permits": (),
    "phase": Phase.ATTACHING,
}
"""What it says while no way to the object is chosen."""


async def attach(desk: Desk, name: str, *, deadline: float) -> None:
    """Bring one attachment of the ledger up. `deadline` is on the host's clock. Raises `Problem`; undoes nothing."""
    row = desk.ledger.rows[name]
    if not (row.seen or row.handed_out):
        deadline += await insist_on_boot(desk, row)
    bring_up = _bring_up_again if row.handed_out else _bring_up_one
    reached = await bring_up(desk, row, deadline=deadline)
    if row.request.domain and not row.handed_out:
        await hand_over(desk, name, row.request.domain, deadline=deadline)
    refuse_overtaken(desk, name)
    await stand(desk, name, reached)
    await _leave_in_time(desk, name, deadline=deadline)


async def complete(desk: Desk, name: str, *, whole: bool, deadline: float) -> None:
    """Say what is missing of an attachment that was handed out; with `whole`, bring it up.

    Raises `Problem`: what still is missing.
    """
    reached = await reach(desk, name, Goal.ATTACHED, deadline=deadline)
    if whole and isinstance(reached, Ready) and reached.missing:
        reached = await _whole(desk, name, deadline=deadline)
    await stand(desk, name, reached)
    await _leave_in_time(desk, name, deadline=deadline)


async def _whole(desk: Desk, name: str, *, deadline: float) -> Ready | Gone:
    """Bring up every path; where one is not to be had for half of the time, as the server says by now."""
    half = desk.host.now() + (deadline - desk.host.now()) / 2
    try:
        reached = await reach(desk, name, Goal.ATTACHED, deadline=half, steps_until=deadline, whole=True)
        if not (isinstance(reached, Ready) and reached.missing and await _has_moved(desk, name, deadline=deadline)):
            return reached
    except Problem as problem:
        if problem.code not in FAILS or not await _has_moved(desk, name, deadline=deadline):
            raise
    return await _bring_up(desk, desk.ledger.rows[name], deadline=deadline, whole=True)


async def detach(desk: Desk, name: str, *, deadline: float) -> None:
    """Take one attachment of the ledger down, and forget it. Raises `Problem`; what was refused is as it was."""
    row = desk.ledger.rows[name]
    if row.domains and row.plan is not None:
        await _refuse_other_users(desk, row)
    for given in row.domains:
        await take_back(desk, name, given, deadline=deadline)
    await _leave(desk, name, deadline=deadline)
    if row.plan is not None and (not row.released or desk.attacher(row.protocol).comes_back):
        await reach(desk, name, Goal.GONE, deadline=deadline)
    await _revoke(desk, row, deadline=deadline, commit=lambda gone: desk.ledger.forget(name, revoked=gone))


async def _leave(desk: Desk, name: str, *, deadline: float) -> None:
    """Take down what the plans before this one have left, and take back what was permitted for them alone.

    Raises `Problem`: what stays, and is written down.
    """
    for former in desk.ledger.rows[name].former:
        try:
            await reach_former(desk, name, former, deadline=deadline)
            await _forget_former(desk, name, former, deadline=deadline)
        except Problem as problem:
            told = [replace(one, why=problem.detail) if one == former else one for one in _former(desk, name)]
            await desk.ledger.change(name, former=tuple(told))
            raise


async def _forget_former(desk: Desk, name: str, former: Former, *, deadline: float) -> None:
    async def commit(revoked: list[Grant]) -> None:
        left = tuple(one for one in _former(desk, name) if one != former)
        await desk.ledger.change(name, former=left, revoked=revoked)

    row = desk.ledger.rows[name]
    ways = {(row.granted_at, row.key), *((one.uri, one.key) for one in _former(desk, name) if one != former)}
    if (former.uri, former.key) in ways:
        await commit([])
    else:
        of_it = replace(row, uri=former.uri, at="", key=former.key, protocol=former.protocol, plan=None)
        await _revoke(desk, of_it, deadline=deadline, commit=commit)


def _former(desk: Desk, name: str) -> tuple[Former, ...]:
    return desk.ledger.rows[name].former


async def _leave_in_time(desk: Desk, name: str, *, deadline: float) -> None:
    """The same for a while, when the new place is in use already: what stays is tried again by and by."""
    limit = min(deadline, desk.host.now() + timeouts.LEAVE_S)
    try:
        await _leave(desk, name, deadline=limit)
    except Problem as problem:
        log.warning("left where it was before: %s", problem.detail)


async def look_again(desk: Desk, name: str, *, grow: int, deadline: float) -> None:
    """Look at an attachment that stands, and have its size read again: at least `grow` bytes. Raises `Problem`."""
    await reach(desk, name, Goal.ATTACHED, deadline=deadline, grow=grow)


async def _refuse_other_users(desk: Desk, row: Row) -> None:
    """Before a domain loses the disk: somebody else has it open, so that the detach would be refused in the end.

    Not asked for a LUN that other attachments need: its users may be theirs, and it stays. Raises `Problem` (`in-use`).
    """
    needs, needed = desk.attacher(row.protocol).needs(row.plan or {}), desk.needed_by_others(row.name)
    if any(key.startswith(("lun:", "file:")) and key in needed for key in needs):
        return
    try:
        found = await users_of(desk, row)
    except Problem as problem:
        if problem.code is Code.UNAVAILABLE:
            return  # taking the disk back waits for the helper, and removing it asks once more
        raise
    domains = {f"domain {given.name}" for given in row.domains}
    users = [user for user in found if user.partition(" (")[0] not in domains]
    if users:
        detail = f"the disk is in use by {', '.join(users)}"
        raise Problem(Code.IN_USE, detail, hint="stop or detach the user of the disk, then try again")


async def _bring_up_one(desk: Desk, row: Row, *, deadline: float) -> Ready | Gone:
    """The first way to the disk, in the order of preference, that does not fail; those that do are undone."""
    while True:
        try:
            if row.plan is None:
                row = await within(desk, deadline, _resolve(desk, row, deadline=deadline))
            elif desk.attacher(row.protocol).asks_again:  # a plan of an earlier life: perhaps of before a reboot
                export = await within(desk, deadline, ask_again(desk, row))
                row = await within(desk, deadline, permit_again(desk, row, export))
            return await _bring_up(desk, row, deadline=share(row, now=desk.host.now(), deadline=deadline))
        except Problem as problem:
            row = desk.ledger.rows[row.name]
            if row.goal is not Goal.ATTACHED or not may_pass(row, problem):
                raise with_those_before(row, problem) from problem
            row = await _pass_over(desk, row, problem)


async def _pass_over(desk: Desk, row: Row, problem: Problem) -> Row:
    """Undo a try that failed, and forget its plan, so that another export is chosen. Raises `Problem`."""
    began, limit = desk.host.now(), desk.host.now() + timeouts.UNDO_S
    await reach(desk, row.name, Goal.GONE, deadline=limit, undo=True)

    async def commit(revoked: list[Grant]) -> None:
        refuse_overtaken(desk, row.name)
        await desk.ledger.change(row.name, passed=passed(row, problem), revoked=revoked, **UNPLANNED)

    await _revoke(desk, row, deadline=limit, commit=commit, undo=True)
    desk.ended(row.name, f"pass over {row.protocol} ({row.key})", "PassOver", began, problem.detail)
    return desk.ledger.rows[row.name]


async def _bring_up(desk: Desk, row: Row, *, deadline: float, whole: bool = False) -> Ready | Gone:
    """Converge, and get this host permitted meanwhile. The request to the server is at its end when this returns.

    What may come by itself as soon as the server lets it come is said to be ours before the server is asked.
    """
    due = asyncio.Event()
    permission = asyncio.create_task(_permission(desk, row, due, deadline=deadline))
    if not desk.attacher(row.protocol).comes_back:
        due.set()
    try:
        reached = await reach(
            desk, row.name, Goal.ATTACHED, deadline=deadline, permission=permission, due=due, whole=whole
        )
        due.set()
        await permission
        return reached
    except asyncio.CancelledError:
        permission.cancel()
        raise
    finally:
        if not due.is_set():
            permission.cancel()
        await asyncio.wait({permission})
        if not permission.cancelled():
            permission.exception()  # told by `converge`, unless something else went wrong before


async def _permission(desk: Desk, row: Row, due: asyncio.Event, *, deadline: float) -> None:
    await due.wait()
    await within(desk, deadline, grant(desk, row))


async def _bring_up_again(desk: Desk, row: Row, *, deadline: float) -> Ready | Gone:
    """Converge; where that fails, or the host was booted since, the server is asked where the unit is by now."""
    boot_id = await boot_id_of(desk)
    if boot_id and row.boot_id not in ("", boot_id) and await _has_moved(desk, row.name, deadline=deadline):
        return await _bring_up(desk, desk.ledger.rows[row.name], deadline=deadline)
    reached = await _where_it_is(desk, row, deadline=deadline)
    await desk.ledger.change(row.name, boot_id=boot_id or row.boot_id)
    return reached


async def _where_it_is(desk: Desk, row: Row, *, deadline: float) -> Ready | Gone:
    """Converge by the plan that there is; where that is in vain for half of the time, by another one, if there is."""
    if not may_move(row):
        return await _permitted_again(desk, row, deadline=deadline)
    half = desk.host.now() + (deadline - desk.host.now()) / 2
    try:
        return await _permitted_again(desk, row, deadline=half, steps_until=deadline)
    except Problem as problem:
        in_time = desk.host.now() < half
        if problem.code not in FAILS:
            raise
        if await _has_moved(desk, row.name, deadline=deadline):
            return await _bring_up(desk, desk.ledger.rows[row.name], deadline=deadline)
        if in_time:
            raise
        await _make_good(desk, row, deadline=deadline)
    return await _permitted_again(desk, row, deadline=deadline)


async def _make_good(desk: Desk, row: Row, *, deadline: float) -> None:
    """Be permitted as the ledger intends: a crash, or a server that was away, may have come between."""
    try:
        await within(desk, min(deadline, desk.host.now() + timeouts.ASK_S), grant_again(desk, row))
    except WithdrawnError:
        raise
    except Problem as problem:
        log.warning("permitted once more, in vain: %s", problem.detail)


async def _has_moved(desk: Desk, name: str, *, deadline: float) -> bool:
    """Ask the server; whether there is another plan now. One that does not answer has nothing against the old one."""
    row = desk.ledger.rows[name]
    if not may_move(row):
        return False
    try:
        return await within(desk, min(deadline, desk.host.now() + timeouts.ASK_S), find_again(desk, row))
    except WithdrawnError:
        raise
    except Problem as problem:
        log.warning("asked where it is by now, in vain: %s", problem.detail)
        return False


async def _permitted_again(desk: Desk, row: Row, *, deadline: float, steps_until: float = 0.0) -> Ready | Gone:
    """Converge; where a target refuses what it once let in, another writer has undone our grant: make it again."""
    try:
        return await _again(desk, row, deadline=deadline, steps_until=steps_until)
    except Problem as problem:
        if problem.code is not Code.TARGET_REFUSED:
            raise
        await within(desk, deadline, grant_again(desk, row))
        return await _again(desk, row, deadline=deadline, steps_until=steps_until)


async def _again(desk: Desk, row: Row, *, deadline: float, steps_until: float) -> Ready | Gone:
    """Converge; what has no name of its own is asked for on its server once more, unless it stands as it is."""
    if not desk.attacher(row.protocol).asks_again:
        return await reach(desk, row.name, Goal.ATTACHED, deadline=deadline, steps_until=steps_until)
    due = asyncio.Event()

    async def asked() -> None:
        await due.wait()
        export = await within(desk, deadline, ask_again(desk, row))
        await within(desk, deadline, permit_again(desk, row, export))

    answer = asyncio.create_task(asked())
    try:
        return await reach(desk, row.name, Goal.ATTACHED, deadline=deadline, permission=answer, due=due, stands=True)
    finally:
        answer.cancel()
        await asyncio.wait({answer})
        if not answer.cancelled():
            answer.exception()  # told by `converge`


async def _resolve(desk: Desk, row: Row, *, deadline: float) -> Row:
    """Find the object, choose an export, and commit the plan together with the intent to grant.

    Again where the object, or what it is in, was changed here since it was read.
    """
    while True:
        with desk.touched.watch() as touched:
            if planned := await _plan(desk, row, touched, deadline=deadline):
                return planned


async def _plan(desk: Desk, row: Row, touched: Set[str], *, deadline: float) -> Row | None:
    granted = set(desk.ledger.grants)
    sight = asyncio.create_task(host_sight(desk))  # both take a while
    try:
        async with desk.noted(row.name, f"resolve {row.request.source}", "Resolve"):
            keys = [one.key for one in row.passed]
            resolved, export = await ready_or_made(desk, row, deadline=deadline, passed=keys)
        usable = first_usable(desk, row, resolved, export, Known(await sight, await routes_of(desk, resolved)))
        export, over = usable.export, usable.over
        plan = await plan_of(export.protocol, usable.plan, row.request, desk.settings)
    finally:
        sight.cancel()
        await asyncio.gather(sight, return_exceptions=True)
    found: dict[str, Any] = {
        "server": resolved.server,
        "uri": resolved.uri,
        "object_id": resolved.object_id,
        "key": export.key,
        "protocol": export.protocol,
        "plan": plan,
        "note": "; ".join(part for part in (usable.note, told(over)) if part),
        "passed": over,
        "others": len(candidates(resolved, row.request.protocols, passed=[one.key for one in over])) - 1,
        "boot_id": (await sight).boot_id,
        "places": resolved.places,
        "over": resolved.over,
        "at": export.at,
        "permits": usable.permits.names if export.hosts is not None else (),
    }
    known = resolved.keys.union(resolved.over)
    where = export.at or resolved.uri
    async with desk.locks.hold(map(permissions_of, {resolved.uri, where})):  # so that nobody revokes what we count on
        grants = to_be_made(where, export.key, usable.permits, granted | desk.ledger.grants)
        async with desk.locks.hold(["admission"]):  # so that of two at once, one is refused
            refuse_touched(desk.touched, known, f"source: {resolved.uri}")
            refuse_changing(desk, known, f"source: {resolved.uri}", begun=True)
            if known & touched:
                return None
            refuse_second_use(desk, replace(row, **found))
            return await desk.ledger.change(row.name, grants=grants, **found)


async def _revoke(
    desk: Desk,
    row: Row,
    *,
    deadline: float,
    commit: Callable[[list[Grant]], Coroutine[Any, Any, None]],
    undo: bool = False,
) -> None:
    """Take back what we granted on this object, unless another attachment here relies on it; then commit that.

    Under one lock: of two that leave at once, the second has to see that the first is gone. What may come back by
    itself is looked for once more before the commit, since it can return for as long as the server shows it.
    """
    async with desk.locks.hold(map(permissions_of, {row.uri, row.granted_at} if row.granted_at else ())):
        revoked = not_needed(desk, row)
        await within(desk, deadline, withdraw(desk, row, revoked))
        if row.plan is not None and desk.attacher(row.protocol).comes_back:
            await reach(desk, row.name, Goal.GONE, deadline=deadline, withdrawn=True, undo=undo)
        await commit(revoked)
