"""The bytes of a LUN: what is on its disk and nothing else, by an attachment that is always gone in the end."""

import asyncio
from contextlib import aclosing, suppress
from typing import Any

import pytest

from agent.engine import lun_content
from agent.host.simulated_blocks import value
from agent.host.simulated_faults import Moment
from agent.model import READING, Access, Part, Reading
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, Query
from attachers.steps import RemoveDevice, Step
from tests.engine.cdmi_model import wwid_of
from tests.engine.world import Crash, Processes, Trip, World, running

SIZE = (9 << 20) + 3 * 512
WHOLE = value(wwid_of(1), 0, SIZE)


def left(world: World) -> list[Any]:
    """What of an attachment is still there, on the host or on the server."""
    kernel = world.kernel.kernel
    things = (kernel.sessions, kernel.records, kernel.links, kernel.device_links)
    return [*(thing for thing in things if thing), *(world.object().permissions or ())]


async def bytes_of(reading: Reading) -> bytes:
    return b"".join([piece async for piece in reading.pieces])


async def read(daemon: Processes, source: str, part: Part | None = None) -> bytes:
    async with daemon.engine.objects.read(source, part=part, tag="") as reading:
        assert (reading.total, reading.tag, reading.hash) == (SIZE, "", None)
        (view,) = [one for one in daemon.views() if READING.fullmatch(one["name"])]
        assert (view["access"], view["phase"]) == ("ro", "attached")
        got = await bytes_of(reading)
        assert len(got) == reading.end - reading.first
        return got


@pytest.mark.parametrize(
    ("part", "first", "end"),
    [
        (None, 0, SIZE),
        (Part(1, None), 1, SIZE),
        (Part((4 << 20) - 3, (8 << 20) + 4), (4 << 20) - 3, (8 << 20) + 5),
        (Part(None, 7), SIZE - 7, SIZE),
        (Part(5000, 5000), 5000, 5001),
    ],
)
async def test_what_is_on_the_disk_and_nothing_is_left(world: World, part: Part | None, first: int, end: int) -> None:
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        assert await read(daemon, source, part) == WHOLE[first:end]
        assert daemon.views() == [] and left(world) == []


async def test_a_part_that_is_not_there(world: World) -> None:
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        with pytest.raises(Problem, match="nothing of it is in an object") as caught:
            await read(daemon, source, Part(SIZE, None))
        assert caught.value.status == 416 and left(world) == []


async def test_whoever_has_all_of_it_finds_it_free(world: World) -> None:
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        async with daemon.engine.objects.read(source, part=None, tag="") as reading:
            assert await bytes_of(reading) == WHOLE
            assert left(world) == [] and daemon.views() == []
            await daemon.attach("vm", source)
        await daemon.detach("vm")


async def test_a_reader_that_goes_away(world: World) -> None:
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        async with (
            daemon.engine.objects.read(source, part=None, tag="") as reading,
            aclosing(reading.pieces) as pieces,
        ):
            await anext(pieces)
        assert left(world) == []
        async with daemon.engine.objects.read(source, part=None, tag=""):
            pass  # it did not even begin
        assert left(world) == []


async def test_a_disk_is_not_taken_away_while_it_is_read(world: World) -> None:
    """The reader goes away while the helper reads: that ends first."""
    source = world.add_object(size=SIZE)
    reached, opened = asyncio.Event(), asyncio.Event()
    told: list[object] = []

    async def hold(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, BlocksQuery):
            reached.set()
            await opened.wait()
            told.append(moment)
        elif isinstance(what, RemoveDevice):
            told.append(RemoveDevice)

    async with running(world) as daemon:
        world.kernel.hook = hold
        half = asyncio.create_task(read(daemon, source))
        await reached.wait()
        half.cancel()
        await asyncio.wait([half], timeout=0.05)
        assert not half.done() and told == []
        opened.set()
        await asyncio.wait([half])
        await daemon.engine.settled()
        assert half.cancelled() and left(world) == [] and daemon.views() == []
    assert told == [Moment.BEFORE, Moment.AFTER, RemoveDevice, RemoveDevice]


async def test_a_reader_that_goes_away_at_any_moment(world: World) -> None:
    """Whatever is just being looked at or done: nothing is left."""
    source = world.add_object(size=SIZE)
    at = 1
    while await left_at(world, source, at):
        at += 1
    assert at > 20


async def left_at(world: World, source: str, at: int) -> bool:
    """Read, and be gone at that look or step; whether there was such a one."""
    passed = 0

    async def leave(_moment: Moment, _what: Step | Query) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            half.cancel()
            await asyncio.sleep(0)

    async with running(world) as daemon:
        world.kernel.hook = leave
        half = asyncio.create_task(read(daemon, source))
        await asyncio.wait([half])
        world.kernel.hook = None
        await daemon.engine.settled()
        assert daemon.views() == [] and left(world) == [], f"left at {at}"
    assert half.cancelled() or half.result() == WHOLE, at
    return passed >= at


@pytest.mark.parametrize("code", [Code.TARGET_TIMEOUT, Code.UNAVAILABLE])
async def test_a_disk_that_goes_away_in_the_middle(world: World, code: Code) -> None:
    """Its last window cannot be read: what is there goes out, the end never does, and it is detached."""
    source = world.add_object(size=SIZE)
    got = b""

    async def gone(moment: Moment, what: Step | Query) -> None:
        if isinstance(what, BlocksQuery) and what.first >= 2 * lun_content.WINDOW and moment is Moment.BEFORE:
            raise Problem(code, "the disk does not answer")

    async with running(world) as daemon:
        world.kernel.hook = gone
        with pytest.raises(Problem) as caught:
            async with daemon.engine.objects.read(source, part=None, tag="") as reading:
                async for piece in reading.pieces:
                    got += piece
        assert caught.value.code is code and left(world) == [] and daemon.views() == []
    assert WHOLE.startswith(got) and lun_content.WINDOW < len(got) < 2 * lun_content.WINDOW


async def test_another_unit_in_the_middle_is_told_and_the_end_never_comes(world: World) -> None:
    source = world.add_object(size=SIZE)
    got = b""
    async with running(world) as daemon:
        with pytest.raises(Problem) as caught:
            async with daemon.engine.objects.read(source, part=None, tag="") as reading:
                async for piece in reading.pieces:
                    got += piece
                    world.change(behind=wwid_of(9))
        assert caught.value.code is Code.WRONG_DEVICE
        assert WHOLE.startswith(got) and len(got) < SIZE


async def test_one_that_changes_after_its_last_byte_was_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof comes last, whatever was read by then."""
    monkeypatch.setattr(lun_content, "WINDOW", 16 << 20)
    source = world.add_object(size=SIZE)
    got = b""
    async with running(world) as daemon:
        with pytest.raises(Problem):
            async with daemon.engine.objects.read(source, part=None, tag="") as reading:
                async for piece in reading.pieces:
                    got += piece
                    world.change(behind=wwid_of(9))
    assert WHOLE.startswith(got) and 0 < len(got) < SIZE


async def test_a_disk_that_has_become_smaller(world: World) -> None:
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        with pytest.raises(Problem) as caught:
            async with daemon.engine.objects.read(source, part=None, tag="") as reading:
                world.change(size=5 << 20)
                await bytes_of(reading)
        assert caught.value.code is Code.CONFLICT and left(world) == []


async def test_beside_attachments(world: World) -> None:
    """Not while a guest writes to it; while others read it, and then it stays with them."""
    source = world.add_object(size=SIZE)
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        with pytest.raises(Problem, match="is attached here as vm") as caught:
            await read(daemon, source)
        assert caught.value.code is Code.CONFLICT and "a snapshot or a clone" in caught.value.hint
        await daemon.detach("vm")
        await daemon.attach("vm", source, access=Access.RO)
        assert await read(daemon, source) == WHOLE
        assert [one["name"] for one in daemon.views() if one["phase"] == "attached"] == ["vm"]
        await daemon.detach("vm")
        async with daemon.engine.objects.read(source, part=None, tag="") as reading:
            with pytest.raises(Problem, match="is attached here as content-") as caught:
                await daemon.attach("vm", source)
            assert caught.value.code is Code.CONFLICT and "has been read" in caught.value.hint
            assert await bytes_of(reading) == WHOLE
        assert left(world) == []


async def test_without_a_name_to_prove_it_by(world: World) -> None:
    source = world.add_object(size=SIZE, named=False)
    async with running(world) as daemon:
        with pytest.raises(Problem):
            await read(daemon, source)
        assert left(world) == []


@pytest.mark.parametrize("dies", ["both", "daemon"])
async def test_a_crash_leaves_nothing(world: World, dies: str) -> None:
    source = world.add_object(size=SIZE)
    trip = Trip()
    async with running(world, trip, dies=dies) as daemon:
        with suppress(Crash):
            async with (
                daemon.engine.objects.read(source, part=None, tag="") as reading,
                aclosing(reading.pieces) as pieces,
            ):
                await anext(pieces)
                trip.dead = True
    assert left(world), "it was in the middle of it"
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.views() == [] and left(world) == []
        assert await read(daemon, source) == WHOLE
