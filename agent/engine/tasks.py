"""Who works on which attachment: for each a line of tasks, of which one works and the others wait for those before."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from agent.log import bound
from attachers.problems import Problem

log = logging.getLogger(__name__)
Task = asyncio.Task[None]


class Tasks:
    """The lines of all attachments, by name. `ended` is told the name whenever a task has come to its end."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._told = ended
        self._end: dict[str, Task] = {}
        self._joined: dict[str, Task] = {}
        self._running: set[Task] = set()

    def begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]], *, errand: bool = False) -> Task:
        """Have this done when all that was begun before for this attachment has ended, however that was.

        An errand is work on what was handed out: it neither brings it up nor takes it down, and nobody joins it.
        """
        earlier = self._end.get(name)

        async def run() -> None:
            if earlier is not None and not earlier.done():
                await asyncio.wait({earlier})
            await work()

        with bound(name):
            task = asyncio.create_task(run(), name=f"attachment {name}")
        self._end[name] = task
        if not errand:
            self._joined[name] = task
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(name, ended))
        return task

    def _ended(self, name: str, task: Task) -> None:
        self._running.discard(task)
        for line in (self._end, self._joined):
            if line.get(name) is task:
                del line[name]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Problem):
            log.error("internal error", exc_info=error)
        self._told(name)

    def last(self, name: str) -> Task | None:
        """The last one that brings an attachment up, or takes it down; None when that is not being done."""
        task = self._joined.get(name)
        return None if task is None or task.done() else task

    def __contains__(self, name: str) -> bool:
        """Whether anybody works on an attachment."""
        return name in self._end

    async def wait(self, names: Collection[str]) -> None:
        """Return when the last task of one of these attachments has ended, or nobody works on any of them."""
        if ends := [self._end[name] for name in names if name in self._end]:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    def running(self) -> set[Task]:
        """All that work or wait."""
        return set(self._running)
