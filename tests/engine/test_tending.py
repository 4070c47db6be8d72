"""What the engine does without being asked: it looks at disks that nobody has looked at for long."""

import asyncio

from agent import timeouts
from tests.engine.cdmi_model import wwid_of
from tests.engine.world import World, running


async def test_a_lun_that_went_from_the_array_is_told_without_being_asked(world: World) -> None:
    """Case 75: the disk stays and says `running`; a look now and then finds out, and that it is back."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.change(behind=wwid_of(9))
        daemon.engine.tending.round()
        await daemon.engine.settled()
        assert daemon.engine.view("one")["phase"] == "attached", "it was looked at a moment ago"
        world.clock.advance(timeouts.LOOK_S)
        daemon.engine.tending.round()
        await daemon.engine.settled()
        view = daemon.engine.view("one")
        assert (view["phase"], view["problem"]["code"]) == ("degraded", "wrong-device")
        world.change(behind="")
        daemon.engine.tending.round()
        await daemon.engine.settled()
        assert daemon.engine.view("one")["phase"] == "attached" and daemon.engine.view("one")["problem"] is None


async def test_what_is_just_being_asked_for_is_left_alone(world: World) -> None:
    """A round at every turn, also while the ledger notes what is wanted: nobody works beside the one who was asked."""

    async def rounds() -> None:
        while True:
            daemon.engine.tending.round()
            await asyncio.sleep(0)

    source = world.add_object()
    async with running(world) as daemon:
        tending = asyncio.create_task(rounds())
        for _ in range(2):
            await daemon.attach("one", source)
            await daemon.detach("one")
        tending.cancel()
        taken = [event["what"].split()[0] for event in daemon.engine.events.since(0) if event["kind"] == "step-began"]
        assert taken[: len(taken) // 2] * 2 == taken and "unpublish" in taken
