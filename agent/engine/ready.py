"""Resolve a source, and wait where the server is not done: an export without its connection data is not ready."""

from collections.abc import Collection

from agent.cdmi.choose import choose
from agent.engine.desk import Desk, refuse_overtaken
from agent.engine.pause import longer, pause
from agent.model import Request, Resolved, SeenExport
from attachers.problems import Problem

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0


async def ready(
    desk: Desk, request: Request, *, deadline: float, passed: Collection[str] = ()
) -> tuple[Resolved, SeenExport]:
    """The object and the export to use; asked again, ever more seldom, while something of it is not ready.

    `passed` are the keys of exports that were tried in vain. `deadline` is on the host's clock. Raises `Problem`:
    no-usable-export at once where no wait would help, and at the deadline where it did not; conflict when a DELETE has
    overtaken the request; what `Cdmi.resolve` raises.
    """
    for wait_s in longer(FIRST_PAUSE_S, LONGEST_PAUSE_S):
        resolved = await desk.cdmi.resolve(request.source)
        try:
            return resolved, choose(resolved, request.protocols, passed=passed)
        except Problem:
            again = desk.host.now() + wait_s
            if not _is_to_come(resolved, request) or again >= deadline:
                raise
        await pause(desk.host, again, lambda: refuse_overtaken(desk, request.name))
    raise AssertionError("the pauses never end")


def _is_to_come(resolved: Resolved, request: Request) -> bool:
    """Whether what is missing is the server's to fill in."""
    return bool(resolved.pending) or any(
        export.pending and export.protocol in request.protocols for export in resolved.exports
    )
