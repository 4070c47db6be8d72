"""What the engine does without being asked: it looks at disks that nobody has looked at for long."""

import asyncio
from typing import Any

import pytest

from agent import timeouts
from agent.host.simulated_faults import Moment
from agent.model import DomainRequest
from attachers.sights import IscsiQuery, Query
from attachers.steps import Step
from tests.engine.cdmi_model import PORTAL, wwid_of
from tests.engine.world import Processes, World, running

TARGET = "iqn.2026-01.org.example:lun1"


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


async def looked_at(daemon: Processes) -> dict[str, Any]:
    """What is said of the attachment when the daemon has heard of what happened, and without any time passing first."""
    daemon.engine.tending.alarm()
    await daemon.engine.settled()
    return daemon.engine.view("one")


async def test_a_session_that_others_log_out_is_told_at_once_and_so_is_who_has_the_dead_disk(world: World) -> None:
    """Case 80: the disk comes back as another one; the domain still has the first one open, and only it knows."""
    source = world.add_object()
    world.kernel.add_domain("vm")
    async with running(world) as daemon:
        before = await daemon.attach("one", source, domain=DomainRequest("vm", "sda"))
        world.kernel.foreign_logout(TARGET, PORTAL)
        since = daemon.engine.events.last
        view = await looked_at(daemon)
        assert "degraded" in phases(daemon, since), "before anything is mended"
        assert view["device"]["node"] != before["device"]["node"] and view["verified"], "it is back"
        assert view["phase"] == "degraded" and "domain vm" in view["problem"]["detail"]
        assert view["domains"] == [{"name": "vm", "target": "sda", "state": "dead"}] and "re-plug" in view["note"]
        for _ in range(2):
            assert (await daemon.attach("one", source, domain=DomainRequest("vm", "sda")))["phase"] == "degraded"
        await daemon.engine.take("one", "vm")
        await daemon.engine.give("one", DomainRequest("vm", "sda"))
        world.clock.advance(timeouts.TEND_S)
        daemon.engine.tending.round()
        await daemon.engine.settled()
        view = daemon.engine.view("one")
        assert (view["phase"], view["problem"], view["note"]) == ("attached", None, None)
        assert view["domains"] == [{"name": "vm", "target": "sda", "state": "given"}]


async def test_who_has_a_dead_disk_is_known_after_a_restart_and_forgotten_by_a_boot(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("vm")
    async with running(world) as daemon:
        await daemon.attach("one", source, domain=DomainRequest("vm", "sda"))
    world.kernel.foreign_logout(TARGET, PORTAL)
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("one")["domains"][0]["state"] == "dead"
    world.kernel.reboot()
    async with running(world) as daemon:
        await daemon.engine.settled()
        assert daemon.engine.view("one")["domains"][0]["state"] == "given"


@pytest.mark.parametrize("what", ["unmapped", "swapped", "offline"])
async def test_a_disk_that_is_none_any_more_is_not_said_to_be_verified(world: World, what: str) -> None:
    """Cases 75 and 80: told at the next event, with the reason, though the look goes on for a while."""
    source = world.add_object()
    async with running(world) as daemon:
        before = await daemon.attach("one", source)
        if what == "offline":
            world.kernel.set_device_state(before["device"]["paths"][0]["hctl"], "offline")
        else:
            world.change(mapped=what != "unmapped", behind=wwid_of(9))
        assert daemon.engine.view("one")["verified"], "nobody has heard of it"
        world.kernel.alarm()
        since = daemon.engine.events.last
        view = await looked_at(daemon)
        assert "degraded" in phases(daemon, since)
        assert view["phase"] == "degraded" and not view["verified"] and view["problem"]["detail"]


async def test_an_alarm_has_each_disk_looked_at_once_and_not_again_and_again(world: World) -> None:
    """A host where disks come and go all the time: nobody is asked more often than every few seconds."""
    sources = [world.add_object(number) for number in (1, 2)]
    async with running(world) as daemon:
        for number, source in enumerate(sources):
            await daemon.attach(f"vm-{number}", source)
        looks = 0

        async def count(moment: Moment, what: Step | Query) -> None:
            nonlocal looks
            looks += moment is Moment.BEFORE and isinstance(what, IscsiQuery)

        world.kernel.hook = count
        for _ in range(10):
            world.kernel.alarm()
            daemon.engine.tending.alarm()
            await daemon.engine.settled()
        assert looks == len(sources)
        world.clock.advance(timeouts.CALM_TICK_S)
        daemon.engine.tending.alarm()
        await daemon.engine.settled()
        assert looks == 2 * len(sources), "what happened meanwhile is not forgotten"
        daemon.engine.tending.alarm()
        await daemon.engine.settled()
        assert looks == 2 * len(sources), "and without an alarm nobody is asked"


def phases(daemon: Processes, since: int) -> list[str]:
    """The phases that were told since then."""
    return [event["phase"] for event in daemon.engine.events.since(since) if event["kind"] == "phase"]
