"""Attach and detach from end to end: resolve, grant, converge, hand over; take back, converge, revoke, forget.

Each stage looks first and does only what is missing, so that a flow may be entered again anywhere: after a crash,
after a failure, or by a caller who asks twice.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from agent.cdmi.choose import choose
from agent.engine.converge import Attempt, converge, observe
from agent.engine.desk import Desk, refuse_second_use
from agent.engine.domains import hand_over, take_back
from agent.engine.ledger import Grant, Row
from agent.model import Access, Phase
from attachers.base import Context, Goal, Gone, Ready
from attachers.problems import Code, Problem
from attachers.sights import HostQuery, HostSight
from attachers.steps import Step

T = TypeVar("T")


async def attach(desk: Desk, name: str, *, deadline: float) -> None:
    """Bring one attachment of the ledger up. `deadline` is on the host's clock. Raises `Problem`; undoes nothing."""
    row = desk.ledger.rows[name]
    if row.plan is None:
        row = await _within(desk, deadline, _resolve(desk, row))
    if not row.handed_out:
        await _within(desk, deadline, _grant(desk, row))
    await _converge(desk, name, Goal.ATTACHED, deadline=deadline)
    if row.request.domain and not row.handed_out:
        await hand_over(desk, name, row.request.domain, deadline=deadline)
    await desk.ledger.change(name, phase=Phase.ATTACHED, handed_out=True, problem=None)


async def detach(desk: Desk, name: str, *, deadline: float) -> None:
    """Take one attachment of the ledger down, and forget it. Raises `Problem`; what was refused is as it was."""
    row = desk.ledger.rows[name]
    if row.request.domain and row.in_domain:
        await take_back(desk, name, row.request.domain, deadline=deadline)
    if row.plan is not None and not row.released:
        await _converge(desk, name, Goal.GONE, deadline=deadline)
    await _within(desk, deadline, _revoke(desk, row))
    await desk.ledger.forget(name)


async def _resolve(desk: Desk, row: Row) -> Row:
    """Find the object, choose an export, and commit the plan together with the intent to grant."""
    async with desk.noted(row.name, f"resolve {row.request.source}", "Resolve"):
        resolved = await desk.cdmi.resolve(row.request.source)
    export = choose(resolved, row.request.protocols)
    grant = None
    if export.permissions is not None:
        initiator = (await host_sight(desk)).initiator_name
        if initiator.lower() not in (p.lower() for p in export.permissions):
            grant = Grant(resolved.uri, export.key, initiator)
    found: dict[str, Any] = {
        "server": resolved.server,
        "uri": resolved.uri,
        "object_id": resolved.object_id,
        "key": export.key,
        "protocol": export.protocol,
        "plan": export.plan,
    }
    async with desk.locks.hold(["admission"]):  # so that of two at once, one is refused
        refuse_second_use(desk, replace(row, **found))
        return await desk.ledger.change(row.name, grant=grant, **found)


async def _grant(desk: Desk, row: Row) -> None:
    """Make good every grant that the ledger intends for this object; idempotent, like the server's side of it."""
    for grant in [g for g in desk.ledger.grants if (g.uri, g.key) == (row.uri, row.key)]:
        what = f"grant {grant.initiator} on {grant.uri}"
        async with desk.locks.hold([f"permissions:{grant.uri}"]), desk.noted(row.name, what, "Grant"):
            await desk.cdmi.grant(grant.uri, grant.key, grant.initiator)


async def _revoke(desk: Desk, row: Row) -> None:
    """Take back what we granted on this object, unless another attachment here relies on it."""
    for grant in [g for g in desk.ledger.grants if (g.uri, g.key) == (row.uri, row.key)]:
        async with desk.locks.hold([f"permissions:{grant.uri}"]):
            if not desk.grant_is_needed(grant, row.name):
                async with desk.noted(row.name, f"revoke {grant.initiator} on {grant.uri}", "Revoke"):
                    await desk.cdmi.revoke(grant.uri, grant.key, grant.initiator)
                await desk.ledger.forget_grant(grant)


async def _converge(desk: Desk, name: str, goal: Goal, *, deadline: float) -> None:
    row = desk.ledger.rows[name]
    assert row.plan is not None

    def context(done: tuple[Step, ...], failed: Mapping[Step, Problem]) -> Context:
        return Context(
            name=name,
            read_only=row.request.access is Access.RO,
            needed=desk.needed_by_others(name),
            done=done,
            failed=failed,
            owner=desk.settings.owner,
            allow_unverified=desk.settings.allow_unverified,
        )

    async def finish(reached: Ready | Gone) -> None:
        if isinstance(reached, Ready):
            await desk.ledger.change(name, device=reached.device, verified=reached.verified)
        else:
            await desk.ledger.change(name, device=None, verified=False, handed_out=False, released=True)

    async def uncertain() -> None:
        await desk.ledger.change(name, phase=Phase.UNCERTAIN)

    await converge(
        desk.host,
        desk.locks,
        Attempt(
            goal=goal,
            attacher=desk.attacher(row.protocol),
            plan=row.plan,
            name=name,
            deadline=deadline,
            context=context,
            finish=finish,
            began=lambda step: desk.began(name, step.describe()),
            ended=lambda step, began, outcome: desk.ended(name, step.describe(), type(step).__name__, began, outcome),
            uncertain=uncertain,
            overtaken=lambda: desk.ledger.rows[name].goal is not goal,
        ),
    )


async def host_sight(desk: Desk) -> HostSight:
    """What this host is. Raises `Problem` (`unavailable`, `unsupported-on-host`)."""
    sight = await observe(desk.host, HostQuery())
    assert isinstance(sight, HostSight)
    return sight


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
