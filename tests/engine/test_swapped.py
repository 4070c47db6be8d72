"""A disk behind which another unit answers: nothing is written to that one, and what was written here is in doubt."""

import pytest

from agent.host.simulated_faults import Moment
from agent.model import Access
from attachers.problems import Code
from attachers.sights import Query
from attachers.steps import RemoveDevice, Step, Unpublish
from tests.engine.cdmi_model import PORTAL, wwid_of
from tests.engine.test_attachments import refused
from tests.engine.test_dirty import Make, attached, fibre, mapped, plain, reached
from tests.engine.world import World, running

OTHERS = wwid_of(9)
KINDS = pytest.mark.parametrize("make", [plain, fibre], ids=lambda make: make.__name__)


def devices(world: World) -> list[str]:
    return [line for line in world.kernel.inventory() if line.startswith(("device", "map"))]


@KINDS
async def test_what_is_cached_of_a_disk_is_not_written_to_the_unit_that_answers_now(world: World, make: Make) -> None:
    """The kernel writes out what it has when a disk goes: to whatever is there, unless the disk is offline."""
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.change(behind=OTHERS)
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        assert not devices(world) and OTHERS not in world.san.stored and not reached(world)
        assert any("remove" in fact for fact in daemon.engine.view("one")["tainted"])


@KINDS
@pytest.mark.parametrize("seen", ["by a look", "by the detach"])
async def test_a_swap_is_not_forgotten_when_it_is_taken_back(world: World, make: Make, seen: str) -> None:
    """What was written meanwhile is in the other unit, or nowhere: a write-out that succeeds now says nothing of it."""
    source = make(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.change(behind=OTHERS)
        if seen == "by a look":
            world.kernel.alarm()
            daemon.engine.tending.alarm()
            await daemon.engine.settled()
        else:
            await refused(daemon.detach("one"), Code.DIRTY)
            assert daemon.engine.view("one")["phase"] == "quarantined"
            assert not any(line.startswith("link") for line in world.kernel.inventory()), "it leads to another's disk"
        world.change(behind="")
        await refused(daemon.detach("one"), Code.DIRTY)
    async with running(world) as daemon:
        await daemon.engine.settled()
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        assert not devices(world) and OTHERS not in world.san.stored
        assert not daemon.ledger.rows and not daemon.helper.guarded.created


async def test_a_swap_in_the_middle_of_a_detach_is_no_plain_yes(world: World) -> None:
    source = plain(world)

    async def swap(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.AFTER and isinstance(what, Unpublish):
            world.change(behind=OTHERS)

    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.kernel.hook = swap
        await refused(daemon.detach("one"), Code.DIRTY)
        world.kernel.hook = None
        assert devices(world)
        await daemon.detach("one", force=True)
        assert not devices(world) and OTHERS not in world.san.stored


async def test_a_swap_behind_one_path_of_a_map_leaves_it_dirty(world: World) -> None:
    """Part of what was written went down that path."""
    source = mapped(world)
    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.san.astray[world.object().target, PORTAL, 1] = OTHERS
        await daemon.attach("one", source)
        world.san.astray.clear()
        await refused(daemon.detach("one"), Code.DIRTY)
        await daemon.detach("one", force=True)
        assert not devices(world) and OTHERS not in world.san.stored


async def test_what_could_not_be_written_to_goes_without_a_word(world: World) -> None:
    source = plain(world)
    async with running(world) as daemon:
        await daemon.attach("one", source, access=Access.RO)
        world.change(behind=OTHERS)
        await daemon.detach("one")
        assert not devices(world)


async def test_a_silent_disk_that_goes_by_force_writes_to_nobody(world: World) -> None:
    """Whoever answers first may be another."""
    source = plain(world)
    removed: list[RemoveDevice] = []

    async def answer(moment: Moment, what: Step | Query) -> None:
        if moment is Moment.BEFORE and isinstance(what, RemoveDevice):
            world.san.dead.clear()
            world.change(behind=OTHERS)
            removed.append(what)

    async with running(world) as daemon:
        await attached(world, daemon, source)
        world.san.dead.add(PORTAL)
        await refused(daemon.detach("one"), Code.DIRTY)
        world.kernel.hook = answer
        await daemon.detach("one", force=True)
        assert removed
        assert not devices(world) and OTHERS not in world.san.stored
