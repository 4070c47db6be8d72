"""The loop: observe, decide, take one step, observe again, until the goal or the deadline. It undoes nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent import timeouts
from agent.engine.begun import Begun, Tried
from agent.engine.desk import UNCERTAIN
from agent.engine.locks import Locks
from agent.messages import Message, fields
from attachers.base import (
    Act,
    Attacher,
    Begin,
    Context,
    Decision,
    Fail,
    Goal,
    Gone,
    Host,
    Keep,
    Look,
    Ready,
    Uncertain,
    Wait,
)
from attachers.problems import Code, Problem
from attachers.sights import Query, Sight
from attachers.steps import AnnounceMap, CreateRecord, Own, Step, Unpublish

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Attempt:
    """One way to one goal for one attachment, and what happened on it.

    `deadline` is on the host's clock. `context` gives what the host cannot tell (asked anew each time, since other
    attachments come and go); `finish` is called while the locks are still held, as soon as the goal is reached.
    `began` and `ended` are told of every step (when it began, and its outcome), `uncertain` of every one whose outcome
    is not known, `unready` as long as the goal is not reached, with what is next; `keep` adds values to the plan in the
    ledger, and returns it; `overtaken` says that the opposite is wanted by now.
    `permission` is the work on the server that goes on meanwhile, or waits for `due`: until it is done, only what the
    server need not know of is done; with `stands`, nothing has to be granted, and what stands as it is does not wait.
    `intended` is told of every step before it is taken. `tick_s` is how long to wait for an event before looking again.
    `begun` are the steps that go on beside this attempt, or went on before it. `also` are keys that are held besides
    those of the plan, `steps_until` a later deadline, if there is one, for a step that was begun in time.
    """

    goal: Goal
    attacher: Attacher
    plan: Mapping[str, Any]
    name: str
    deadline: float
    context: Callable[["Attempt"], Context]
    finish: Callable[[Ready | Gone], Awaitable[None]]
    began: Callable[[Step], float]
    ended: Callable[[Step, float, str], None]
    uncertain: Callable[[], Awaitable[object]]
    unready: Callable[[Decision], Awaitable[None]]
    keep: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    intended: Callable[[Step], Awaitable[None]]
    overtaken: Callable[[], bool]
    permission: asyncio.Task[None] | None = None
    due: asyncio.Event = field(default_factory=asyncio.Event)
    stands: bool = False
    tick_s: float = timeouts.TICK_S
    begun: Begun = field(default_factory=Begun)
    also: frozenset[str] = frozenset()
    steps_until: float = 0.0
    tried: Tried = field(default_factory=Tried)
    last: Step | None = None  # taken since the last wait

    def awaits_permission(self, decision: Decision) -> bool:
        """Whether what is next has to wait until the server has let this host in."""
        if self.permission is None or self.permission.done():
            return False
        match decision:
            case Act(step) | Begin(step):
                return not isinstance(step, CreateRecord | Own | AnnounceMap | Unpublish)
            case Wait():
                return decision.let_in
            case _:
                return isinstance(decision, Ready) and not self.stands


async def converge(host: Host, locks: Locks, attempt: Attempt) -> Ready | Gone:
    """Bring the host to the attempt's goal.

    Returns the decision that says so. Raises `Problem`: why the goal cannot be reached, or what was still awaited
    when the deadline came. The locks of the plan's resources are held while steps follow each other, and never while
    waiting.
    """
    while True:
        seen, taken = host.changes, len(attempt.tried.done)
        async with locks.hold(attempt.attacher.needs(attempt.plan) | attempt.also):
            decision = await _advance(host, attempt)
        if attempt.permission and attempt.awaits_permission(decision):
            attempt.due.set()
            await asyncio.shield(attempt.permission)
        elif isinstance(decision, Ready | Gone):
            return decision
        elif isinstance(decision, Act) and len(attempt.tried.done) > taken:
            continue  # what it has stirred itself is no reason to take it again: look once more, then wait
        else:
            await _wait(host, attempt, decision, seen)
            attempt.last = None


async def _advance(host: Host, attempt: Attempt) -> Decision:
    """Look, and take one step after the other, each with a look after it, until there is something to wait for."""
    sight: Sight | None = None
    while True:
        if attempt.overtaken():
            raise Problem(Code.CONFLICT, f"{attempt.name}: the opposite was asked for meanwhile", hint="ask again")
        if attempt.permission and attempt.permission.done():
            attempt.permission.result()  # or its problem
        attempt.begun.collect(attempt.tried)
        decision = await _decide(host, attempt, sight)
        if isinstance(decision, Act | Begin) and not isinstance(decision.step, Own) and not attempt.stands:
            attempt.due.set()  # whose the LUN is, is in the record by now
        if attempt.awaits_permission(decision):
            return decision
        match decision:
            case Ready() | Gone():
                await attempt.finish(decision)
                return decision
            case Fail(problem, restore):
                await _restore(host, attempt, restore)
                if _lost_its_link(attempt, restore):
                    await attempt.unready(decision)
                raise problem
        await attempt.unready(decision)
        match decision:
            case Keep(values):
                attempt.plan = await attempt.keep(values)
                sight = None  # another plan may have to look for other things
            case Begin(step) if host.now() < attempt.deadline:
                _begin(host, attempt, step)
                sight = None
            case Act(step) if attempt.last is None or (step != attempt.last and host.now() < attempt.deadline):
                await attempt.intended(step)
                sight = await act(host, attempt, step)
                attempt.last = step
            case _:
                return decision  # also a step that changed nothing: it is taken again after the host changed, or a tick


async def _decide(host: Host, attempt: Attempt, sight: Sight | None) -> Decision:
    query = _query(attempt)
    while True:
        try:
            sight = sight or await observe(host, query)
        except Problem as problem:
            return Wait(problem.detail, problem) if problem.code is Code.UNAVAILABLE else Fail(problem)
        decision = attempt.attacher.decide(attempt.goal, attempt.plan, sight, attempt.context(attempt))
        if not isinstance(decision, Look) or decision.query == query:
            return decision
        query, sight = decision.query, None


def _query(attempt: Attempt) -> Query:
    return attempt.attacher.query(attempt.name, attempt.plan, goal=attempt.goal)


async def observe(host: Host, query: Query, *, limit_s: float = timeouts.OBSERVE_S) -> Sight:
    """Look at the host, bounded. Raises `Problem` (`unavailable`) when it does not answer in time."""
    try:
        async with asyncio.timeout(limit_s):
            return await host.observe(query)
    except TimeoutError:
        raise Problem(
            Code.UNAVAILABLE,
            f"the helper did not answer within {limit_s:g} s",
            hint="see: systemctl status cdmi-attach-helperd",
        ) from None


async def act(host: Host, attempt: Attempt, step: Step) -> Sight | None:
    """Take one step and write down how it went. Returns what there is to see after it, None where that is not known."""
    began, outcome = attempt.began(step), ""
    sight: Sight | None = None
    log.info("%s", step.describe(), extra={"step": step.describe()})
    try:
        limit = min(timeouts.of_step(step), max(attempt.deadline - began, attempt.steps_until - began, 1.0))
        sight = await host.act(step, timeout_s=limit, then=_query(attempt))
        attempt.tried.unsure.discard(step)
    except Problem as problem:
        outcome = problem.detail
        problem.step = problem.step or step.describe()
        if problem.code is Code.UNAVAILABLE:  # the helper is away: before the step or in its middle, who knows
            attempt.tried.unsure.add(step)
        else:
            attempt.tried.failed[step] = problem
        log.warning("%s: %s", step.describe(), problem.detail)
    except Uncertain:
        outcome = UNCERTAIN
        attempt.tried.unsure.add(step)
        text = step.describe()
        log.warning("%s: time ran out, its outcome is not known yet", text, extra=fields(Message.UNCERTAIN, step=text))
        await attempt.uncertain()
    except asyncio.CancelledError:  # on the host it goes on
        outcome = UNCERTAIN
        raise
    finally:
        attempt.tried.done.append(step)
        attempt.ended(step, began, outcome)
    return sight


def _begin(host: Host, attempt: Attempt, step: Step) -> None:
    """Have a step taken beside everything else; its outcome counts for whichever attempt is at work when it ends."""

    async def nothing() -> None:
        """That its outcome is not known says nothing of the attachment: other ways lead there."""

    async def work(tried: Tried) -> None:
        deadline = host.now() + timeouts.of_step(step)
        await act(host, replace(attempt, tried=tried, deadline=deadline, uncertain=nothing), step)

    attempt.begun.begin(step, work)


async def _restore(host: Host, attempt: Attempt, step: Step | None) -> None:
    """Put back what was taken away on the way to a goal that was refused."""
    if step is None:
        return
    await act(host, attempt, step)
    if step in attempt.tried.failed:
        log.error("could not put back what was taken: %s: %s", step.describe(), attempt.tried.failed[step].detail)


def _lost_its_link(attempt: Attempt, restore: Step | None) -> bool:
    """Whether a detach that is refused has taken the link, and not put it back: it would lead to another file."""
    taken = any(isinstance(step, Unpublish) and step not in attempt.tried.failed for step in attempt.tried.done)
    return attempt.goal is Goal.GONE and taken and (restore is None or restore in attempt.tried.failed)


async def _wait(host: Host, attempt: Attempt, decision: Decision, seen: int) -> None:
    """Wait for the host to change, at most a tick. Raises the `Problem` of what is awaited at the deadline."""
    remaining = attempt.deadline - host.now()
    if remaining <= 0:
        raise _out_of_time(decision)
    if isinstance(decision, Wait):
        log.debug("waiting for %s", decision.reason)
        if decision.again:
            attempt.tried.done[:] = [step for step in attempt.tried.done if step != decision.again]
            seen = host.changes
    await _changed(host, attempt, seen, min(attempt.tick_s, remaining))


async def _changed(host: Host, attempt: Attempt, seen: int, limit_s: float) -> None:
    """Wait for the host to change, or for a step that was begun to end."""
    if not (begun := attempt.begun.waiting()):
        await host.changed(seen, timeout_s=limit_s)
        return
    changed = asyncio.create_task(host.changed(seen, timeout_s=limit_s))
    try:
        await asyncio.wait({changed, *begun}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        changed.cancel()
        await asyncio.gather(changed, return_exceptions=True)


def _out_of_time(decision: Decision) -> Problem:
    if isinstance(decision, Wait):
        return decision.problem
    text = decision.step.describe() if isinstance(decision, Act | Begin) else "nothing"
    return Problem(Code.DEVICE_TIMEOUT, f"time ran out: {text} was still to be done", step=text)
