"""Waiting for what happens elsewhere, by the host's clock: between two looks at a server that tells nothing."""

from collections.abc import Callable, Iterator

from attachers.base import Host


async def pause(host: Host, until: float, check: Callable[[], None] = lambda: None) -> None:
    """Return at that time. `check` is called now and then, and whatever it raises ends the pause."""
    while host.now() < until:
        check()
        await host.changed(host.changes, timeout_s=until - host.now())


def longer(first_s: float, longest_s: float) -> Iterator[float]:
    """Pauses in seconds, each twice as long as the one before, up to the longest."""
    while True:
        yield first_s
        first_s = min(2 * first_s, longest_s)
