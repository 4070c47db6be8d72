"""Taking leftovers away: each by the very way on which an attachment goes, with all of its gates."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from agent import timeouts
from agent.caller import Caller
from agent.engine import leftovers
from agent.engine.desk import Desk, permissions_of
from agent.engine.ledger import MADE, Grant, Row
from agent.engine.leftovers import Item, Unit
from agent.model import Phase, Request
from attachers.base import Goal, Uncertain
from attachers.problems import Code, Problem
from attachers.steps import Step, Unmount, Unpublish

TakeDown = Callable[[Row], Awaitable[None]]


class Cleaning:
    """Lists what nobody asks for any more, and takes it away. `take_down`: an attachment that is to go, as a task."""

    def __init__(self, desk: Desk, take_down: TakeDown) -> None:
        self._desk = desk
        self._take_down = take_down

    async def found(self) -> dict[str, Any]:
        """See `agent.engine.interface.Leftovers`."""
        items, more = await leftovers.find(self._desk)
        return {"leftovers": [item.view() for item in items], "more": more}

    async def clean(self, wanted: str | None, by: Caller) -> dict[str, Any]:
        """See `agent.engine.interface.Leftovers`."""
        if not by.admin:
            detail = f"user {by.uid} may look at what is left, not take it away: nobody knows whose it was"
            raise Problem(Code.FORBIDDEN, detail, hint="ask root, or be in the group that [socket] admins names")
        items, _ = await leftovers.find(self._desk)
        chosen = [item for item in items if wanted in (None, item.id)]
        if wanted is not None and not chosen:
            raise Problem(
                Code.NOT_FOUND, f"item: nothing that is left is called {wanted}", hint="cdmi-attach leftovers"
            )
        if wanted is not None and chosen[0].why:
            code = Code.IN_USE if chosen[0].users else Code.CONFLICT
            raise Problem(code, f"{chosen[0].what}: {chosen[0].why}", hint="see: cdmi-attach leftovers")
        cleaned, left = [], [item.view() | {"problem": None} for item in chosen if item.why]
        for item in [item for item in chosen if not item.why]:
            try:
                await self._clean(item, by)
                cleaned.append(item.view())
            except Problem as problem:
                if wanted is not None:
                    raise
                left.append(item.view() | {"problem": problem.as_dict()})
        return {"cleaned": cleaned, "left": left}

    async def is_again(self, row: Row, problem: Problem) -> bool:
        """Whether what was to be taken away is a leftover again, since somebody uses it: it does not go by itself, in
        the moment in which they close it.
        """
        if problem.code is not Code.IN_USE or not leftovers.is_one(row):
            return False
        await self._desk.ledger.forget(row.name)
        return True

    async def _clean(self, item: Item, by: Caller) -> None:
        if item.unit:
            await self._take_unit(item, item.unit, by)
        elif item.grant:
            await self._revoke(item.grant)
        elif item.share:
            await self._take(Unmount(item.share), frozenset({f"mount:{item.share.point}"}))
        else:
            await self._take(Unpublish(item.link, None), frozenset({f"link:{item.link}"}))

    async def _take_unit(self, item: Item, unit: Unit, by: Caller) -> None:
        """It becomes an attachment that is to go: whatever happens meanwhile, it is gone on with, and nothing else of
        it is handed out; where it turns out to be in use, it is a leftover again. Raises `Problem`: somebody needs it
        by now, it is in use, it cannot be proved, ...
        """
        name = unit.name or f"leftover-{item.id}"
        async with self._desk.locks.hold([f"name:{name}", "admission"]):
            self._refuse_needed(unit.keys)
            if name in self._desk.ledger.rows:
                raise Problem(Code.BUSY, f"name: {name} is an attachment by now", hint="list what is left once more")
            row = Row(name, Request(name, leftovers.source_of(item), protocols=(unit.protocol,)), by.uid)
            row = _to_go(row, unit)
            await self._desk.ledger.add(row)
        await self._take_down(row)

    def _refuse_needed(self, keys: frozenset[str]) -> None:
        if taken := sorted(keys & leftovers.needed(self._desk) - _shared(keys)):
            raise Problem(Code.BUSY, f"{taken[0]} is needed by now", hint="list what is left once more")

    async def _take(self, step: Step, keys: frozenset[str]) -> None:
        async with self._desk.locks.hold([*keys, "admission"]):
            self._refuse_needed(keys)
            if isinstance(step, Unpublish) and step.name in self._desk.ledger.rows:
                raise Problem(Code.BUSY, f"{step.name} is an attachment by now", hint="list what is left once more")
            try:
                await self._desk.host.act(step, timeout_s=timeouts.of_step(step))
            except Uncertain as uncertain:
                detail = f"time ran out: {uncertain.step}"
                raise Problem(Code.DEVICE_TIMEOUT, detail, hint="list what is left once more") from None

    async def _revoke(self, grant: Grant) -> None:
        async with self._desk.locks.hold([permissions_of(grant.uri)]):
            if self._desk.grant_is_needed(grant, ""):
                raise Problem(Code.BUSY, f"{grant.initiator} is needed by now", hint="list what is left once more")
            if grant.initiator == MADE:
                await self._desk.cdmi.unexport(grant.uri, grant.key)
            else:
                await self._desk.cdmi.revoke(grant.uri, grant.key, grant.initiator)
            await self._desk.ledger.revoked([grant])


def _shared(keys: frozenset[str]) -> frozenset[str]:
    """What others may need beside it, and what then stays: a target's record and session."""
    return frozenset(key for key in keys if key.startswith(("record:", "session:")))


def _to_go(row: Row, unit: Unit) -> Row:
    values: dict[str, Any] = {"goal": Goal.GONE, "phase": Phase.DETACHING, "protocol": unit.protocol}
    return replace(row, plan=unit.plan, device=unit.device, **values)
