"""Several requests for one attachment at once: each has its turn, and is answered for what it asked."""

import asyncio

import pytest

from agent.host.simulated_faults import Moment
from agent.model import DomainRequest, Outcome
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import RemoveDevice, Step, Unpublish
from tests.engine.cdmi_model import SIZE, wwid_of
from tests.engine.faults import Gate
from tests.engine.test_attachments import phase, refused
from tests.engine.test_races import seen
from tests.engine.world import World, running

TURNS = 40
"""More turns of the loop than there are between the end of one task and the first act of the next."""


async def test_an_attach_behind_a_resize_is_answered_for_itself(world: World) -> None:
    """The resize is refused before it looks at the disk; the attach looks, and finds all well."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        gate = Gate(world, "resolve")
        world.object().size = SIZE // 2
        resizing = asyncio.create_task(daemon.engine.resize("one"))
        await gate.reached.wait()
        attaching = asyncio.create_task(daemon.outcome("one", source))
        looks: list[Query] = []

        async def note(moment: Moment, what: Step | Query) -> None:
            if isinstance(what, Query):
                looks.append(what)

        world.kernel.hook = note
        gate.opened.set()
        await refused(resizing, Code.CONFLICT)
        assert await attaching is Outcome.ALREADY and looks, "nothing is handed out without a look"


async def test_a_second_detach_is_answered_as_the_first_whatever_is_asked_in_between(world: World) -> None:
    """The disk is in use: both are told so, and not that it should be attached first."""
    source = world.add_object()
    world.kernel.add_domain("guest")
    async with running(world) as daemon:
        hctl = (await daemon.attach("one", source))["device"]["paths"][0]["hctl"]
        reached, opened = asyncio.Event(), asyncio.Event()

        async def hold(moment: Moment, what: Step | Query) -> None:
            if moment is Moment.BEFORE and isinstance(what, Unpublish | RemoveDevice):
                reached.set()
                await opened.wait()

        world.kernel.hook = hold
        first = asyncio.create_task(daemon.detach("one"))
        await reached.wait()
        giving = asyncio.create_task(daemon.engine.give("one", DomainRequest("guest", "sdb")))
        await asyncio.sleep(0)
        second = asyncio.create_task(daemon.detach("one"))
        await asyncio.sleep(0)
        world.kernel.open_device(hctl)
        opened.set()
        await refused(first, Code.IN_USE)
        await refused(second, Code.IN_USE)
        await giving
        assert phase(daemon, "one") == "attached"
        world.kernel.hook = None


@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_detach_of_what_has_failed_leaves_a_new_one_of_that_name_alone(world: World, turns: int) -> None:
    source = world.add_object(behind=wwid_of(9))
    async with running(world) as daemon:
        gate = Gate(world, "revoke")
        failing = asyncio.create_task(daemon.attach("one", source))
        await gate.reached.wait()
        detaching = asyncio.create_task(daemon.detach("one"))
        world.change(behind="")
        gate.opened.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        attaching = asyncio.create_task(daemon.attach("one", source))
        failed, gone, new = await asyncio.gather(failing, detaching, attaching, return_exceptions=True)
        assert isinstance(failed, Problem) and gone is None
        if isinstance(new, Problem):
            assert new.code is Code.BUSY and "one" not in daemon.ledger.rows
        else:
            assert phase(daemon, "one") == "attached"


async def test_stopping_stops_an_overtaken_attach_as_well(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        gate = Gate(world, "resolve")
        attaching = asyncio.create_task(daemon.attach("one", source))
        await gate.reached.wait()
        detaching = asyncio.create_task(daemon.detach("one"))
        await seen(daemon, "one", "phase", phase="detaching")
        await daemon.engine.stop()
        await asyncio.gather(attaching, detaching, return_exceptions=True)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("attachment ")]
        last = daemon.engine.view("one")["steps"][-1]
        assert (last["what"], last["problem"]) == (f"resolve {source}", "uncertain"), "nobody knows what came of it"
