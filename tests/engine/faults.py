"""Watching and disturbing the simulated kernel: which steps reached it, and which go wrong."""

from agent.host.simulated_faults import Moment
from attachers.sights import Query
from attachers.steps import STEPS, Step
from tests.engine.world import World


class Steps:
    """The steps that reached the kernel since this was made."""

    def __init__(self, world: World) -> None:
        self.taken: list[Step] = []
        world.kernel.hook = self._note

    async def _note(self, moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, STEPS):
            self.taken.append(what)
