"""Watching and disturbing the simulated kernel: which steps reached it, and which go wrong."""

import asyncio

from agent.host.simulated_faults import Faults, Moment
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import STEPS, Step
from tests.engine.world import World


def away() -> Problem:
    """What every call to a helper that restarts raises."""
    return Problem(Code.UNAVAILABLE, "the helper is away")


class Gate:
    """Holds back the requests of one kind (for what ends with `of`) to the CDMI server at one moment, until opened."""

    def __init__(self, world: World, what: str, moment: Moment = Moment.BEFORE, *, of: str = "") -> None:
        self._what, self._moment, self._of = what, moment, of
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        world.cdmi.hook = self._pass

    async def _pass(self, moment: Moment, what: str, uri: str) -> None:
        if (moment, what) == (self._moment, self._what) and uri.endswith(self._of):
            self.reached.set()
            await self.opened.wait()


class Steps:
    """The steps that reached the kernel since this was made."""

    def __init__(self, world: World, faults: Faults | None = None) -> None:
        self.taken: list[Step] = []
        self._news = asyncio.Event()
        self._faults = faults
        world.kernel.hook = self._note

    async def _note(self, moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, STEPS):
            self.taken.append(what)
            self._news.set()
        if self._faults:
            await self._faults(moment, what)

    async def seen(self, kind: type[Step]) -> None:
        """Wait until a step of that kind has reached the kernel."""
        while not any(isinstance(step, kind) for step in self.taken):
            self._news.clear()
            await self._news.wait()
