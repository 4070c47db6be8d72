"""Attachments for a while: who is on the way in stays only when it comes, and never goes while it is used."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from agent import timeouts
from agent.caller import Caller
from agent.engine.lease import Lease
from agent.host.simulated_faults import Moment
from agent.model import DomainRequest, Outcome, Request
from attachers.base import Goal
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import Step
from tests.engine.cdmi_model import PORTAL
from tests.engine.test_attachments import refused
from tests.engine.world import BOTH, Crash, Processes, Trip, World, running

LEASE = 600.0
GUEST = "domain one-42 (qemu-system-x86_64, pid 77)"


async def leased(daemon: Processes, source: str, **more: Any) -> None:
    """An attachment for a while, as a migration makes it where the guest is to go."""
    view = await daemon.attach("one", source, lease_s=LEASE, **more)
    assert view["lease"]["seconds"] == LEASE and view["lease"]["ends"]


def hctl(daemon: Processes) -> str:
    """The disk's place."""
    return str(daemon.engine.view("one")["device"]["paths"][0]["hctl"])


def told(daemon: Processes, kind: str) -> list[dict[str, object]]:
    """The events of that kind."""
    return [event for event in daemon.engine.events.since(0) if event["kind"] == kind]


async def test_what_nobody_confirms_and_nobody_uses_is_detached(world: World) -> None:
    source, before = world.add_object(), world.kernel.inventory()
    async with running(world) as daemon:
        await leased(daemon, source)
        await daemon.passes(world, LEASE - 1)
        assert daemon.engine.view("one")["phase"] == "attached", "not a second early"
        await daemon.passes(world, 2)
        assert daemon.views() == [] and world.kernel.inventory() == before and world.object().permissions == []
        (said,) = told(daemon, "operation")
        assert (said["operation"], said["outcome"]) == ("expire", "done")
        assert "600 s" in str(said["what"]) and "one" in str(said["what"])
        assert [event["what"] for event in told(daemon, "lease")] == ["begun", "ended"]
        await daemon.attach("one", source)


@pytest.mark.parametrize("how", ["confirm", "put"])
async def test_what_was_confirmed_stays(world: World, how: str) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        if how == "confirm":
            view = await daemon.engine.confirm("one")
        else:
            assert await daemon.outcome("one", source) is Outcome.ALREADY
            view = daemon.engine.view("one")
        assert view["lease"] is None
        await daemon.passes(world, 2 * LEASE)
        assert daemon.engine.view("one")["phase"] == "attached"
        await daemon.attach("one", source, lease_s=LEASE)
        await daemon.passes(world, 2 * LEASE)
        assert daemon.engine.view("one")["lease"] is None, "a late script does not make it one for a while again"
        assert (await daemon.engine.confirm("one"))["phase"] == "attached"


async def test_a_repeated_request_with_a_lease_has_its_time_begin_anew_and_never_shortens_it(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        await daemon.passes(world, LEASE - 10)
        await daemon.attach("one", source, lease_s=LEASE)
        await daemon.attach("one", source, lease_s=5.0)
        await daemon.passes(world, LEASE - 10)
        assert daemon.engine.view("one")["phase"] == "attached"
        await daemon.passes(world, 20)
        assert daemon.views() == []


async def test_it_never_goes_while_anybody_has_it_open(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        world.kernel.open_device(hctl(daemon))
        await daemon.passes(world, 3 * LEASE)
        view = daemon.engine.view("one")
        assert (view["phase"], view["problem"], view["lease"]["seconds"]) == ("attached", None, LEASE)
        assert not told(daemon, "operation"), "it was not even tried"
        world.kernel.close_device(hctl(daemon))
        await daemon.passes(world, 2 * timeouts.CALM_TICK_S)
        assert daemon.views() == []


async def test_who_opens_it_at_the_last_moment_keeps_it(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        place, opened = hctl(daemon), False

        async def open_late(moment: Moment, what: Step | Query) -> None:
            nonlocal opened
            if moment is Moment.BEFORE and isinstance(what, Step) and not opened:
                opened = True
                world.kernel.open_device(place)

        await daemon.passes(world, LEASE - 1)
        world.kernel.hook = open_late
        await daemon.passes(world, 30)
        assert opened and daemon.engine.view("one")["link"] and daemon.engine.view("one")["phase"] == "attached"
        assert told(daemon, "operation")[0]["outcome"] == "refused"
        world.kernel.close_device(place)
        await daemon.passes(world, 30)
        assert daemon.views() == []


async def test_a_guest_that_runs_here_confirms_it(world: World) -> None:
    """The word that the migration is done may never come; the guest is powered off long after, and wants its disk."""
    source = world.add_object()
    world.kernel.add_domain("one-42")
    async with running(world) as daemon:
        await leased(daemon, source)
        place = hctl(daemon)
        world.kernel.open_device(place, holder=GUEST)
        await daemon.passes(world, timeouts.TEND_S + 1)
        assert daemon.engine.view("one")["lease"] is None
        world.kernel.close_device(place, holder=GUEST)
        await daemon.passes(world, 2 * LEASE)
        assert daemon.engine.view("one")["phase"] == "attached"
        assert "one-42 runs here" in str(told(daemon, "lease")[-1]["by"])


async def test_a_guest_whose_memory_is_still_coming_keeps_it_and_does_not_confirm_it(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("one-42", paused=True)
    async with running(world) as daemon:
        await leased(daemon, source)
        place = hctl(daemon)
        world.kernel.open_device(place, holder=GUEST)
        await daemon.passes(world, 2 * LEASE)
        assert daemon.engine.view("one")["phase"] == "attached" and daemon.engine.view("one")["lease"]
        world.kernel.close_device(place, holder=GUEST)  # the migration has failed
        await daemon.passes(world, 2 * timeouts.CALM_TICK_S)
        assert daemon.views() == []


async def test_what_was_handed_to_a_domain_is_not_taken_from_it(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("vm")
    async with running(world) as daemon:
        await leased(daemon, source, domain=DomainRequest("vm", "sda"))
        await daemon.passes(world, 2 * LEASE)
        view = daemon.engine.view("one")
        assert view["lease"] is None and view["domains"][0]["name"] == "vm"


async def test_where_nobody_can_tell_who_uses_it_it_stays(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)

        async def away(moment: Moment, what: Step | Query) -> None:
            if getattr(what, "holders", False):
                raise Problem(Code.UNAVAILABLE, "the helper is away", hint="wait")

        world.kernel.hook = away
        await daemon.passes(world, 2 * LEASE)
        assert daemon.engine.view("one")["link"] and not told(daemon, "operation")
        world.kernel.hook = None
        await daemon.passes(world, 2 * timeouts.CALM_TICK_S)
        assert daemon.views() == []


async def test_a_restart_of_the_daemon_neither_ends_nor_prolongs_it(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        await daemon.passes(world, LEASE / 2)
    async with running(world) as daemon:
        await daemon.engine.starting.settled(limit_s=timeouts.START_S)
        await daemon.passes(world, LEASE / 2 - 2)
        assert daemon.engine.view("one")["phase"] == "attached"
        await daemon.passes(world, 10)
        assert daemon.views() == []


async def test_one_that_ran_out_while_nobody_looked_goes_after_the_start(world: World) -> None:
    source, before = world.add_object(), world.kernel.inventory()
    async with running(world) as daemon:
        await leased(daemon, source)
    world.clock.advance(2 * LEASE)
    async with running(world) as daemon:
        await daemon.engine.starting.settled(limit_s=timeouts.START_S)
        await daemon.passes(world, 2 * timeouts.CALM_TICK_S)
        assert daemon.views() == [] and world.kernel.inventory() == before


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("away", ["the LUN", "the session"])
async def test_it_ends_though_its_disk_cannot_be_proved_since_the_start(world: World, away: str, begun: bool) -> None:
    """Nobody calls for it any more, and its name at the server keeps the object from being deleted."""
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        if begun:
            world.clock.advance(2 * LEASE)
        else:
            await daemon.ledger.change("one", lease=Lease(LEASE))
    if away == "the LUN":
        world.san.remove(world.object().targets[0], world.object().lun)
        world.kernel.foreign_removal(*(device.hctl for _, device in world.kernel.kernel.devices()))
    else:
        world.san.dead.add(PORTAL)
        world.kernel.set_session_state(world.object().targets[0], PORTAL, "FAILED")
    async with running(world) as daemon:
        await daemon.engine.starting.settled(limit_s=timeouts.START_S)
        await rounds(world, daemon, 2 if begun else 8)
        row = daemon.ledger.rows.get("one")
        assert row is None or row.goal is Goal.GONE
        if away == "the session":
            world.san.dead.clear()
            world.kernel.set_session_state(world.object().targets[0], PORTAL, "LOGGED_IN")
            await rounds(world, daemon, 4)
        assert daemon.views() == [] and world.object().permissions == []


async def test_whoever_uses_a_disk_that_cannot_be_proved_since_the_start_keeps_it(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        at = hctl(daemon)
    world.kernel.open_device(at)
    world.san.dead.add(PORTAL)
    world.kernel.set_session_state(world.object().targets[0], PORTAL, "FAILED")
    world.clock.advance(2 * LEASE)
    async with running(world) as daemon:
        await daemon.engine.starting.settled(limit_s=timeouts.START_S)
        await rounds(world, daemon, 2)
        assert daemon.ledger.rows["one"].goal is Goal.ATTACHED


async def rounds(world: World, daemon: Processes, many: int) -> None:
    """Let much time go by, and the daemon look after what is not as it should be."""
    for _ in range(many):
        daemon.engine.tending.round()
        await daemon.passes(world, LEASE / 4)


async def test_a_boot_ends_it_and_what_was_confirmed_comes_back(world: World) -> None:
    sources = world.add_object(1), world.add_object(2)
    async with running(world) as daemon:
        await leased(daemon, sources[0])
        await daemon.attach("two", sources[1], lease_s=LEASE)
        await daemon.engine.confirm("two")
    world.kernel.reboot()
    async with running(world) as daemon:
        assert await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S) == []
        await daemon.engine.settled()
        assert [view["name"] for view in daemon.views()] == ["two"] and world.object(1).permissions == []
        assert "booted" in str(told(daemon, "operation")[0]["what"])


async def test_the_wall_clock_has_nothing_to_say(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of a day in either direction, as NTP makes it after a boot."""
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source)
        real = time.time
        for day in (86400.0, -86400.0):
            monkeypatch.setattr(time, "time", lambda day=day: real() + day)
            await daemon.passes(world, LEASE / 4)
            assert daemon.engine.view("one")["phase"] == "attached"


async def test_it_is_confirmed_too_late(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await leased(daemon, source, generation=7)
        await refused(daemon.engine.confirm("one", generation=6), Code.STALE)
        await refused(daemon.engine.confirm("one", by=Caller(4711)), Code.FORBIDDEN)
        await daemon.passes(world, 2 * LEASE)
        await refused(daemon.engine.confirm("one"), Code.NOT_FOUND)


async def test_an_attach_for_a_while_that_fails_is_undone_at_once(world: World) -> None:
    source, before = world.add_object(mapped=False), world.kernel.inventory()
    async with running(world) as daemon:
        with pytest.raises(Problem):
            await daemon.attach("one", source, lease_s=LEASE, timeout_s=5.0)
        assert world.kernel.inventory() == before


@pytest.mark.parametrize("after", ["restart", "boot"])
async def test_a_crash_at_any_point_leaves_what_the_lease_says(world: World, after: str) -> None:
    """After each: in the same boot it goes when its time is over, after a boot at once; nothing stays for ever."""
    source, before = world.add_object(), world.kernel.inventory()
    for point in range(1, 200):
        trip = Trip(at=point)
        with suppress(Crash, Problem, asyncio.CancelledError):
            async with running(world, trip) as daemon:
                await daemon.engine.attach(Request("one", source, lease_s=LEASE, **BOTH), wait_s=None)
        if after == "boot":
            world.kernel.reboot()
        async with running(world) as daemon:
            await daemon.engine.starting.settled(limit_s=timeouts.BOOT_S)
            if after == "boot":
                assert daemon.ledger.rows == {}
            await daemon.passes(world, LEASE + 60)
            assert daemon.ledger.rows == {} and world.kernel.inventory() == before, point
            assert world.object().permissions == []
        if len(trip.points) < point:
            break
    else:
        pytest.fail("it never came to its end")
