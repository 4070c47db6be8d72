"""Steps that were begun and are not waited for: they may outlive the attempt that began them."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from attachers.problems import Problem
from attachers.steps import Step


@dataclass(slots=True)
class Tried:
    """What was tried: the steps that were begun, those that were in vain, those of which nobody knows."""

    done: list[Step] = field(default_factory=list)
    failed: dict[Step, Problem] = field(default_factory=dict)
    unsure: set[Step] = field(default_factory=set)

    def add(self, other: "Tried") -> None:
        """What another has tried counts as well."""
        self.done += other.done
        self.failed |= other.failed
        self.unsure = (self.unsure - set(other.done)) | other.unsure


class Begun:
    """The steps of one attachment that are under way without anybody waiting for them."""

    def __init__(self) -> None:
        self._tasks: dict[Step, tuple[Tried, asyncio.Task[Any]]] = {}

    @property
    def steps(self) -> frozenset[Step]:
        """Those that were begun, and whose outcome nobody has taken notice of yet."""
        return frozenset(self._tasks)

    def begin(self, step: Step, work: Callable[[Tried], Coroutine[Any, Any, Any]]) -> None:
        """Begin a step; `work` writes down in a `Tried` of its own how it went."""
        tried = Tried()
        self._tasks[step] = (tried, asyncio.create_task(work(tried), name=step.describe()))

    def collect(self, into: Tried) -> None:
        """Take notice of those that have ended. Raises what is no `Problem`."""
        for step, (tried, task) in list(self._tasks.items()):
            if task.done():
                del self._tasks[step]
                task.result()
                into.add(tried)

    def waiting(self) -> set[asyncio.Task[Any]]:
        """What to wait for, so that an end is noticed."""
        return {task for _, task in self._tasks.values()}

    async def let_go(self) -> None:
        """Wait for none of them any more: on the host they go on."""
        tasks = self.waiting()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
