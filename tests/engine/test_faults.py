"""Something goes wrong at every look, step and CDMI call in turn, while both processes live on.

Whatever it is, callers get their answers in time, and a DELETE that is repeated until it succeeds leaves nothing.
The faults take turns, half of them at each call; `make crashes` (CDMI_CRASHES=all) has each of them at every call.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from agent.host.simulated_faults import Hang, Moment
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import STEPS, Step
from tests.engine.faults import away
from tests.engine.test_crashes import SCENES, Case, Scene, come_and_go, delete_all, put_all, two_luns_of_one_target
from tests.engine.trip import ALL
from tests.engine.world import World, running

FOREVER = float("inf")
LONG_S = 400.0
"""Above what a request and the undoing of it may take together."""


class Nth:
    """Raises a fault at the n-th call (from 1) of the kinds and at the moment that it is for; 0: only counts."""

    def __init__(self, at: int, moment: Moment, fault: Callable[[], Exception], *, steps_only: bool) -> None:
        self._at, self._moment, self._fault, self._steps_only = at, moment, fault, steps_only
        self.calls = 0

    async def host(self, moment: Moment, what: Step | Query) -> None:
        if isinstance(what, STEPS) or not self._steps_only:
            self._pass(moment)

    async def server(self, moment: Moment, what: str, uri: str) -> None:
        self._pass(moment)

    def _pass(self, moment: Moment) -> None:
        if moment is self._moment:
            self.calls += 1
            if self.calls == self._at:
                raise self._fault()


HOST: dict[str, Callable[[int], Nth]] = {
    "away": lambda at: Nth(at, Moment.BEFORE, away, steps_only=False),
    "answer lost": lambda at: Nth(at, Moment.AFTER, away, steps_only=False),
    "hung up": lambda at: Nth(at, Moment.AFTER, lambda: Uncertain("lost"), steps_only=True),
    "failed": lambda at: Nth(at, Moment.BEFORE, lambda: Problem(Code.INTERNAL, "broken"), steps_only=True),
    "failed after all": lambda at: Nth(at, Moment.AFTER, lambda: Problem(Code.INTERNAL, "broken"), steps_only=True),
    "late": lambda at: Nth(at, Moment.BEFORE, lambda: Hang(50), steps_only=True),
    "very late": lambda at: Nth(at, Moment.BEFORE, lambda: Hang(300), steps_only=True),
    "never": lambda at: Nth(at, Moment.BEFORE, lambda: Hang(FOREVER, happens=False), steps_only=True),
    "late and in vain": lambda at: Nth(at, Moment.BEFORE, lambda: Hang(50, happens=False), steps_only=True),
}
SERVER: dict[str, Callable[[int], Nth]] = {
    "away": lambda at: Nth(at, Moment.BEFORE, lambda: Problem(Code.CDMI_UNREACHABLE, "away"), steps_only=False),
    "answer lost": lambda at: Nth(at, Moment.AFTER, lambda: Problem(Code.CDMI_UNREACHABLE, "away"), steps_only=False),
    "refused": lambda at: Nth(at, Moment.BEFORE, lambda: Problem(Code.CDMI_REFUSED, "no"), steps_only=False),
}


async def disturbed(case: Case, nth: Nth, where: str) -> None:
    """Come and go with the fault in between; then repeat the DELETE, as a caller would, and once more after a while."""
    world = case.world
    async with running(world) as daemon:
        world.kernel.hook, world.cdmi.hook = (nth.host, None) if where == "host" else (None, nth.server)
        began = world.clock.now()
        with suppress(Problem):
            await come_and_go(world, daemon)
        assert world.clock.now() - began < 2 * LONG_S
        for _ in range(3):
            with suppress(Problem):
                await delete_all(world, daemon)
        forget_hangs(world)
        with suppress(Problem):
            await delete_all(world, daemon)
        await delete_all(world, daemon)
        case.assert_nothing_left(daemon)
        await put_all(world, daemon)
        await delete_all(world, daemon)
        case.assert_nothing_left(daemon)


def forget_hangs(world: World) -> None:
    """Time passes; what hangs for ever has its process killed at last."""
    world.clock.advance(LONG_S)
    world.kernel.kill_hanging()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize(
    ("where", "fault"), [*(("host", fault) for fault in HOST), *(("server", fault) for fault in SERVER)]
)
async def test_a_fault_at_every_call(fast_disk: Path, scene: Scene, where: str, fault: str) -> None:
    make = (HOST if where == "host" else SERVER)[fault]
    whole = make(0)
    await disturbed(Case(fast_disk / "0", scene), whole, where)
    assert whole.calls > 1
    stride = 2 if scene is two_luns_of_one_target else 1
    turn, by = (0, 1) if ALL else (list(HOST if where == "host" else SERVER).index(fault) % 2, 2)
    for at in range(1 + stride * turn, whole.calls // 2 + 1, stride * by):
        case, nth = Case(fast_disk / str(at), scene), make(at)
        try:
            await disturbed(case, nth, where)
        except (AssertionError, Problem) as error:
            raise AssertionError(f"{fault} at call {at}: {error}") from error
        assert nth.calls >= at
