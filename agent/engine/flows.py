"""Attach and detach from end to end: resolve, grant, converge, hand over; take back, converge, revoke, forget.

Each stage looks first and does only what is missing, so that a flow may be entered again anywhere: after a crash,
after a failure, or by a caller who asks twice.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Set
from dataclasses import replace
from typing import Any, TypeVar

from agent import timeouts
from agent.cdmi.choose import candidates
from agent.engine.asking import ask_again
from agent.engine.begun import Begun
from agent.engine.converge import Attempt, converge
from agent.engine.desk import Desk, permissions_of, refuse_overtaken, refuse_second_use
from agent.engine.domains import hand_over, take_back
from agent.engine.exporting import ready_or_made
from agent.engine.in_hand import refuse_changing
from agent.engine.ledger import Grant, Row
from agent.engine.losses import note
from agent.engine.permits import grant, host_sight, permit_again, routes_of, to_be_made
from agent.engine.plans import plan_of
from agent.engine.preference import Known, first_usable, may_pass, passed, share, told, with_those_before
from agent.engine.standing import keep, shown, stand, standing, unready
from agent.engine.touched import refuse_touched
from agent.engine.users import users_of
from agent.engine.withdrawing import not_needed, withdraw
from agent.model import Access, Phase
from attachers.base import Context, Goal, Gone, Ready
from attachers.problems import Code, Problem

T = TypeVar("T")
NOT_HERE: Mapping[str, Any] = {"device": None, "verified": False, "handed_out": False, "domains": (), "dead": ()}
"""What the row of an attachment says once nothing of it is left on the host."""
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
    bring_up = _bring_up_again if row.handed_out else _bring_up_one
    reached = await bring_up(desk, row, deadline=deadline)
    if row.request.domain and not row.handed_out:
        await hand_over(desk, name, row.request.domain, deadline=deadline)
    refuse_overtaken(desk, name)
    await stand(desk, name, reached)


async def complete(desk: Desk, name: str, *, whole: bool, deadline: float) -> None:
    """Say what is missing of an attachment that was handed out; with `whole`, bring it up.

    Raises `Problem`: what still is missing.
    """
    reached = await _converge(desk, name, Goal.ATTACHED, deadline=deadline)
    if whole and isinstance(reached, Ready) and reached.missing:
        reached = await _converge(desk, name, Goal.ATTACHED, deadline=deadline, whole=True)
    await stand(desk, name, reached)


async def detach(desk: Desk, name: str, *, deadline: float) -> None:
    """Take one attachment of the ledger down, and forget it. Raises `Problem`; what was refused is as it was."""
    row = desk.ledger.rows[name]
    if row.domains and row.plan is not None:
        await _refuse_other_users(desk, row)
    for given in row.domains:
        await take_back(desk, name, given, deadline=deadline)
    if row.plan is not None and (not row.released or desk.attacher(row.protocol).comes_back):
        await _converge(desk, name, Goal.GONE, deadline=deadline)
    await _revoke(desk, row, deadline=deadline, commit=lambda gone: desk.ledger.forget(name, revoked=gone))


async def look_again(desk: Desk, name: str, *, grow: int, deadline: float) -> None:
    """Look at an attachment that stands, and have its size read again: at least `grow` bytes. Raises `Problem`."""
    await _converge(desk, name, Goal.ATTACHED, deadline=deadline, grow=grow)


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
                row = await _within(desk, deadline, _resolve(desk, row, deadline=deadline))
            elif desk.attacher(row.protocol).asks_again:  # a plan of an earlier life: perhaps of before a reboot
                export = await _within(desk, deadline, ask_again(desk, row))
                row = await _within(desk, deadline, permit_again(desk, row, export))
            return await _bring_up(desk, row, deadline=share(row, now=desk.host.now(), deadline=deadline))
        except Problem as problem:
            row = desk.ledger.rows[row.name]
            if row.goal is not Goal.ATTACHED or not may_pass(row, problem):
                raise with_those_before(row, problem) from problem
            row = await _pass_over(desk, row, problem)


async def _pass_over(desk: Desk, row: Row, problem: Problem) -> Row:
    """Undo a try that failed, and forget its plan, so that another export is chosen. Raises `Problem`."""
    began, limit = desk.host.now(), desk.host.now() + timeouts.UNDO_S
    await _converge(desk, row.name, Goal.GONE, deadline=limit, undo=True)

    async def commit(revoked: list[Grant]) -> None:
        refuse_overtaken(desk, row.name)
        await desk.ledger.change(row.name, passed=passed(row, problem), revoked=revoked, **UNPLANNED)

    await _revoke(desk, row, deadline=limit, commit=commit, undo=True)
    desk.ended(row.name, f"pass over {row.protocol} ({row.key})", "PassOver", began, problem.detail)
    return desk.ledger.rows[row.name]


async def _bring_up(desk: Desk, row: Row, *, deadline: float) -> Ready | Gone:
    """Converge, and get this host permitted meanwhile. The request to the server is at its end when this returns.

    What may come by itself as soon as the server lets it come is said to be ours before the server is asked.
    """
    due = asyncio.Event()
    permission = asyncio.create_task(_permission(desk, row, due, deadline=deadline))
    if not desk.attacher(row.protocol).comes_back:
        due.set()
    try:
        reached = await _converge(desk, row.name, Goal.ATTACHED, deadline=deadline, permission=permission, due=due)
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
    await _within(desk, deadline, grant(desk, row))


async def _bring_up_again(desk: Desk, row: Row, *, deadline: float) -> Ready | Gone:
    """Converge; where a target refuses what it once let in, another writer has undone our grant: make it again."""
    try:
        return await _again(desk, row, deadline=deadline)
    except Problem as problem:
        if problem.code is not Code.TARGET_REFUSED:
            raise
        await _within(desk, deadline, grant(desk, row))
        return await _again(desk, row, deadline=deadline)


async def _again(desk: Desk, row: Row, *, deadline: float) -> Ready | Gone:
    """Converge; what has no name of its own is asked for on its server once more, unless it stands as it is."""
    if not desk.attacher(row.protocol).asks_again:
        return await _converge(desk, row.name, Goal.ATTACHED, deadline=deadline)
    due = asyncio.Event()

    async def asked() -> None:
        await due.wait()
        export = await _within(desk, deadline, ask_again(desk, row))
        await _within(desk, deadline, permit_again(desk, row, export))

    answer = asyncio.create_task(asked())
    try:
        return await _converge(
            desk, row.name, Goal.ATTACHED, deadline=deadline, permission=answer, due=due, stands=True
        )
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
        await _within(desk, deadline, withdraw(desk, row, revoked))
        if row.plan is not None and desk.attacher(row.protocol).comes_back:
            await _converge(desk, row.name, Goal.GONE, deadline=deadline, withdrawn=True, undo=undo)
        await commit(revoked)


async def _converge(
    desk: Desk,
    name: str,
    goal: Goal,
    *,
    deadline: float,
    permission: asyncio.Task[None] | None = None,
    due: asyncio.Event | None = None,
    stands: bool = False,
    withdrawn: bool = False,
    whole: bool = False,
    grow: int | None = None,
    undo: bool = False,
) -> Ready | Gone:
    row = desk.ledger.rows[name]
    assert row.plan is not None

    return await converge(
        desk.host,
        desk.locks,
        Attempt(
            goal=goal,
            attacher=desk.attacher(row.protocol),
            plan=row.plan,
            name=name,
            deadline=deadline,
            context=lambda attempt: _context(desk, row, attempt, withdrawn=withdrawn, whole=whole, grow=grow),
            finish=lambda reached: _finish(desk, name, goal, reached),
            began=lambda step: desk.began(name, step.describe()),
            ended=lambda step, began, outcome: desk.ended(name, step.describe(), type(step).__name__, began, outcome),
            uncertain=lambda: desk.ledger.change(name, phase=Phase.UNCERTAIN),
            unready=lambda next_: unready(desk, name, goal, next_, grows=grow is not None),
            keep=lambda values: keep(desk, name, values),
            intended=lambda step: note(desk, name, step),
            overtaken=lambda: not undo and desk.ledger.rows[name].goal is not goal,
            permission=permission,
            due=due or asyncio.Event(),
            stands=stands,
            tick_s=timeouts.CALM_TICK_S if whole else timeouts.TICK_S,
            begun=desk.begun.setdefault(name, Begun()),
        ),
    )


def _context(desk: Desk, row: Row, attempt: Attempt, *, withdrawn: bool, whole: bool, grow: int | None) -> Context:
    return Context(
        name=row.name,
        read_only=row.request.access is Access.RO,
        needed=desk.needed_by_others(row.name),
        done=tuple(attempt.tried.done),
        failed=attempt.tried.failed,
        unsure=frozenset(attempt.tried.unsure),
        under_way=attempt.begun.steps,
        min_paths=row.request.min_paths,
        whole=whole,
        wwid=row.device.wwid if row.device and row.handed_out else None,
        owner=desk.settings.owner,
        allow_unverified=desk.settings.allow_unverified,
        trust_local=desk.settings.trust_local,
        withdrawn=withdrawn,
        chap=row.server if row.server in desk.settings.chap else "",
        iface=desk.settings.iface,
        grow=grow,
        stood=row.handed_out,
        used=row.device is not None or row.handed_out,
        force=bool(desk.ledger.rows[row.name].forced),
    )


async def _finish(desk: Desk, name: str, goal: Goal, reached: Ready | Gone) -> None:
    """Write down where an attachment has come to; with nobody left to hand it to, at once that it may be used."""
    now = desk.ledger.rows[name]
    if isinstance(reached, Gone):
        if now.goal is goal:  # else another way to it is tried next
            await desk.ledger.change(name, **NOT_HERE, released=True)
    elif now.goal is not goal or now.domains or (now.request.domain and not now.handed_out):
        await desk.ledger.change(name, **shown(reached))
    else:
        await desk.ledger.change(name, **shown(reached), **standing(reached))


async def _within(desk: Desk, deadline: float, work: Coroutine[Any, Any, T]) -> T:
    """Bound work on the CDMI side by the request's deadline; the client has its own, shorter limits for each call."""
    try:
        async with asyncio.timeout(max(deadline - desk.host.now(), 0.0)):
            return await work
    except TimeoutError:
        raise Problem(
            Code.CDMI_UNREACHABLE,
            "the CDMI server did not answer before the request's deadline",
            hint="give more time (timeout_s), and see whether the server is well",
            status=504,
        ) from None
