"""What the tests of the guard share: a simulated host with two LUNs, and the engine's loop, in short."""

from pathlib import Path

from agent.host.created import open_created
from agent.host.guarded import GuardedHost
from agent.host.simulated import SimulatedHost
from agent.host.simulated_clock import VirtualClock
from agent.host.simulated_faults import Faults
from agent.host.simulated_kernel import INITIATOR
from agent.host.simulated_san import Lun, San
from agent.store import MEMORY
from attachers import iscsi
from attachers.base import Act, Context, Decision, Goal, Host, Look, Wait
from attachers.problems import Problem
from attachers.sights import IscsiQuery, ScsiSight
from attachers.steps import (
    Step,
)

T, P, Q = "iqn.2024-01.org.example:one", "10.0.0.1:3260", "10.0.0.2:3260"
WWID, OTHER = "naa.6001405000000001", "naa.6001405000000002"
PLAN = iscsi.Plan(T, (P,), 1, WWID, 1 << 20).as_json()


def a_host() -> SimulatedHost:
    san = San([Lun(T, (P, Q), lun, wwid, 1 << 20, (INITIATOR,)) for lun, wwid in ((1, WWID), (2, OTHER))])
    return SimulatedHost(san, clock=VirtualClock(), hook=Faults())


async def guard(raw: SimulatedHost, path: Path | str = MEMORY) -> GuardedHost:
    guarded = GuardedHost(raw, open_created(path, inline=True))
    await guarded.recover()
    return guarded


async def look(host: Host, *, portal: str = P, name: str = "vm", holders: bool = False, lun: int = 1) -> ScsiSight:
    sight = await host.observe(IscsiQuery(name, T, (portal,), lun, WWID, holders=holders))
    assert isinstance(sight, ScsiSight)
    return sight


async def act(host: Host, *steps: Step) -> None:
    for step in steps:
        await host.act(step, timeout_s=30)


async def converge(host: Host, goal: Goal) -> Decision:
    """The engine's loop, in short."""
    done: list[Step] = []
    failed: dict[Step, Problem] = {}
    for _ in range(40):
        since = host.changes
        sight = await host.observe(iscsi.query("vm", PLAN, goal=goal))
        context = Context("vm", done=tuple(done), failed=failed, withdrawn=goal is Goal.GONE)
        decision = iscsi.decide(goal, PLAN, sight, context)
        if isinstance(decision, Look):
            decision = iscsi.decide(goal, PLAN, await host.observe(decision.query), context)
        if isinstance(decision, Act):
            try:
                await host.act(decision.step, timeout_s=30)
            except Problem as problem:
                failed[decision.step] = problem
            done.append(decision.step)
        elif isinstance(decision, Wait):
            await host.changed(since, timeout_s=5)
        else:
            return decision
    raise AssertionError("it never ends")


def faults_of(raw: SimulatedHost) -> Faults:
    """The script of what goes wrong on it."""
    assert isinstance(raw.hook, Faults)
    return raw.hook
