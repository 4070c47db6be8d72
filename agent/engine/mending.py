"""What goes on after an attachment was handed out: the paths that it lacks, or has lost, join it. It only ever adds."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from agent import timeouts
from agent.engine.ledger import Row
from attachers.base import Goal, Host

log = logging.getLogger(__name__)
Task = asyncio.Task[None]


class Mending:
    """At most one task for each attachment, which ends when nothing is missing, or nothing can be done for now.

    `work` looks at one by name and, if told so, tries for what is missing; `due` names those that may need it: they are
    looked at when the host has changed, and something is tried for each now and then.
    """

    def __init__(
        self, host: Host, work: Callable[[str, bool], Coroutine[Any, Any, None]], due: Callable[[], Iterable[str]]
    ) -> None:
        self._host = host
        self._work = work
        self._due = due
        self._tasks: dict[str, Task] = {}
        self._tried: dict[str, float] = {}
        self._watch: Task | None = None

    def start(self, name: str) -> None:
        """Go on with an attachment, unless that is being done; and watch from now on."""
        if name not in self._tasks:
            now = self._host.now()
            whole = now - self._tried.get(name, float("-inf")) >= timeouts.TEND_S  # a dead portal is not besieged
            self._tried[name] = now if whole else self._tried[name]
            task = asyncio.create_task(self._work(name, whole), name=f"mend {name}")
            self._tasks[name] = task
            task.add_done_callback(lambda ended: self._ended(name, ended))
        self.watch()

    def watch(self) -> None:
        """Look after what is due, from now on until nothing is."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_on(), name="watch paths")

    async def _watch_on(self) -> None:
        """Look when the host has changed, and now and then, though never all the time."""
        while self._tasks or any(self._due()):
            self._tried = {name: at for name, at in self._tried.items() if name in {*self._tasks, *self._due()}}
            seen = self._host.changes
            await self._host.changed(sys.maxsize, timeout_s=timeouts.CALM_TICK_S)
            await self._host.changed(seen, timeout_s=timeouts.TEND_S)
            for name in self._due():
                self.start(name)
        self._watch = None

    def _ended(self, name: str, task: Task) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("internal error", exc_info=error)

    def has(self, name: str) -> bool:
        """Whether an attachment is being worked on."""
        return name in self._tasks

    def tasks(self) -> set[Task]:
        """All that is going on."""
        return set(self._tasks.values())

    async def over(self, name: str, *, until: float) -> None:
        """Wait for the end of what is done for an attachment; where it has not come by then (host clock), stop it."""
        task = self._tasks.get(name)
        while task and not task.done() and (left := until - self._host.now()) > 0:
            changed = asyncio.create_task(self._host.changed(self._host.changes, timeout_s=left))
            await asyncio.wait({task, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            await asyncio.gather(changed, return_exceptions=True)
        await self.stop(name)

    async def stop(self, *names: str) -> None:
        """Stop with these attachments, or with all and for good. Steps that were begun go on on the host."""
        tasks = [task for name, task in self._tasks.items() if not names or name in names]
        if self._watch and not names:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def has_several(row: Row) -> bool:
    """Whether it was handed out with one path or more of several: any may be missing, or go."""
    return row.goal is Goal.ATTACHED and row.handed_out and bool((row.plan or {}).get("multipath"))
