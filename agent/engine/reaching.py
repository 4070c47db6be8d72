"""From a row of the ledger to its goal on the host: what an attempt is told, and what is written down at its end."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent import timeouts
from agent.engine.begun import Begun
from agent.engine.converge import Attempt, converge
from agent.engine.desk import Desk, NeededBeside
from agent.engine.ledger import Former, Row
from agent.engine.losses import note
from agent.engine.standing import keep, shown, standing, unready
from agent.model import Access, Phase
from attachers.base import Context, Goal, Gone, Ready
from attachers.steps import Step

NOT_HERE: Mapping[str, Any] = {"device": None, "verified": False, "handed_out": False, "domains": (), "dead": ()}
"""What the row of an attachment says once nothing of it is left on the host."""


async def reach(
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
    steps_until: float = 0.0,
) -> Ready | Gone:
    """Bring an attachment to a goal, by its plan. Raises `Problem`.

    `permission` is the work on the server that goes on meanwhile, or waits for `due`; see `converge.Attempt`, and
    `Context` for `withdrawn`, `whole` and `grow`. With `undo` it is not overtaken by another goal.
    """
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
            ended=lambda *how: _ended(desk, name, *how),
            uncertain=lambda: _unsure(desk, name),
            unready=lambda next_: unready(desk, name, goal, next_, grows=grow is not None),
            keep=lambda values: keep(desk, name, values),
            intended=lambda step: note(desk, name, step),
            overtaken=lambda: not undo and desk.ledger.rows[name].goal is not goal,
            permission=permission,
            due=due or asyncio.Event(),
            stands=stands,
            also=desk.needs_of(row),
            steps_until=steps_until,
            tick_s=timeouts.CALM_TICK_S if whole else timeouts.TICK_S,
            begun=desk.begun.setdefault(name, Begun()),
        ),
    )


async def _unsure(desk: Desk, name: str) -> None:
    await desk.ledger.change(name, phase=Phase.UNCERTAIN)


def _ended(desk: Desk, name: str, step: Step, began: float, outcome: str) -> None:
    desk.ended(name, step.describe(), type(step).__name__, began, outcome)


async def reach_former(desk: Desk, name: str, former: Former, *, deadline: float) -> None:
    """Take down what a plan of before has made here, by the ordinary decision on a detach, and nothing that the plan of
    now needs. The attachment's link is not that plan's any more. Raises `Problem`: what stays, in use or in doubt.
    """
    row = desk.ledger.rows[name]
    needed = NeededBeside(desk.needed_by_others(name), desk.needs_now(row) if row.plan else frozenset())

    async def nothing(*_: object) -> None:
        """What the ledger says of the attachment is of its plan of now."""

    async def kept(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return former.plan

    def context(attempt: Attempt) -> Context:
        told = _context(desk, row, attempt, withdrawn=True, whole=False, grow=None)
        return replace(told, needed=needed, former=True)

    await converge(
        desk.host,
        desk.locks,
        Attempt(
            goal=Goal.GONE,
            attacher=desk.attacher(former.protocol),
            plan=former.plan,
            name=name,
            deadline=deadline,
            context=context,
            finish=nothing,
            began=lambda step: desk.began(name, step.describe()),
            ended=lambda *how: _ended(desk, name, *how),
            uncertain=nothing,
            unready=nothing,
            keep=kept,
            intended=lambda step: note(desk, name, step),
            overtaken=lambda: desk.ledger.rows[name].goal is not row.goal,
            also=desk.needs_of(row),
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
