"""Steps whose outcome is not known, and helpers that are away in their middle."""

import asyncio

import pytest

from agent.host.simulated_faults import Faults, Hang, Moment
from agent.model import DomainRequest
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import DomainQuery, Query
from attachers.steps import STEPS, CreateRecord, GiveDisk, Login, Publish, RemoveDevice, Scan, Step, TakeDisk, Unpublish
from tests.engine.cdmi_model import wwid_of
from tests.engine.faults import Steps, away
from tests.engine.test_attachments import refused
from tests.engine.world import World, running

DOMAIN = DomainRequest("one-42", "sda")


@pytest.mark.parametrize("fault", [away(), Uncertain("remove")], ids=["away", "uncertain"])
async def test_a_disk_whose_removal_is_not_known_to_be_done_is_flushed_and_removed_again(
    world: World, fault: Exception
) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        faults = Faults()
        faults.on(RemoveDevice, fault, times=2)
        steps = Steps(world, faults)
        await daemon.detach("one")
        assert steps.taken[:4] == [Unpublish("one", wwid_of(1)), *[RemoveDevice("3:0:0:1", wwid_of(1))] * 3]


async def test_a_disk_whose_flush_failed_is_not_removed(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        before = world.kernel.inventory()
        faults = Faults()
        faults.on(RemoveDevice, Problem(Code.DIRTY, "what was written could not be written out"))
        Steps(world, faults)
        await refused(daemon.detach("one"), Code.DIRTY)
        assert world.kernel.inventory() == before, "the link is back"
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)


@pytest.mark.parametrize(
    "fault", [Problem(Code.DIRTY, "what was written could not be written out"), Uncertain("remove"), away()]
)
async def test_a_disk_whose_flush_failed_is_not_removed_unflushed_when_its_path_dies(
    world: World, fault: Exception
) -> None:
    """The write-out fails because the path dies; the dead path is no reason to drop what was not written."""
    source = world.add_object()

    async def die(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, RemoveDevice) and what.wwid:
            world.san.dead.update(portal for _, portal in world.kernel.kernel.records)
            raise fault

    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.kernel.hook = die
        await refused(daemon.detach("one"), Code.DIRTY)
        assert any(line.startswith("device") for line in world.kernel.inventory()), world.kernel.inventory()
        assert daemon.engine.view("one")["phase"] == "quarantined"


async def test_a_step_that_changes_nothing_is_taken_again_after_a_tick_only(world: World) -> None:
    """Its own end is an event as well, and no reason to take it again at once."""
    source = world.add_object()
    taken: list[Step] = []

    async def in_vain(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, Publish):
            taken.append(what)
            world.kernel.touch()
            if len(taken) < 5:
                raise Hang(0, happens=False)

    async with running(world) as daemon:
        world.kernel.hook = in_vain
        began = world.clock.now()
        await daemon.attach("one", source)
        assert world.clock.now() - began >= 4


async def test_a_removal_that_the_helper_missed_is_asked_for_again(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        faults = Faults()
        faults.on(RemoveDevice, away())
        Steps(world, faults)
        began = world.clock.now()
        await daemon.detach("one")
        assert world.clock.now() - began < 5


async def test_a_disk_that_a_domain_gets_too_late_is_taken_back(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42")
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        faults = Faults()
        faults.on(GiveDisk, Hang(50))
        Steps(world, faults)
        with pytest.raises(Problem):
            await daemon.attach("one", source, domain=DOMAIN, timeout_s=35)
        await daemon.detach("one")
    assert world.kernel.inventory() == empty


async def test_a_disk_that_a_domain_gets_after_the_helper_died_is_taken_back(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42")
    empty = world.kernel.inventory()
    faults = Faults()
    faults.on(GiveDisk, Hang(100))
    steps = Steps(world, faults)
    async with running(world) as daemon:
        attaching = asyncio.create_task(daemon.attach("one", source, domain=DOMAIN))
        await steps.seen(GiveDisk)
    await asyncio.gather(attaching, return_exceptions=True)
    async with running(world) as daemon:
        await asyncio.gather(daemon.detach("one"), return_exceptions=True)
        world.clock.advance(200)
        await daemon.detach("one")
    assert world.kernel.inventory() == empty


async def test_a_hand_over_waits_for_a_helper_that_restarts(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42")
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        faults = Faults()
        faults.on(DomainQuery, away(), times=2)
        faults.on(GiveDisk, away(), times=2)
        faults.on(TakeDisk, away(), times=2)
        Steps(world, faults)
        view = await daemon.attach("one", source, domain=DOMAIN)
        assert view["domains"] and f"disk sda of one-42: {view['link']}" in world.kernel.inventory()
        faults.on(DomainQuery, away(), times=2)
        await daemon.detach("one")
    assert world.kernel.inventory() == empty


async def test_a_record_that_comes_after_the_helper_died_is_still_ours(world: World) -> None:
    source = world.add_object()
    empty = world.kernel.inventory()
    faults = Faults()
    faults.on(CreateRecord, Hang(10))
    steps = Steps(world, faults)
    async with running(world) as daemon:
        attaching = asyncio.create_task(daemon.attach("one", source))
        await steps.seen(CreateRecord)
    await asyncio.gather(attaching, return_exceptions=True)
    async with running(world) as daemon:
        await daemon.detach("one")
    world.clock.advance(60)
    async with running(world):
        assert world.kernel.inventory() == empty


async def test_a_session_that_comes_and_goes_does_not_hold_a_request_beyond_its_deadline(world: World) -> None:
    source = world.add_object()

    async def flap(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.AFTER and isinstance(what, STEPS):
            world.clock.advance(1)
            if isinstance(what, Scan):
                for session in list(world.kernel.kernel.sessions):
                    del world.kernel.kernel.sessions[session]
            if world.clock.now() > began + 300:
                raise Problem(Code.INTERNAL, "this goes on for ever")

    async with running(world) as daemon:
        began, world.kernel.hook = world.clock.now(), flap
        await refused(daemon.attach("one", source, timeout_s=30), Code.DEVICE_TIMEOUT)
        assert world.clock.now() < began + 60


async def test_a_step_under_way_when_the_daemon_stops_is_not_said_to_be_done(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        reached = asyncio.Event()

        async def hold(moment: Moment, what: Step | Query) -> None:
            if moment is Moment.BEFORE and isinstance(what, Login):
                reached.set()
                await asyncio.Event().wait()

        world.kernel.hook = hold
        attaching = asyncio.create_task(daemon.attach("one", source))
        await reached.wait()
        await daemon.engine.stop()
        await asyncio.gather(attaching, return_exceptions=True)
        last = daemon.engine.view("one")["steps"][-1]
        assert last["what"].startswith("log in") and last["problem"] == "uncertain"
        world.kernel.hook = None
