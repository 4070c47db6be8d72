"""What nobody asks for any more: told, and taken away by the way on which an attachment goes, with all of its gates."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.caller import DAEMON, Caller
from agent.engine.ledger import Grant
from agent.host.simulated_faults import Moment
from agent.model import Present
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import RemoveDevice, Step, Unpublish
from tests.engine.cdmi_model import INITIATOR, KEY, PORTAL, wwid_of
from tests.engine.test_attachments import refused
from tests.engine.world import Crash, Processes, Trip, World, running

TARGET = "iqn.2026-01.org.example:lun1"
KINDS = ("iscsi", "fc", "iscsi with two paths")


async def forgotten(world: World, source: str, **more: Any) -> None:
    """What is left of an attachment when its ledger is lost: all that the host has of it, and its permission."""
    async with running(world) as daemon:
        await daemon.attach("one", source, **more)
        await daemon.engine.settled()
    lose(world.disk)


def lose(disk: Path) -> None:
    """The daemon's ledger."""
    for file in disk.glob("ledger.sqlite*"):
        file.unlink()


def add(world: World, kind: str) -> str:
    """An object of that kind."""
    if kind == "fc":
        world.cable()
        return world.add_fc_object()
    if "two" in kind:
        world.kernel.kernel.multipathd.runs = True
        return world.add_object(portals=(PORTAL, "127.0.0.2:3260"))
    return world.add_object()


async def left(daemon: Processes) -> list[dict[str, Any]]:
    """What is told of leftovers."""
    return list((await daemon.engine.leftovers.found())["leftovers"])


def hctls(world: World) -> list[str]:
    """The disks on the host."""
    return [device.hctl for _, device in world.kernel.kernel.devices()]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_lost_ledger_leaves_is_told_and_taken_away(world: World, kind: str) -> None:
    source = add(world, kind)
    before = world.kernel.inventory()
    await forgotten(world, source)
    async with running(world) as daemon:
        items = await left(daemon)
        assert items and all(item["ours"] for item in items)
        assert any(item["kind"] == "unit" and wwid_of(1) in item["what"] for item in items)
        there = world.kernel.inventory()
        assert await left(daemon) == items and world.kernel.inventory() == there, "looking changes nothing"
        answer = await daemon.engine.leftovers.clean(None, DAEMON)
        assert {item["id"] for item in answer["cleaned"]} and not [one for one in answer["left"] if one["problem"]]
        assert not hctls(world) and await left(daemon) == [] and daemon.views() == []
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before


async def test_what_anybody_needs_is_none(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        assert await left(daemon) == []
        await daemon.attach("one", source)
        assert await left(daemon) == []
        await daemon.engine.leftovers.clean(None, DAEMON)
        assert daemon.engine.view("one")["phase"] == "attached"


async def test_what_is_on_its_way_out_and_waits_for_its_server_is_none(world: World) -> None:
    world.cable()
    source = world.add_fc_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no route")
        await refused(daemon.detach("one"), Code.CDMI_UNREACHABLE)
        assert daemon.helper.guarded.created and await left(daemon) == []
        world.cdmi.down = None
        await daemon.detach("one")


@pytest.mark.parametrize("one", [True, False])
async def test_what_is_open_stays_and_says_by_whom(world: World, one: bool) -> None:
    await forgotten(world, world.add_object())
    (hctl,) = hctls(world)
    world.kernel.open_device(hctl)
    async with running(world) as daemon:
        (item,) = [each for each in await left(daemon) if each["kind"] == "unit"]
        assert item["users"] == ["somebody (pid 4711)"] and not item["cleanable"] and "somebody" in item["why"]
        if one:
            await refused(daemon.engine.leftovers.clean(item["id"], DAEMON), Code.IN_USE)
        else:
            answer = await daemon.engine.leftovers.clean(None, DAEMON)
            assert [each["id"] for each in answer["left"]] == [item["id"]] and not answer["cleaned"]
        assert hctls(world) == [hctl] and daemon.views() == []
        world.kernel.close_device(hctl)
        await daemon.engine.leftovers.clean(None, DAEMON)
        assert not hctls(world)


async def test_what_is_open_by_its_map_stays_and_says_by_whom(world: World) -> None:
    """A guest that has the map open does not have its paths open."""
    await forgotten(world, add(world, "iscsi with two paths"))
    there = world.kernel.inventory()
    world.kernel.open_map(wwid_of(1), holder="qemu (pid 7)")
    async with running(world) as daemon:
        (item,) = [each for each in await left(daemon) if each["kind"] == "unit"]
        assert item["users"] == ["qemu (pid 7)"] and not item["cleanable"]
        await daemon.engine.leftovers.clean(None, DAEMON)
        await refused(daemon.engine.leftovers.clean(item["id"], DAEMON), Code.IN_USE)
        world.kernel.close_map(wwid_of(1), holder="qemu (pid 7)")
        daemon.engine.tending.round()
        await daemon.passes(world, 300.0)
        assert world.kernel.inventory() == there and daemon.views() == []


def opened_before(world: World, kind: type[Step], *, crash: bool = False) -> None:
    """Somebody opens the disk just before a step of that kind; the daemon may die there."""

    async def open_it(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, kind):
            world.kernel.hook = None
            world.kernel.open_device(*hctls(world))
            if crash:
                raise Crash

    world.kernel.hook = open_it


@pytest.mark.parametrize("kind", [Unpublish, RemoveDevice])
async def test_what_is_opened_while_it_is_taken_away_is_a_leftover_again(world: World, kind: type[Step]) -> None:
    """It has its link, and does not go of itself later, when whoever uses it closes it for a moment."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.ledger.forget("one")
        there, items = world.kernel.inventory(), await left(daemon)
        opened_before(world, kind)
        with pytest.raises(Problem) as caught:
            await daemon.engine.leftovers.clean(items[0]["id"], DAEMON)
        assert caught.value.code is Code.IN_USE
        world.kernel.close_device(*hctls(world))
        assert world.kernel.inventory() == there and await left(daemon) == items
        world.kernel.open_device(*hctls(world))
        await stays(world, daemon)


async def test_what_was_opened_before_the_daemon_died_is_a_leftover_again(world: World) -> None:
    await forgotten(world, world.add_object())
    opened_before(world, Unpublish, crash=True)
    with suppress(Crash, asyncio.CancelledError, Problem):
        async with running(world) as daemon:
            await daemon.engine.leftovers.clean(None, DAEMON)
    async with running(world) as daemon:
        await daemon.engine.settled()
        await stays(world, daemon)


async def stays(world: World, daemon: Processes) -> None:
    """Nobody has it open any more, and it is there, and no attachment."""
    (hctl,) = hctls(world)
    world.kernel.close_device(hctl)
    daemon.engine.tending.round()
    await daemon.passes(world, 300.0)
    assert hctls(world) == [hctl] and daemon.views() == []
    (item,) = [each for each in await left(daemon) if each["kind"] == "unit"]
    assert item["cleanable"]
    await daemon.attach("one", f"cdmi://server/cdmi_objectid/{1:032X}")


async def test_what_does_not_say_which_unit_it_is_stays(world: World) -> None:
    await forgotten(world, world.add_object())
    (hctl,) = hctls(world)
    world.change(mapped=False)
    async with running(world) as daemon:
        (item,) = [each for each in await left(daemon) if each["kind"] == "unit"]
        assert not item["cleanable"] and "cannot be proved" in item["why"]
        await refused(daemon.engine.leftovers.clean(item["id"], DAEMON), Code.CONFLICT)
        assert hctls(world) == [hctl]


async def test_what_somebody_else_made_is_never_touched(world: World) -> None:
    """A disk that was on the host before us, and one that carries no I/O any more."""
    source = world.add_object()
    world.change(permissions=[INITIATOR])
    world.kernel.foreign_session(TARGET, PORTAL)
    hctl = world.kernel.foreign_device(TARGET, PORTAL, 1)
    await forgotten(world, source)
    world.kernel.set_device_state(hctl, "offline")
    async with running(world) as daemon:
        items = await left(daemon)
        theirs = [item for item in items if not item["ours"]]
        assert theirs and hctl in theirs[0]["what"] and "offline" in theirs[0]["what"] and not theirs[0]["cleanable"]
        await refused(daemon.engine.leftovers.clean(theirs[0]["id"], DAEMON), Code.CONFLICT)
        await daemon.engine.leftovers.clean(None, DAEMON)
        assert hctls(world) == [hctl] and len(world.kernel.kernel.sessions) == 1


async def test_the_session_of_another_attachment_stays(world: World) -> None:
    sources = world.add_object(1, target=TARGET, lun=1), world.add_object(2, target=TARGET, lun=2)
    await forgotten(world, sources[0])
    async with running(world) as daemon:
        await daemon.attach("two", sources[1])
        await daemon.engine.leftovers.clean(None, DAEMON)
        assert daemon.engine.view("two")["phase"] == "attached" and len(hctls(world)) == 1
        assert await left(daemon) == [] and [view["name"] for view in daemon.views()] == ["two"]


async def test_what_the_host_still_caches_is_written_out_first(world: World) -> None:
    await forgotten(world, world.add_object())
    world.kernel.write(wwid_of(1), "important")
    async with running(world) as daemon:
        await daemon.engine.leftovers.clean(None, DAEMON)
        assert not hctls(world)
    assert world.san.stored[wwid_of(1)] == ["important"]


async def test_what_cannot_be_written_out_stays_and_is_dirty(world: World) -> None:
    """Case 97: it is shown as an attachment that cannot go, until somebody says that the loss is known."""
    await forgotten(world, world.add_object())
    world.kernel.write(wwid_of(1), "important")
    world.san.failing[wwid_of(1)] = 1
    async with running(world) as daemon:
        answer = await daemon.engine.leftovers.clean(None, DAEMON)
        assert [one["problem"]["code"] for one in answer["left"]] == ["dirty"] and hctls(world)
        (view,) = daemon.views()
        assert (view["name"], view["phase"], view["problem"]["code"]) == ("one", "quarantined", "dirty")
        daemon.engine.tending.round()
        await daemon.engine.settled()
        assert hctls(world), "nor is it tried until it seems to succeed"
        await daemon.detach("one", force=True)
        assert not hctls(world) and daemon.engine.view("one")["tainted"]


async def test_permissions_that_none_relies_on(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    async with running(world) as daemon:
        uri = world.cdmi.resolve(source).uri
        await daemon.attach("two", world.add_object(2))
        await daemon.ledger.change("two", grants=[Grant(uri, KEY, INITIATOR)])
        (item,) = await left(daemon)
        assert item["kind"] == "permission" and INITIATOR in item["what"]
        await daemon.engine.leftovers.clean(item["id"], DAEMON)
        assert world.object(1).permissions == [] and await left(daemon) == []
        assert world.object(2).permissions == [INITIATOR]


async def test_a_share_that_nothing_is_in(world: World) -> None:
    await forgotten(world, world.add_file(), present=Present.FILE)
    async with running(world) as daemon:
        assert {item["kind"] for item in await left(daemon)} == {"link", "mount"}
        for _ in range(2):
            await daemon.engine.leftovers.clean(None, DAEMON)
        assert await left(daemon) == [] and not world.kernel.inventory()


async def test_who_may(world: World) -> None:
    await forgotten(world, world.add_object())
    async with running(world) as daemon:
        await refused(daemon.engine.leftovers.clean(None, Caller(4711)), Code.FORBIDDEN)
        await refused(daemon.engine.leftovers.clean("0" * 12, DAEMON), Code.NOT_FOUND)
        assert hctls(world)


async def test_a_crash_at_any_point_leaves_nothing_that_is_not_told(world: World) -> None:
    source = world.add_object()
    before = world.kernel.inventory()
    for point in range(1, 200):
        await forgotten(world, source)
        trip = Trip(at=point)
        with suppress(Crash, Problem, asyncio.CancelledError):
            async with running(world, trip) as daemon:
                await daemon.engine.leftovers.clean(None, DAEMON)
        async with running(world) as daemon:
            await daemon.engine.settled()
            await daemon.engine.leftovers.clean(None, DAEMON)
            assert daemon.views() == [] and await left(daemon) == [], point
            assert world.kernel.inventory() == before and not daemon.helper.guarded.created, point
        if len(trip.points) < point:
            break
    else:
        pytest.fail("it never came to its end")
