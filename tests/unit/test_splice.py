"""Bytes moved by the kernel: all of them, in order, no more, and what happens when either end breaks."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.splice import ROOM, SourceError, splice

VALUE = os.urandom(1 << 16) * 48
SILENT_S = 30.0


@contextmanager
def ends() -> Iterator[tuple[socket.socket, socket.socket, socket.socket, socket.socket]]:
    """Into the source, the source (TCP), the sink (Unix), and out of the sink."""
    with ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            into = stack.enter_context(socket.create_connection(listening.getsockname()))
            source = stack.enter_context(listening.accept()[0])
        sink, out = (stack.enter_context(one) for one in socket.socketpair())
        for one in (into, source, sink, out):
            one.setblocking(False)
        yield into, source, sink, out


async def all_of(out: socket.socket) -> bytes:
    """Everything up to the end."""
    got = bytearray()
    while piece := await asyncio.get_running_loop().sock_recv(out, 1 << 16):
        got += piece
    return bytes(got)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("count", [0, 1, ROOM, len(VALUE) - 1])
async def test_so_many_bytes_and_no_more(count: int) -> None:
    with ends() as (into, source, sink, out):
        loop, before, told = asyncio.get_running_loop(), descriptors(), list[int]()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.sock_sendall(into, VALUE))
            got = tasks.create_task(all_of(out))
            await splice(source, sink, count, silent_s=SILENT_S, moved=told.append)
            sink.shutdown(socket.SHUT_WR)
            rest = bytearray()
            while len(rest) < len(VALUE) - count:
                rest += await loop.sock_recv(source, 1 << 16)
        assert got.result() == VALUE[:count] and rest == VALUE[count:]
        assert sum(told) == count and descriptors() == before


async def test_a_source_that_ends_early() -> None:
    with ends() as (into, source, sink, out):
        told: list[int] = []
        await asyncio.get_running_loop().sock_sendall(into, b"abc")
        into.close()
        await splice(source, sink, 10, silent_s=SILENT_S, moved=told.append)
        assert (told, out.recv(10)) == ([3], b"abc")


async def test_a_source_that_breaks_or_falls_silent() -> None:
    with ends() as (into, source, sink, out):
        with pytest.raises(SourceError, match="nothing came"):
            await splice(source, sink, 10, silent_s=0.01, moved=lambda _: None)
        into.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        into.close()  # a reset
        with pytest.raises(SourceError, match="reset"):
            await splice(source, sink, 10, silent_s=SILENT_S, moved=lambda _: None)
        sink.shutdown(socket.SHUT_WR)
        assert await all_of(out) == b""


async def test_a_sink_that_breaks_is_told_apart() -> None:
    with ends() as (into, source, sink, out):
        out.close()
        into.send(b"abc")
        with pytest.raises(BrokenPipeError):
            await splice(source, sink, 3, silent_s=SILENT_S, moved=lambda _: None)


async def test_a_slow_sink_holds_up_the_source_and_nothing_grows() -> None:
    """What is in between is bounded by the kernel's buffers, and the loop is free meanwhile."""
    with ends() as (into, source, sink, out):
        loop, told = asyncio.get_running_loop(), list[int]()
        sending = loop.create_task(loop.sock_sendall(into, VALUE * 20))
        moving = loop.create_task(splice(source, sink, len(VALUE) * 20, silent_s=SILENT_S, moved=told.append))
        before = -1
        while sum(told) != before:  # until it is held up
            before = sum(told)
            await asyncio.wait([moving], timeout=0.05)
        assert not moving.done() and not sending.done() and sum(told) < len(VALUE) * 10
        got = bytearray()
        while not moving.done() or len(got) < len(VALUE) * 20:
            got += await loop.sock_recv(out, 1 << 20)
        await asyncio.gather(moving, sending)
        assert got == VALUE * 20


async def test_one_that_is_cancelled_leaves_nothing_open() -> None:
    with ends() as (_, source, sink, _out):
        before = descriptors()
        moving = asyncio.get_running_loop().create_task(
            splice(source, sink, 10, silent_s=SILENT_S, moved=lambda _: None)
        )
        await asyncio.wait([moving], timeout=0.01)
        moving.cancel()
        await asyncio.wait([moving])
        assert moving.cancelled() and descriptors() == before
