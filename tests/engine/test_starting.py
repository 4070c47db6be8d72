"""The daemon's start, also after a boot: what was wanted comes back, and only what was looked at is shown."""

import math

from agent import timeouts
from agent.host.simulated_faults import Faults
from attachers.base import Goal
from attachers.problems import Code, Problem
from attachers.steps import Login
from tests.engine.cdmi_model import wwid_of
from tests.engine.world import World, running

UNSEEN = {"phase": "uncertain", "verified": False, "link": None, "device": None, "disk_xml": None}


async def attached_then_down(world: World) -> None:
    """An attachment, and the daemon's end."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)


def storage_fails(world: World, *, times: float) -> None:
    """The storage is not up yet: so many logins fail at once."""
    faults = world.kernel.hook = Faults()
    faults.on(Login, Problem(Code.TARGET_TIMEOUT, "no route to the portal"), times=int(min(times, 10**6)))


async def test_what_stands_is_shown_once_it_was_looked_at_and_no_step_is_taken(world: World) -> None:
    await attached_then_down(world)
    async with running(world) as daemon:
        view = daemon.engine.view("one")
        assert {key: view[key] for key in UNSEEN} == UNSEEN and daemon.views() == [view]
        began = world.clock.now()
        assert await daemon.engine.starting.settled(limit_s=timeouts.START_S) == []
        assert world.clock.now() - began < timeouts.AGAIN_S
        view = daemon.engine.view("one")
        assert (view["phase"], view["verified"], view["steps"]) == ("attached", True, [])
        assert view["link"] and view["device"]["node"] and daemon.views() == [view]


async def test_after_a_boot_it_is_shown_when_it_is_back(world: World) -> None:
    await attached_then_down(world)
    world.kernel.reboot()
    storage_fails(world, times=math.inf)
    async with running(world) as daemon:
        await daemon.engine.settled()
        view = daemon.engine.view("one")
        assert (view["phase"], view["link"], view["device"], view["verified"]) == ("degraded", None, None, False)
        world.kernel.hook = None
        assert await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S) == []
        assert daemon.engine.view("one")["phase"] == "attached" and daemon.engine.view("one")["link"]


async def test_after_a_boot_storage_that_comes_late_is_asked_again_soon(world: World) -> None:
    """Case 102: the disk was 30 s behind, and the domains that start by themselves had been given up by then."""
    await attached_then_down(world)
    world.kernel.reboot()
    storage_fails(world, times=2)
    async with running(world) as daemon:
        began = world.clock.now()
        assert await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S) == []
        assert world.clock.now() - began < timeouts.TEND_S / 2
        assert daemon.engine.view("one")["phase"] == "attached"


async def test_what_does_not_come_back_is_named_when_the_bound_has_passed(world: World) -> None:
    await attached_then_down(world)
    world.kernel.reboot()
    storage_fails(world, times=math.inf)
    async with running(world) as daemon:
        began = world.clock.now()
        assert await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S) == ["one"]
        assert timeouts.BOOT_S <= world.clock.now() - began < timeouts.BOOT_S + timeouts.TEND_S


async def test_another_disk_at_its_place_is_not_waited_for(world: World) -> None:
    await attached_then_down(world)
    world.kernel.reboot()
    world.change(behind=wwid_of(9))
    async with running(world) as daemon:
        began = world.clock.now()
        assert await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S) == []
        assert world.clock.now() - began < timeouts.BOOT_S / 2
        view = daemon.engine.view("one")
        assert (view["phase"], view["link"], view["problem"]["code"]) == ("degraded", None, "wrong-device")


async def test_a_detach_that_was_begun_before_ends_first(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.ledger.change("one", goal=Goal.GONE)
    async with running(world) as daemon:
        assert await daemon.engine.starting.settled(limit_s=timeouts.START_S) == []
        assert daemon.views() == [] and world.kernel.inventory() == frozenset()


async def test_with_nothing_in_the_ledger_the_daemon_is_ready_at_once(world: World) -> None:
    async with running(world) as daemon:
        began = world.clock.now()
        assert await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S) == []
        assert world.clock.now() == began
