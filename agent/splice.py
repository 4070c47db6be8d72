"""Bytes from one socket into another, moved by the kernel through a pipe: nothing is copied to us (splice(2))."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import suppress

ROOM = 1 << 20
"""Bytes in the pipe at most: /proc/sys/fs/pipe-max-size, as Linux sets it."""
TURN = 4 << 20
"""Bytes after which the event loop has its turn at the latest."""
_HOW = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class SourceError(OSError):
    """The source has broken; everything that came before has gone into the sink."""


async def splice(
    source: socket.socket, sink: socket.socket, count: int, *, silent_s: float, moved: Callable[[int], None]
) -> None:
    """Move `count` bytes, or fewer where `source` ends before.

    Both sockets are non-blocking. `moved` is told of every so many bytes that went into `sink`, and `silent_s` is how
    long `source` may bring nothing. The event loop has its turn after each `TURN` bytes. Raises `SourceError`, and
    `OSError` where `sink` has broken.
    """
    taken, given = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with suppress(PermissionError):  # the user's pipes have much already (pipe-user-pages-soft): a smaller one does
            fcntl.fcntl(given, fcntl.F_SETPIPE_SZ, ROOM)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)  # as much as net.core.wmem_max lets us have
        turn = 0
        while count:
            got = await _take(source, given, min(count, ROOM), silent_s)
            if not got:
                return
            count, turn = count - got, turn + got
            if turn >= TURN:
                turn = 0
                await _ready(sink.fileno(), writing=True)
            while got:
                sent = await _give(taken, sink, got)
                got -= sent
                moved(sent)
    finally:
        os.close(taken)
        os.close(given)


async def _take(source: socket.socket, pipe: int, count: int, silent_s: float) -> int:
    try:
        while True:
            with suppress(BlockingIOError):
                return os.splice(source.fileno(), pipe, count, flags=_HOW)
            async with asyncio.timeout(silent_s):
                await _ready(source.fileno(), writing=False)
    except OSError as error:  # and TimeoutError, which is one
        raise SourceError(error.errno, str(error) or f"nothing came for {silent_s:g} s") from None


async def _give(pipe: int, sink: socket.socket, count: int) -> int:
    while True:
        with suppress(BlockingIOError):
            return os.splice(pipe, sink.fileno(), count, flags=_HOW)
        await _ready(sink.fileno(), writing=True)


async def _ready(fd: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)
