"""What the ledger says of an attachment while the host is looked at: what holds, what stands, and what does not."""

from collections.abc import Mapping
from typing import Any

from agent.engine.desk import Desk
from agent.engine.domains import dead, dead_in
from agent.engine.permits import let_in
from agent.model import Phase
from attachers import nfs
from attachers.base import Act, Decision, Fail, Goal, Gone, Keep, Ready, Wait
from attachers.steps import Unpublish


def shown(reached: Ready) -> dict[str, Any]:
    """What the row of an attachment says of its device."""
    return {"device": reached.device, "verified": reached.verified, "caveat": reached.note, "seen": True}


def standing(reached: Ready | Gone) -> dict[str, Any]:
    """What it says once the device may be used."""
    missing = reached.missing if isinstance(reached, Ready) else None
    phase = Phase.DEGRADED if missing else Phase.ATTACHED
    return {"phase": phase, "handed_out": True, "problem": missing.as_dict() if missing else None}


async def stand(desk: Desk, name: str, reached: Ready | Gone) -> None:
    """Say that the device may be used, and of those to whom it was given, who has another one (`domains.dead_in`)."""
    if desk.ledger.rows[name].goal is not Goal.ATTACHED:
        return
    says = standing(reached)
    if names := await dead_in(desk, name):
        says |= {"phase": Phase.DEGRADED, "problem": dead(names).as_dict()}
    await desk.ledger.change(name, **says, dead=names, let_in=let_in(desk, desk.ledger.rows[name]))


async def keep(desk: Desk, name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add values to the plan of an attachment, durably. Returns the plan."""
    kept = await desk.ledger.change(name, plan={**(desk.ledger.rows[name].plan or {}), **values})
    return kept.plan or {}


async def unready(desk: Desk, name: str, goal: Goal, next_: Decision, *, grows: bool) -> None:
    """What was handed out and does not stand, as after a reboot, is not said to be attached, nor shown without a link.

    `next_` is what is next about it: a `Fail` where its link was taken and will not come back. A disk is shown on: its
    name says what has to be flushed.
    """
    now = desk.ledger.rows[name]
    if not now.handed_out or isinstance(next_, Keep):
        return
    unlinks = isinstance(next_, Fail) or (goal is Goal.ATTACHED and _takes_link(next_))
    if unlinks and now.device and now.device.kind == nfs.FILE:
        await desk.ledger.change(name, verified=False, device=None)
    said = now.phase is Phase.ATTACHED or (now.phase is Phase.UNCERTAIN and not now.seen)
    if goal is Goal.ATTACHED and not grows and said:
        why = next_.problem.as_dict() if isinstance(next_, Wait | Fail) else None
        await desk.ledger.change(name, phase=Phase.DEGRADED, verified=False, problem=why)


def _takes_link(next_: Decision) -> bool:
    return isinstance(next_, Act) and isinstance(next_.step, Unpublish)
