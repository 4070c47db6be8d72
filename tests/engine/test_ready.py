"""An export that the server has not filled in yet is awaited, for as long as the caller has time."""

import asyncio

import pytest

from agent.engine import ready
from agent.host.simulated_faults import Moment
from agent.model import Request
from attachers.problems import Code, Problem
from tests.engine.world import World, running

NEVER = float("inf")


async def test_an_export_that_comes_is_used(world: World) -> None:
    source = world.add_object(unready=5)
    async with running(world) as daemon:
        before = world.clock.now()
        view = await daemon.attach("one", source)
        assert view["phase"] == "attached"
        assert world.clock.now() - before >= 3 * ready.FIRST_PAUSE_S
        assert [step["what"].split()[0] for step in view["steps"]][:2] == ["resolve", "expect"], "one step, not five"
        await daemon.detach("one")


async def test_an_export_that_never_comes_is_given_up_at_the_deadline(world: World) -> None:
    source = world.add_object(unready=NEVER)
    async with running(world) as daemon:
        before = world.clock.now()
        with pytest.raises(Problem, match="not ready: no portals") as caught:
            await daemon.attach("one", source, timeout_s=30)
        assert caught.value.code is Code.NO_USABLE_EXPORT
        assert "wait until the server has made the export" in caught.value.hint
        assert 30 - ready.LONGEST_PAUSE_S <= world.clock.now() - before <= 30
        await daemon.detach("one")


async def test_what_no_wait_would_mend_is_refused_at_once(world: World) -> None:
    source = world.add_object(unready=NEVER)
    async with running(world) as daemon:
        before = world.clock.now()
        with pytest.raises(Problem) as caught:
            await daemon.attach("one", source, protocols=("nfs",))
        assert caught.value.code is Code.NO_USABLE_EXPORT
        assert world.clock.now() == before
        await daemon.detach("one")


async def test_a_detach_does_not_wait_for_it(world: World) -> None:
    source, asked = world.add_object(unready=NEVER), asyncio.Event()

    async def hook(moment: Moment, what: str, uri: str) -> None:
        asked.set()

    world.cdmi.hook = hook
    async with running(world) as daemon:
        request = Request("one", source, timeout_s=600)
        attach = asyncio.create_task(daemon.engine.attach(request, wait_s=None))
        await asked.wait()
        before = world.clock.now()
        await daemon.detach("one")
        with pytest.raises(Problem) as caught:
            await attach
        assert caught.value.code in (Code.CONFLICT, Code.NOT_FOUND)
        assert world.clock.now() - before <= ready.LONGEST_PAUSE_S
        assert daemon.views() == []
