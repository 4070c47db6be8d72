"""Objects and attachments: nothing is deleted from under its users."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from agent.engine.objects import STREAMS
from agent.host.simulated_faults import Moment
from attachers.problems import Code, Problem
from tests.engine.faults import Gate
from tests.engine.world import World, running


async def test_what_is_attached_is_not_deleted(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        assert (await daemon.engine.objects.stat(source))["attachments"] == ["one"]
        with pytest.raises(Problem, match="attached here as one") as caught:
            await daemon.engine.objects.delete(source)
        assert caught.value.code is Code.IN_USE and "detach one" in caught.value.hint
        await daemon.detach("one")
        assert (await daemon.engine.objects.stat(source))["attachments"] == []
        await daemon.engine.objects.delete(source)
        assert world.cdmi.objects == {}
        await daemon.engine.objects.delete(source)


async def test_other_objects_may_go(world: World) -> None:
    first, second = world.add_object(1), world.add_object(2)
    async with running(world) as daemon:
        await daemon.attach("one", first)
        await daemon.engine.objects.delete(second)
        assert len(world.cdmi.objects) == 1
        await daemon.detach("one")


async def test_an_attach_that_meets_a_delete_comes_to_nothing(world: World) -> None:
    """The object was resolved, and goes before this host is let in: the attach fails, and leaves nothing."""
    source, before = world.add_object(), world.kernel.inventory()
    async with running(world) as daemon:
        gate = Gate(world, "delete")
        delete = asyncio.create_task(daemon.engine.objects.delete(source))
        await gate.reached.wait()
        attach = asyncio.create_task(daemon.attach("one", source))
        gate.opened.set()
        await delete
        with pytest.raises(Problem) as caught:
            await attach
        assert caught.value.code is Code.NOT_FOUND
        assert world.kernel.inventory() == before
        await daemon.detach("one")


async def test_a_delete_that_meets_an_attach_waits_and_is_refused(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        gate = Gate(world, "grant", Moment.BEFORE)
        attach = asyncio.create_task(daemon.attach("one", source))
        await gate.reached.wait()
        delete = asyncio.create_task(daemon.engine.objects.delete(source))
        gate.opened.set()
        await attach
        with pytest.raises(Problem) as caught:
            await delete
        assert caught.value.code is Code.IN_USE
        await daemon.detach("one")


async def test_nobody_waits_for_a_stream_that_may_last(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon, AsyncExitStack() as held:
        streams = daemon.engine.objects._streams
        for _ in range(STREAMS):
            await held.enter_async_context(streams)
        with pytest.raises(Problem, match="read or written already") as caught:
            async with daemon.engine.objects.read(source, part=None, tag=""):
                raise AssertionError("one stream too many")
        assert caught.value.code is Code.BUSY


async def test_what_is_being_written_here_is_not_attached_meanwhile(world: World) -> None:
    """By whichever address; nor written twice at once."""
    source = world.add_object()
    async with running(world) as daemon:
        objects, begun, ended = daemon.engine.objects, asyncio.Event(), asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            begun.set()
            await ended.wait()
            yield b"x"

        write = asyncio.create_task(objects.write(source, pieces(), length=1, replace=True))
        await begun.wait()
        with pytest.raises(Problem, match="is being written here") as caught:
            await daemon.attach("one", source)
        assert caught.value.code is Code.BUSY
        await daemon.detach("one")
        with pytest.raises(Problem, match="is being written here") as twice:
            await objects.write(source, pieces(), length=1, replace=True)
        assert twice.value.code is Code.BUSY
        ended.set()
        await write
        await daemon.attach("one", source)
        with pytest.raises(Problem, match="is attached here as one") as used:
            await objects.write(source, pieces(), length=1, replace=True)
        assert used.value.code is Code.IN_USE
        await daemon.detach("one")
        await objects.write(source, pieces(), length=1, replace=True)
