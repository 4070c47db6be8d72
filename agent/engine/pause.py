"""Waiting for what happens elsewhere, by the host's clock: between two looks at a server that tells nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from agent.engine.desk import Desk
from attachers.base import Host
from attachers.problems import Code, Problem

T = TypeVar("T")


async def pause(host: Host, until: float, check: Callable[[], None] = lambda: None) -> None:
    """Return at that time. `check` is called now and then, and whatever it raises ends the pause."""
    while host.now() < until:
        check()
        await host.changed(host.changes, timeout_s=until - host.now())


def pauses(host: Host) -> Callable[[float], Awaitable[None]]:
    """How the CDMI side waits some seconds between two looks: by this host's clock."""

    async def some(seconds: float) -> None:
        await pause(host, host.now() + seconds)

    return some


def longer(first_s: float, longest_s: float) -> Iterator[float]:
    """Pauses in seconds, each twice as long as the one before, up to the longest."""
    while True:
        yield first_s
        first_s = min(2 * first_s, longest_s)


async def within(desk: Desk, deadline: float, work: Coroutine[Any, Any, T]) -> T:
    """Bound work on the CDMI side by the request's deadline; the client has its own, shorter limits for each call."""
    try:
        async with asyncio.timeout(max(deadline - desk.host.now(), 0.0)):
            return await work
    except TimeoutError:
        raise Problem(
            Code.CDMI_UNREACHABLE,
            "the CDMI server did not answer before the request's deadline",
            hint="give more time (timeout_s), and see whether the server is well",
            status=504,
        ) from None
