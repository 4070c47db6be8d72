"""Which failures of a preferred export let the next one be tried, how long each try gets, and what the answer says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.cdmi.choose import candidates
from agent.engine.desk import Desk
from agent.engine.ledger import Passed, Row
from agent.engine.permits import Permits, Routes, permits_of
from agent.engine.ways import choose_ways
from agent.model import Resolved, SeenExport
from attachers.problems import Code, Problem
from attachers.sights import HostSight

PASSABLE = frozenset(
    {
        *(Code.TARGET_REFUSED, Code.TARGET_TIMEOUT, Code.DEVICE_TIMEOUT, Code.WRONG_DEVICE),
        *(Code.UNSUPPORTED_ON_HOST, Code.CDMI_REFUSED),
    }
)
"""What is the matter with one way to the disk. Anything else would be the matter with every way, or is the caller's."""


def share(row: Row, *, now: float, deadline: float) -> float:
    """The deadline of this try: those that may follow get as much, lest the first takes it all."""
    return now + (deadline - now) / (row.others + 1)


def may_pass(row: Row, problem: Problem) -> bool:
    """Whether the next export is tried: nothing was handed out, and there is one."""
    return row.plan is not None and not row.handed_out and row.others > 0 and problem.code in PASSABLE


def passed(row: Row, problem: Problem) -> tuple[Passed, ...]:
    """The exports that were tried in vain, with this one."""
    return (*row.passed, Passed(row.key, row.protocol, problem.detail))


def told(over: Sequence[Passed]) -> str:
    """What a caller should know of the exports that were preferred; empty where there are none."""
    return "; ".join(f"{one.protocol} ({one.key}) was preferred, and tried in vain: {one.why}" for one in over)


def with_those_before(row: Row, problem: Problem) -> Problem:
    """The last problem, and those of the exports that were tried before."""
    if not row.passed:
        return problem
    before = "; ".join(f"{one.protocol} ({one.key}): {one.why}" for one in row.passed)
    detail = f"{problem.detail}; tried before in vain, and undone: {before}"
    return Problem(problem.code, detail, hint=problem.hint, step=problem.step, status=problem.status)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of this host before the first step: what it is, and its ways to NFS servers."""

    sight: HostSight
    routes: Routes


@dataclass(frozen=True, slots=True)
class Usable:
    """An export that this host can use: its plan, what of ours it has to permit, what a caller should know of
    its paths, and the exports that were passed over for it.
    """

    export: SeenExport
    plan: dict[str, Any]
    permits: Permits
    note: str
    over: tuple[Passed, ...]


def first_usable(desk: Desk, row: Row, resolved: Resolved, export: SeenExport, host: Known) -> Usable:
    """This export, or the next one of which nothing that is known before the first step says that it cannot be used.

    Raises `Problem`: why the last one cannot, and what was said here of those before it.
    """
    over = row.passed
    while True:
        try:
            return _usable(desk, row, export, host, over)
        except Problem as problem:
            keys = [*(one.key for one in over), export.key]
            rest = candidates(resolved, row.request.protocols, passed=keys)
            if not rest or problem.code not in PASSABLE:
                raise with_those_before(replace(row, passed=over[len(row.passed) :]), problem) from None
            over = (*over, Passed(export.key, export.protocol, problem.detail))
            desk.ended(
                row.name, f"pass over {export.protocol} ({export.key})", "PassOver", desk.host.now(), problem.detail
            )
            export = rest[0]


def _usable(desk: Desk, row: Row, export: SeenExport, host: Known, over: tuple[Passed, ...]) -> Usable:
    """This export with all that belongs to it. Raises `Problem`: this host has no such name, or too few paths."""
    permits = permits_of(export, row.request, host.sight, host.routes)
    plan = dict(export.plan or {})
    settings = desk.settings
    choice = choose_ways(
        plan,
        settings.multipath,
        host.sight.multipath,
        min_paths=row.request.min_paths,
        trust_local=settings.trust_local,
    )
    plan |= {"multipath": True} if choice.multipath else {}
    return Usable(export, plan, permits, choice.note, over)
