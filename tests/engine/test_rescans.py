"""Case 77: a LUN that somebody's rescan brings while we are at it is ours, and goes with the detach."""

import asyncio

import pytest

from agent.host.simulated_faults import Moment
from agent.model import Access
from attachers.sights import ScsiQuery
from attachers.steps import Login, Scan
from tests.engine.cdmi_model import INITIATOR, PORTAL
from tests.engine.faults import Steps
from tests.engine.test_attachments import phase
from tests.engine.world import World, running

OTHER = "10.0.0.3:3260"


@pytest.mark.parametrize("session", ["an administrator's", "ours, of another LUN", "none yet"])
async def test_a_rescan_between_the_grant_and_the_scan(world: World, session: str) -> None:
    """udev's 90-scsi-ua.rules has the whole host scanned when the target says that its LUNs have changed."""
    source = world.add_object()
    target = world.object().target
    neighbour = world.add_object(2, target=target, lun=2)
    if session == "an administrator's":
        world.kernel.foreign_session(target, PORTAL)
    before = world.kernel.inventory()

    async def rescans(moment: Moment, what: object) -> None:
        if moment is Moment.BEFORE and isinstance(what, Scan) and what.hctl.endswith(":1"):
            world.kernel.foreign_device(target, PORTAL, 1)

    async with running(world) as daemon:
        if session == "ours, of another LUN":
            await daemon.attach("two", neighbour)
        world.kernel.hook = rescans
        await daemon.attach("one", source)
        world.kernel.hook = None
        assert phase(daemon, "one") == "attached"
        await daemon.detach("one")
        if session == "ours, of another LUN":
            await daemon.detach("two")
        assert world.kernel.inventory() == before
        assert not daemon.helper.guarded.created
        await daemon.attach("one", source)
        await daemon.detach("one")
    assert world.kernel.inventory() == before, "and its number can be used again"


async def test_the_server_is_asked_when_it_is_written_down_that_the_lun_was_not_there(world: World) -> None:
    source = world.add_object()
    world.kernel.foreign_session(world.object().target, PORTAL)
    before = world.kernel.inventory()
    owned: list[bool] = []

    async def granted(moment: Moment, what: str, _: str) -> None:
        if what == "grant" and moment is Moment.AFTER:  # it shows at once: a status loop scans every second
            owned.append(any(thing.kind == "owned" for thing in daemon.helper.guarded.created))
            world.kernel.foreign_device(world.object().target, PORTAL, 1)

    async with running(world) as daemon:
        world.cdmi.hook = granted
        steps = Steps(world)
        await daemon.attach("one", source)
        world.cdmi.hook = None
        assert owned == [True]
        assert not [step for step in steps.taken if isinstance(step, Scan | Login)]
        await daemon.detach("one")
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before


@pytest.mark.parametrize("way", ["one path", "several paths", "fibre channel", "moved"])
async def test_no_server_is_asked_before_it_is_written_down_whose_the_lun_is(world: World, way: str) -> None:
    """However long that takes: a crash between the two would leave a LUN that shows here and is nobody's."""
    source = prepared(world, way)
    asked = asyncio.Event()
    wrong: list[tuple[str, str]] = []

    async def granting(moment: Moment, what: str, _: str) -> None:
        if what == "grant" and moment is Moment.BEFORE:
            asked.set()
            now = world.object()
            owned = {(one.target, one.name) for one in daemon.helper.guarded.created if one.kind == "owned"}
            wrong.extend({(target, str(now.lun)) for target in now.targets} - owned)

    async def looks(moment: Moment, what: object) -> None:
        if moment is Moment.BEFORE and isinstance(what, ScsiQuery) and what.name == "none" and not asked.is_set():
            await asyncio.wait({asyncio.create_task(asked.wait())}, timeout=0.05)

    async with running(world) as daemon:
        if way == "moved":
            await daemon.attach("one", source, access=Access.RO)
            world.change(lun=5, permissions=[])
        world.cdmi.hook, world.kernel.hook = granting, looks
        await daemon.attach("one", source, access=Access.RO)
        world.cdmi.hook = world.kernel.hook = None
        assert asked.is_set() and not wrong
        await daemon.detach("one")
        assert not daemon.helper.guarded.created
    assert INITIATOR not in (world.object().permissions or ())


def prepared(world: World, way: str) -> str:
    """An object that is had in this way. Returns its source."""
    match way:
        case "several paths":
            world.kernel.kernel.multipathd.runs = True
            return world.add_object(portals=(PORTAL, "127.0.0.2:3260"))
        case "fibre channel":
            source = world.add_fc_object()
            world.cable(*world.object().targets)
            return source
    return world.add_object()


async def test_what_was_there_before_it_was_asked_for_stays(world: World) -> None:
    source = world.add_object(permissions=[INITIATOR])
    target = world.object().target
    world.kernel.foreign_session(target, PORTAL)
    hctl = world.kernel.foreign_device(target, PORTAL, 1)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        await daemon.detach("one")
        assert world.kernel.inventory() == before and world.kernel.kernel.device(hctl)
        assert not daemon.helper.guarded.created


async def test_a_rescan_after_our_last_look_before_the_permission_goes(world: World) -> None:
    source = world.add_object()
    target = world.object().target
    world.kernel.foreign_session(target, PORTAL)
    before = world.kernel.inventory()

    async def revoking(moment: Moment, what: str, _: str) -> None:
        if what == "revoke" and moment is Moment.BEFORE:
            world.kernel.foreign_device(target, PORTAL, 1)

    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.cdmi.hook = revoking
        await daemon.detach("one")
        world.cdmi.hook = None
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before


async def test_two_attachments_of_one_lun_own_it_once_and_the_last_gives_it_up(world: World) -> None:
    source = world.add_object()
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source, access=Access.RO)
        view = await daemon.attach("two", source, access=Access.RO)
        assert not [step for step in view["steps"] if step["what"].startswith("expect")]
        await daemon.detach("one")
        assert any(thing.kind == "owned" for thing in daemon.helper.guarded.created)
        await daemon.detach("two")
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before


async def test_it_shows_at_a_portal_that_the_export_does_not_name(world: World) -> None:
    """The rescan was of another session to the same target."""
    source = world.add_object()
    target = world.object().target
    world.kernel.foreign_session(target, OTHER)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.change(portals=(PORTAL, OTHER))
        world.kernel.foreign_device(target, OTHER, 1)
        await daemon.detach("one")
        assert not daemon.helper.guarded.created
    assert world.kernel.inventory() == before
