"""A value by several connections at a time, in windows: for servers and links where a single one is slow."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

WINDOW = 2 << 20
"""Bytes that are asked for at a time; so many of them as there are connections are in memory."""


async def windows(
    fetch: Callable[[int, int], Awaitable[bytes]], first: int, end: int, *, at_once: int
) -> AsyncGenerator[bytes, None]:
    """The bytes from `first` up to, without, `end`, in order: `at_once` windows are being fetched at any time.

    Raises what `fetch` raises, after everything that comes before.
    """
    starts, under_way = iter(range(first, end, WINDOW)), deque[asyncio.Task[bytes]]()
    try:
        while True:
            while len(under_way) < at_once and (start := next(starts, None)) is not None:
                under_way.append(asyncio.ensure_future(fetch(start, min(start + WINDOW, end))))
            if not under_way:
                return
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
