"""What goes on beside something else, or comes after it, and must not take away what that needs."""

import asyncio
from typing import Any

import pytest

from agent import timeouts
from agent.caller import Caller
from agent.host.simulated_faults import Moment
from agent.host.simulated_san import Lun
from agent.model import Access, DomainRequest, Present, Request
from attachers.problems import Code, Problem
from attachers.steps import DeleteRecord
from tests.engine.cdmi_model import INITIATOR, PORTAL, REMOTE, REMOTE_2, SHARE, SIZE, wwid_of
from tests.engine.world import BOTH, Processes, World, running

ONE, TWO, THREE = "127.0.0.1:3260", "127.0.0.2:3260", "127.0.0.3:3260"
TARGET = "iqn.2026-01.org.example:lun1"
STRANGER = Caller(4711, 1)


async def lost(world: World, daemon: Processes, source: str) -> None:
    """Give up what was written to an attachment, by force."""
    await daemon.attach("one", source)
    world.kernel.write(world.object().wwid, "bytes")
    world.san.failing[wwid_of(1)] = 1
    await daemon.detach("one", force=True)
    assert daemon.engine.view("one")["tainted"]


async def test_a_mend_does_not_go_on_by_a_plan_that_was_given_up(world: World) -> None:
    """It would log in where nothing of ours is any more, and nothing would know of that."""
    world.kernel.kernel.multipathd.runs = True
    source = world.add_object(portals=(ONE, TWO))
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source, access=Access.RO)
        await daemon.engine.settled()
        world.san.add(Lun(TARGET, (ONE, TWO), 7, wwid_of(7), 1 << 20, (INITIATOR,)))
        world.change(target="iqn.2026-01.org.example:elsewhere", lun=3)
        world.kernel.touch()  # whoever watches the paths begins to mend
        world.clock.advance(timeouts.TEND_S)
        await asyncio.sleep(0)
        await daemon.attach("vm", source, access=Access.RO)
        async with asyncio.timeout(20):
            await daemon.engine.settled()
        assert {path["via"] for path in daemon.engine.view("vm")["device"]["paths"]} == {ONE, TWO}
        await daemon.detach("vm")
        assert world.kernel.inventory() == before


@pytest.mark.parametrize("fibre", [True, False])
async def test_a_permission_at_the_new_place_is_asked_for_until_it_is_given(world: World, fibre: bool) -> None:
    """The server was away between the new plan and its permission; the target only says that there is no such LUN."""
    world.cable(REMOTE, REMOTE_2)
    source = world.add_fc_object() if fibre else world.add_object(lun=1)
    world.san.add(Lun(TARGET, (PORTAL,), 7, wwid_of(7), 1 << 20, (INITIATOR,)))  # it lets us in for another LUN
    away = [Problem(Code.CDMI_UNREACHABLE, "no route")]

    async def server(moment: Moment, what: str, uri: str) -> None:
        if moment is Moment.BEFORE and what == "grant" and away:
            raise away.pop()

    async with running(world) as daemon:
        await daemon.attach("vm", source, access=Access.RO)
        if fibre:
            world.change(target=REMOTE_2, lun=4, permissions=[])
        else:
            world.change(lun=5, permissions=[])
        world.cdmi.hook = server
        with pytest.raises(Problem):
            await daemon.attach("vm", source, access=Access.RO)
        world.clock.advance(timeouts.TEND_S)
        assert (await daemon.attach("vm", source, access=Access.RO))["phase"] == "attached"


async def test_a_permission_stays_while_a_former_plan_of_another_needs_it(world: World) -> None:
    world.cable()
    source = world.add_object_with_two_exports(first={}, second={})
    async with running(world) as daemon:
        view = await daemon.attach("a", source, access=Access.RO)
        world.kernel.open_device(view["device"]["paths"][0]["hctl"], holder="domain one-42 (qemu, pid 7)")
        world.change(exported=False)
        assert (await daemon.attach("a", source, access=Access.RO))["protocol"] == "fc"
        world.change(exported=True)  # the export is back, and so is the guest's disk
        await daemon.attach("b", source, access=Access.RO)
        await daemon.detach("b")
        assert INITIATOR in (world.object().permissions or ())


async def test_a_repeated_hand_over_that_is_refused_takes_nothing_back(world: World) -> None:
    source, guest = world.add_file(), DomainRequest("one-42", "sda")
    world.kernel.add_domain("one-42")
    async with running(world) as daemon:
        await daemon.attach("vm", source, present=Present.FILE)
        await daemon.engine.give("vm", guest)
        world.san.nfs.put(SHARE, "images/1.img", size=64 << 20)  # another file; the guest goes on with its own
        with pytest.raises(Problem):
            await daemon.attach("vm", source, present=Present.FILE)
        with pytest.raises(Problem):
            await daemon.engine.give("vm", guest)
        assert world.kernel.kernel.domains["one-42"].disks and daemon.engine.view("vm")["domains"]


async def test_what_was_lost_outlives_an_attach_that_fails(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await lost(world, daemon, source)
        world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "no route")
        with pytest.raises(Problem):
            await daemon.attach("one", source, timeout_s=5)
        world.cdmi.down = None
    async with running(world) as daemon:
        assert (await daemon.attach("one", source))["tainted"]


async def test_what_was_lost_is_not_a_strangers_to_forget(world: World) -> None:
    source, other = world.add_object(1), world.add_object(2)
    async with running(world) as daemon:
        await lost(world, daemon, source)
        with pytest.raises(Problem, match="may look at it"):
            await daemon.engine.detach("one", force=False, by=STRANGER)
        with pytest.raises(Problem, match="may look at it"):
            await daemon.engine.attach(Request("one", other, **BOTH), wait_s=None, by=STRANGER)
        assert daemon.ledger.tainted


async def test_a_forced_detach_behind_one_that_is_refused_is_refused_for_the_same_reason(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        world.kernel.open_device(view["device"]["paths"][0]["hctl"])
        plain = asyncio.create_task(daemon.detach("one"))
        for _ in range(5):
            await asyncio.sleep(0)
        said = await asyncio.gather(plain, daemon.detach("one", force=True), return_exceptions=True)
        assert [problem.code for problem in said if isinstance(problem, Problem)] == [Code.IN_USE] * 2
        assert daemon.engine.view("one")["phase"] == "attached"


async def test_a_disk_that_moves_while_it_is_resized_has_its_size_and_leaves_nothing(world: World) -> None:
    """One of its paths is elsewhere by now, and so says the server to a mend. The resize that begins at that moment
    does not go on where the disk was: what it made there would be nobody's.
    """
    world.kernel.kernel.multipathd.runs = True
    world.kernel.add_domain("guest")
    source = world.add_object(portals=(ONE, TWO))
    before = world.kernel.inventory()
    growing: list[asyncio.Task[dict[str, Any]]] = []
    begun, moved = asyncio.Event(), asyncio.Event()

    async def asked(moment: Moment, what: str, _: str) -> None:
        if what == "resolve" and growing and not moved.is_set():  # the server says so already, the disk is behind
            world.object().size = 2 * SIZE if moment is Moment.BEFORE else SIZE
        if what == "resolve" and moment is Moment.AFTER and not growing:
            growing.append(asyncio.create_task(daemon.engine.resize("vm")))
            begun.set()
            for _turn in range(40):  # in so many it would be at work; time does not pass yet
                await asyncio.sleep(0)

    async def taken(moment: Moment, what: object) -> None:
        if moment is Moment.AFTER and isinstance(what, DeleteRecord) and not moved.is_set():
            moved.set()
            world.change(size=2 * SIZE)

    async with running(world) as daemon:
        await daemon.attach("vm", source, access=Access.RO, domain=DomainRequest("guest", "sdb"))
        await daemon.engine.settled()
        world.san.add(Lun(TARGET, (ONE, TWO), 7, wwid_of(7), 1 << 20, (INITIATOR,)))
        world.change(portals=(ONE, THREE))
        world.cdmi.hook, world.kernel.hook = asked, taken
        world.kernel.touch()  # whoever watches the paths begins to mend
        world.clock.advance(timeouts.TEND_S)
        async with asyncio.timeout(20):
            await begun.wait()
            view = await growing[0]
            await daemon.engine.settled()
        assert {path["via"] for path in view["device"]["paths"]} == {ONE, THREE}
        assert view["device"]["size"] == 2 * SIZE and world.kernel.kernel.domains["guest"].sizes == {"sdb": 2 * SIZE}
        await daemon.detach("vm")
        assert world.kernel.inventory() == before and not daemon.helper.guarded.created
