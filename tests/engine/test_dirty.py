"""Dirty is sticky: what was not seen to be written out stays so until somebody says that the loss is known."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.host.simulated_faults import Moment
from agent.model import Phase
from attachers.problems import Code, Problem
from attachers.sights import Query
from attachers.steps import RemoveDevice, RemoveDisk, RemoveMap, Scan, Step, Unpublish
from tests.engine.cdmi_model import PORTAL, REMOTE, wwid_of
from tests.engine.faults import Steps
from tests.engine.test_attachments import refused
from tests.engine.test_crashes import OTHER_PORTAL, Case, points_of
from tests.engine.trip import DIES, share_of
from tests.engine.world import Processes, Trip, World, running

Make = Callable[[World], str]
BYTES = "what the guest wrote last"
SILENT = (Code.DIRTY, Code.TARGET_TIMEOUT)


def plain(world: World) -> str:
    return world.add_object()


def mapped(world: World) -> str:
    world.kernel.kernel.multipathd.runs = True
    return world.add_object(portals=(PORTAL, OTHER_PORTAL))


def fibre(world: World) -> str:
    world.cable()
    return world.add_fc_object()


def file(world: World) -> str:
    return world.add_file()


KINDS = pytest.mark.parametrize("make", [plain, mapped, fibre, file], ids=lambda make: make.__name__)


def reached(world: World) -> list[str]:
    """What has reached the storage."""
    return world.san.stored.get(world.object().wwid, [])


async def refused_for(work: Awaitable[None], *codes: Code) -> Problem:
    with pytest.raises(Problem) as caught:
        await work
    assert caught.value.code in codes, caught.value.detail
    return caught.value


async def attached(world: World, daemon: Processes, source: str) -> None:
    await daemon.attach("one", source)
    await daemon.engine.settled()
    world.kernel.write(world.object().wwid, BYTES)


def silence(world: World) -> None:
    world.san.dead.update({PORTAL, OTHER_PORTAL})
    world.kernel.touch()


@KINDS
async def test_what_is_cached_reaches_the_storage_before_the_disk_goes(world: World, make: Make) -> None:
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        assert not reached(world)
        await daemon.detach("one")
        assert reached(world) == [BYTES]


@KINDS
async def test_a_write_out_that_failed_is_never_taken_for_done(world: World, make: Make) -> None:
    """Case 97: the pages are clean after the failure, and the next write-out would succeed with nothing to write."""
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        before = world.kernel.inventory()
        world.san.failing[world.object().wwid] = 1
        await refused(daemon.detach("one"), Code.DIRTY)
        assert before <= world.kernel.inventory(), "the disk stays, and so does its link"
        steps = Steps(world)
        for _ in range(2):
            await refused(daemon.detach("one"), Code.DIRTY)
        daemon.engine.tending.round()
        await daemon.engine.settled()
        assert daemon.engine.view("one")["problem"]["code"] == "dirty"
        assert not [step for step in steps.taken if isinstance(step, RemoveDevice | RemoveMap | RemoveDisk)]
    for reboot in (False, True):
        if reboot:
            world.kernel.reboot()
        async with running(world) as daemon:
            await daemon.engine.settled()
            problem = await refused(daemon.detach("one"), Code.DIRTY)
            assert "--force" in problem.hint
            assert daemon.engine.view("one")["phase"] == Phase.QUARANTINED
    async with running(world) as daemon:
        await daemon.engine.settled()
        await daemon.detach("one", force=True)
        assert not daemon.ledger.rows and not daemon.helper.guarded.created
        assert not any("device" in line or "not written" in line for line in world.kernel.inventory())
        assert not reached(world), "lost, and said to be"


async def test_what_was_lost_is_kept_until_somebody_has_seen_it(world: World) -> None:
    source = plain(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.san.failing[wwid_of(1)] = 1
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        assert [event["by"] for event in daemon.desk.events.since(0) if event["kind"] == "forced"] == ["uid 0, pid 1"]
    async with running(world) as daemon:
        view = daemon.engine.view("one")
        assert view["phase"] == "failed" and view["device"] is None and view["problem"]["code"] == "dirty"
        assert any("uid 0, pid 1" in fact for fact in view["tainted"]) and daemon.views() == [view]
        await daemon.detach("one", force=True)
        assert daemon.engine.view("one")["tainted"], "a repeated request has seen nothing"
        assert (await daemon.attach("one", source))["tainted"] == view["tainted"]
        await daemon.detach("one")
        await refused_view(daemon)


async def refused_view(daemon: Processes) -> None:
    async def look() -> None:
        daemon.engine.view("one")

    await refused(look(), Code.NOT_FOUND)


async def test_a_plain_detach_says_that_it_was_seen(world: World) -> None:
    source = plain(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.san.failing[wwid_of(1)] = 1
        await daemon.detach("one", force=True)
        assert len(daemon.engine.view("one")["tainted"]) >= 1
        await daemon.detach("one")
        await refused_view(daemon)


@KINDS
async def test_force_loses_nothing_that_can_be_written_out(world: World, make: Make) -> None:
    source = make(world)
    empty = world.kernel.inventory()
    async with running(world) as daemon:
        await attached(world, daemon, source)
        await daemon.detach("one", force=True)
        assert reached(world) == [BYTES] and world.kernel.inventory() == empty
        await refused_view(daemon)


@KINDS
async def test_a_silent_disk_is_waited_for_and_then_dirty(world: World, make: Make) -> None:
    """Case 98: nothing is removed unflushed, and when the path is back, nothing is lost."""
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        await hush(world, make)
        problem = await refused_for(daemon.detach("one"), *SILENT)
        assert daemon.engine.view("one")["phase"] == "quarantined", problem
        assert any(line.startswith("device") for line in world.kernel.inventory())
        await speak(world, make)
        await daemon.detach("one")
        assert reached(world) == [BYTES] and not daemon.ledger.rows and not daemon.helper.guarded.created


@KINDS
async def test_a_silent_disk_goes_by_force(world: World, make: Make) -> None:
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        await hush(world, make)
        await refused_for(daemon.detach("one"), *SILENT)
        await daemon.detach("one", force=True)
        assert not reached(world) and daemon.engine.view("one")["tainted"]
        assert not any(line.startswith(("device", "map")) for line in world.kernel.inventory())


async def test_force_is_heard_by_a_detach_that_waits(world: World) -> None:
    source = plain(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        silence(world)
        steps = Steps(world)
        waiting = asyncio.create_task(daemon.detach("one"))
        await steps.seen(Unpublish)
        began = world.clock.now()
        await daemon.detach("one", force=True)
        await waiting
        assert world.clock.now() - began < 60 and daemon.engine.view("one")["tainted"]


async def hush(world: World, make: Make) -> None:
    if make is file:
        world.san.nfs.dead.add(world.object().share.server)  # type: ignore[union-attr]
    elif make is fibre:
        for session in world.kernel.kernel.sessions.values():
            session.state = "Blocked"
    silence(world)


async def speak(world: World, make: Make) -> None:
    world.san.nfs.dead.clear()
    world.san.dead.clear()
    if make is fibre:
        world.kernel.fabric.plug(REMOTE)
    world.kernel.touch()


@KINDS
async def test_force_takes_nothing_from_under_a_user(world: World, make: Make) -> None:
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        before = world.kernel.inventory()
        holders = users_of(world)
        holders.append("qemu (pid 7)")
        world.san.failing[world.object().wwid] = 1
        await refused(daemon.detach("one", force=True), Code.IN_USE)
        assert world.kernel.inventory() == before and daemon.engine.view("one")["phase"] == "attached"
        assert not daemon.ledger.rows["one"].forced, "it was refused, and means nothing later"
        holders.clear()
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)


def users_of(world: World) -> list[str]:
    wwid = world.object().wwid
    above = world.kernel.kernel.maps.get(wwid)
    found = world.kernel.kernel.device(world.kernel.kernel.device_links[wwid])
    if above:
        return above.holders
    assert found
    return found[1].holders


async def test_what_nobody_was_given_goes_as_it_is(world: World) -> None:
    """An attach that failed is undone without a word, though its path is silent by then."""
    source = plain(world)
    empty = world.kernel.inventory()

    async def die(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.AFTER and isinstance(what, Scan):
            silence(world)

    async with running(world) as daemon:
        world.kernel.hook = die
        await refused(daemon.attach("one", source, timeout_s=10), Code.DEVICE_TIMEOUT)
    assert world.kernel.inventory() == empty


class Losing:
    """A script: attach, write, fail to write out, and say that the loss is known; `said` once that is asked for."""

    def __init__(self) -> None:
        self.said = False

    async def __call__(self, world: World, daemon: Processes) -> None:
        (source,) = (f"cdmi://server/cdmi_objectid/{oid}" for oid in world.cdmi.objects)
        await attached(world, daemon, source)
        world.san.failing[world.object().wwid] = 1
        await refused(daemon.detach("one"), Code.DIRTY)
        self.said = True
        await daemon.detach("one", force=True)


@pytest.mark.parametrize("dies", DIES)
@pytest.mark.parametrize("reboot", [False, True])
@KINDS
async def test_a_crash_at_every_point_loses_nothing_without_a_word(
    fast_disk: Path, make: Make, reboot: bool, dies: str
) -> None:
    """Whatever the point: bytes that did not reach the storage are never followed by a plain yes."""

    def scene(world: World) -> None:
        make(world)

    stride = 1 if make is plain and not reboot else 5
    points = await points_of(fast_disk / "0", scene, Losing(), dies=dies)
    for at in share_of(len(points), "undo", dies=dies, stride=stride, shared_by=len(DIES)):
        case, losing = Case(fast_disk / str(at), scene), Losing()
        await case.run(losing, Trip(at), dies=dies)
        if reboot:
            case.reboot()
        await follow_up(case, f"point {at}, {points[at - 1]}", reboot=reboot, said=losing.said)


async def follow_up(case: Case, point: str, *, reboot: bool, said: bool) -> None:
    world = case.world
    written = world.san.failing.get(world.object().wwid) is not None
    async with running(world) as daemon:
        await daemon.engine.settled()
        gone = not any(line.startswith(("device", "map")) for line in world.kernel.inventory())
        if said and gone and not reboot:
            kept = daemon.ledger.rows.get("one") or daemon.ledger.tainted.get("one")
            assert kept and any("remove" in fact for fact in kept.tainted), f"{point}: lost, and not noted before"
        try:
            await daemon.detach("one")
        except Problem as problem:
            assert problem.code is Code.DIRTY and (written or reboot), f"{point}: {problem}"
            await daemon.detach("one", force=True)
        else:
            failed = written and not world.san.failing[world.object().wwid]
            assert not failed or said, f"{point}: a yes, and the bytes are lost"
        await daemon.detach("one")
        case.assert_nothing_left(daemon)
