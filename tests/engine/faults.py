"""Watching and disturbing the simulated kernel: which steps reached it, and which go wrong."""

import asyncio

from agent.host.simulated_faults import Moment
from attachers.sights import Query
from attachers.steps import STEPS, Step
from tests.engine.world import World


class Steps:
    """The steps that reached the kernel since this was made."""

    def __init__(self, world: World) -> None:
        self.taken: list[Step] = []
        self._news = asyncio.Event()
        world.kernel.hook = self._note

    async def _note(self, moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, STEPS):
            self.taken.append(what)
            self._news.set()

    async def seen(self, kind: type[Step]) -> None:
        """Wait until a step of that kind has reached the kernel."""
        while not any(isinstance(step, kind) for step in self.taken):
            self._news.clear()
            await self._news.wait()
