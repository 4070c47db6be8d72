"""Case 92: everything above what is attached is in use; what is read before a change here is read again after it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.host.simulated_faults import Moment
from agent.model import Phase
from attachers.base import Goal
from attachers.problems import Code, Problem
from tests.engine.cdmi_model import ROOT
from tests.engine.faults import Gate
from tests.engine.world import Processes, World, running

FOLDERS = {"pool": "F001", "pool/vms": "F002"}
FILE = "pool/vms/1.img"
SPELLINGS = (
    "pool",
    "pool/",
    "pool/vms",
    "pool/vms/",
    "cdmi_objectid/F001",
    "cdmi_objectid/F002/",
    "cdmi_objectid/f002",
)
Act = Callable[[Processes, str], Awaitable[object]]


async def delete(daemon: Processes, source: str) -> None:
    await daemon.engine.objects.delete(source)


async def move(daemon: Processes, source: str) -> None:
    await daemon.engine.operations.move(source, f"{ROOT}elsewhere", wait_s=20)


async def restore(daemon: Processes, source: str) -> None:
    await daemon.engine.operations.restore(source, "monday", wait_s=20)


async def clone(daemon: Processes, source: str) -> None:
    await daemon.engine.operations.clone(f"{ROOT}pool/other", source, size=None, metadata={}, wait_s=20)


ACTS = (delete, move, restore, clone)


def placed(world: World) -> str:
    """A file in two containers. Returns its source."""
    source = world.add_file(path=FILE)
    world.cdmi.folders.update(FOLDERS)
    return source


async def refused(work: Awaitable[object], code: Code = Code.IN_USE) -> Problem:
    with pytest.raises(Problem) as caught:
        await work
    assert caught.value.code is code, caught.value.detail
    return caught.value


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("act", ACTS)
async def test_what_is_above_an_attached_file_is_in_use(world: World, act: Act, spelling: str) -> None:
    source = placed(world)
    async with running(world) as daemon:
        await daemon.attach("vm-1", source)
        problem = await refused(act(daemon, ROOT + spelling))
        assert "in it is what is attached here as vm-1" in problem.detail and "detach vm-1" in problem.hint
        assert world.cdmi.done == [] and world.cdmi.folders == FOLDERS
        await daemon.detach("vm-1")
        if act is not clone:
            await act(daemon, ROOT + spelling)
            assert world.cdmi.done or world.cdmi.folders != FOLDERS, "nothing is in use any more"


@pytest.mark.parametrize("phase", [Phase.ATTACHING, Phase.DETACHING, Phase.UNCERTAIN, Phase.QUARANTINED, Phase.FAILED])
@pytest.mark.parametrize("act", ACTS)
async def test_also_in_every_other_phase(world: World, act: Act, phase: Phase) -> None:
    source = placed(world)
    async with running(world) as daemon:
        await daemon.attach("vm-1", source)
        await daemon.ledger.change("vm-1", phase=phase)
        assert f"vm-1 ({phase})" in (await refused(act(daemon, f"{ROOT}pool"))).detail
        assert f"vm-1 ({phase})" in (await refused(act(daemon, ROOT + FILE))).detail


async def test_it_is_known_after_a_restart_with_the_object_out_of_sight(world: World) -> None:
    source = placed(world)
    async with running(world) as daemon:
        await daemon.attach("vm-1", source)
    async with running(world) as daemon:
        world.object().path = "elsewhere/by-others"
        await refused(restore(daemon, f"{ROOT}cdmi_objectid/F001"))


async def test_an_attachment_of_an_earlier_version_is_asked_for(world: World) -> None:
    """Its row does not say what is above it."""
    source = placed(world)
    async with running(world) as daemon:
        await daemon.attach("vm-1", source)
        await daemon.ledger.change("vm-1", places=(), over=())
        await refused(delete(daemon, f"{ROOT}pool"))


@pytest.mark.parametrize("act", [delete, move, restore])
async def test_an_attach_during_a_change_above_it_is_busy(world: World, act: Act) -> None:
    source = placed(world)
    async with running(world) as daemon:
        gate = Gate(world, act.__name__)
        task = asyncio.ensure_future(act(daemon, f"{ROOT}pool"))
        await gate.reached.wait()
        problem = await refused(daemon.attach("vm-1", source), Code.BUSY)
        assert "source: " in problem.detail
        gate.opened.set()
        await task
        await daemon.attach("vm-1", source)


@pytest.mark.parametrize("act", [delete, restore])
async def test_an_attach_that_has_read_before_a_change_reads_again(world: World, act: Act) -> None:
    """It is past its look at the server, and not yet in the ledger, while all of the change happens."""
    source, asked = placed(world), 0
    async with running(world) as daemon:
        gate = Gate(world, "resolve", Moment.AFTER, of=source)
        task = asyncio.create_task(daemon.attach("vm-1", source))
        await gate.reached.wait()
        await act(daemon, f"{ROOT}pool")

        async def count(moment: Moment, what: str, uri: str) -> None:
            nonlocal asked
            asked += (moment, what) == (Moment.BEFORE, "resolve")

        world.cdmi.hook = count
        gate.opened.set()
        await task
        assert asked == 1, "what it had read may have been another file"
        await daemon.detach("vm-1")


async def test_a_change_elsewhere_has_nothing_read_again(world: World) -> None:
    source, resolved = placed(world), 0
    world.cdmi.folders["pools"] = "F003"
    async with running(world) as daemon:
        gate = Gate(world, "resolve", Moment.AFTER, of=source)
        task = asyncio.create_task(daemon.attach("vm-1", source))
        await gate.reached.wait()
        await delete(daemon, f"{ROOT}pools")

        async def count(moment: Moment, what: str, uri: str) -> None:
            nonlocal resolved
            resolved += what == "resolve"

        world.cdmi.hook = count
        gate.opened.set()
        await task
        assert resolved == 0


async def test_what_moves_or_comes_back_is_not_changed_by_another_beside_it(world: World) -> None:
    """The operation is in the ledger, and the server not asked yet: another would decide on what is to change."""
    source = placed(world)
    async with running(world) as daemon:
        gate = Gate(world, "restore")
        task = asyncio.create_task(restore(daemon, source))
        await gate.reached.wait()
        others = [asyncio.create_task(one) for one in (delete(daemon, ROOT + FILE), move(daemon, source))]
        gate.opened.set()
        await task
        for other in others:
            await refused(other, Code.BUSY)
        assert world.cdmi.done == [("restore", world.object().object_id, "monday")]


async def test_a_detach_counts_until_its_end(world: World) -> None:
    source = placed(world)
    async with running(world) as daemon:
        await daemon.attach("vm-1", source)
        await daemon.ledger.change("vm-1", goal=Goal.GONE, phase=Phase.DETACHING)
        await refused(delete(daemon, f"{ROOT}pool/vms"))
