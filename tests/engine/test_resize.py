"""Resize: a LUN that has grown on the storage, read again on its path and told to the domains; and what is refused."""

import asyncio
from dataclasses import replace

import pytest

from agent.host.simulated_faults import Faults, Hang
from agent.model import DomainRequest, Present
from attachers.problems import Code, Problem
from attachers.steps import GrowDisk, Publish, RemoveDevice, Rescan, ResizeDisk, ResizeMap
from tests.engine.cdmi_model import PORTAL, SHARE, SIZE
from tests.engine.faults import Steps
from tests.engine.world import World, running

OTHER_PORTAL = "127.0.0.2:3260"


async def refused(work: object, code: Code) -> Problem:
    with pytest.raises(Problem) as caught:
        await work  # type: ignore[misc]
    assert caught.value.code is code, caught.value.detail
    return caught.value


async def test_a_grown_disk_is_read_again_and_its_domains_are_told(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("guest")
    async with running(world) as daemon:
        await daemon.attach("one", source, domain=DomainRequest("guest", "sdb"))
        world.change(size=2 * SIZE)
        steps = Steps(world)
        view = await daemon.engine.resize("one")
        assert view["device"]["size"] == 2 * SIZE and view["phase"] == "attached"
        assert [type(step) for step in steps.taken] == [Rescan, ResizeDisk], "nothing else is touched"
        assert world.kernel.kernel.domains["guest"].sizes == {"sdb": 2 * SIZE}
        assert await daemon.engine.resize("one") == view | {"steps": daemon.engine.view("one")["steps"]}
        await daemon.detach("one")


async def test_a_domain_that_took_the_disk_by_its_link_is_told_as_well(world: World) -> None:
    source = world.add_object()
    world.kernel.add_domain("theirs")
    async with running(world) as daemon:
        view = await daemon.attach("one", source)
        world.kernel.kernel.domains["theirs"].disks["vda"] = view["link"]
        world.kernel.open_device(view["device"]["paths"][0]["hctl"], holder="domain theirs (pid 7)")
        world.change(size=2 * SIZE)
        await daemon.engine.resize("one")
        assert world.kernel.kernel.domains["theirs"].sizes == {"vda": 2 * SIZE}


async def test_no_disk_is_made_smaller(world: World) -> None:
    """Neither when the server says so, nor when the disk does: the kernel is not told."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.change(size=SIZE // 2)
        steps = Steps(world)
        problem = await refused(daemon.engine.resize("one"), Code.CONFLICT)
        assert str(SIZE // 2) in problem.detail and problem.hint
        assert steps.taken == []
        world.object().size = SIZE
        problem = await refused(daemon.engine.resize("one"), Code.CONFLICT)
        assert "smaller" in problem.detail
        view = daemon.engine.view("one")
        assert view["device"]["size"] == SIZE and view["phase"] == "attached"


async def test_a_size_that_the_server_has_and_the_disk_has_not_is_waited_for(world: World) -> None:
    """Case 51: until the deadline, and the path that is behind is named."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.object().size = 2 * SIZE
        problem = await refused(daemon.engine.resize("one"), Code.DEVICE_TIMEOUT)
        assert str(2 * SIZE) in problem.detail and "3:0:0:1" in problem.detail
        assert daemon.engine.view("one")["phase"] == "attached"


async def test_a_server_that_is_away_keeps_no_disk_from_growing(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.change(size=2 * SIZE)
        world.cdmi.down = Problem(Code.CDMI_UNREACHABLE, "it is away")
        view = await daemon.engine.resize("one")
        assert view["device"]["size"] == 2 * SIZE


async def test_a_swapped_disk_is_not_resized(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        world.change(behind="naa.60014050000000000000000000000099", size=2 * SIZE)
        await refused(daemon.engine.resize("one"), Code.WRONG_DEVICE)


async def test_a_map_grows_after_all_of_its_paths(world: World) -> None:
    """Case 51."""
    world.kernel.kernel.multipathd.runs = True
    source = world.add_object(portals=(PORTAL, OTHER_PORTAL))
    async with running(world) as daemon:
        await daemon.attach("one", source, min_paths=2)
        world.change(size=2 * SIZE)
        steps = Steps(world)
        view = await daemon.engine.resize("one")
        assert view["device"]["size"] == 2 * SIZE and view["phase"] == "attached"
        assert [type(step) for step in steps.taken] == [Rescan, Rescan, ResizeMap]


async def test_a_map_does_not_grow_while_a_path_lags_behind(world: World) -> None:
    """Case 51: the path is named, the map keeps its size, and nobody is told of another one."""
    world.kernel.kernel.multipathd.runs = True
    source = world.add_object(portals=(PORTAL, OTHER_PORTAL))
    async with running(world) as daemon:
        await daemon.attach("one", source, min_paths=2)
        world.change(size=2 * SIZE)
        world.san.dead.add(OTHER_PORTAL)
        steps = Steps(world)
        problem = await refused(daemon.engine.resize("one"), Code.DEVICE_TIMEOUT)
        assert "4:0:0:1" in problem.detail
        assert not any(isinstance(step, ResizeMap) for step in steps.taken)
        assert daemon.engine.view("one")["device"]["size"] == SIZE
        world.san.dead.clear()
        view = await daemon.engine.resize("one")
        assert view["device"]["size"] == 2 * SIZE


async def test_only_what_is_attached_is_resized(world: World) -> None:
    async with running(world) as daemon:
        await refused(daemon.engine.resize("nobody"), Code.NOT_FOUND)


async def test_a_resize_repeats_no_hand_out(world: World) -> None:
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        steps = Steps(world)
        await daemon.engine.resize("one")
        assert not any(isinstance(step, Publish) for step in steps.taken)


def grow_file(world: World) -> None:
    """The server has made the file larger; it still is the same one."""
    files = world.san.nfs.exports[SHARE.source]
    files[world.object().target] = replace(files[world.object().target], size=2 * SIZE)
    world.object().size = 2 * SIZE


async def test_a_file_that_was_handed_out_itself_grows_and_its_domain_is_told(world: World) -> None:
    source = world.add_file()
    world.kernel.add_domain("guest")
    async with running(world) as daemon:
        await daemon.attach("one", source, domain=DomainRequest("guest", "sdb"), present=Present.FILE)
        grow_file(world)
        steps = Steps(world)
        view = await daemon.engine.resize("one")
        assert (view["device"]["size"], view["phase"]) == (2 * SIZE, "attached")
        assert [type(step) for step in steps.taken] == [ResizeDisk], "nothing else is touched"
        assert world.kernel.kernel.domains["guest"].sizes == {"sdb": 2 * SIZE}
        await daemon.detach("one")
    assert not world.kernel.inventory()


async def test_a_disk_made_of_a_file_grows_with_it(world: World) -> None:
    source = world.add_file()
    world.kernel.add_domain("guest")
    async with running(world) as daemon:
        before = await daemon.attach("one", source, domain=DomainRequest("guest", "sdb"))
        assert (await daemon.engine.resize("one"))["device"] == before["device"]
        grow_file(world)
        steps = Steps(world)
        view = await daemon.engine.resize("one")
        assert (view["device"]["size"], view["phase"]) == (2 * SIZE, "attached")
        assert [type(step) for step in steps.taken] == [GrowDisk, Rescan, ResizeDisk], "nothing else is touched"
        assert world.kernel.kernel.domains["guest"].sizes == {"sdb": 2 * SIZE}
        await daemon.detach("one")
    assert not world.kernel.inventory()


async def test_a_file_that_the_server_does_not_show_larger_is_waited_for(world: World) -> None:
    source = world.add_file()
    async with running(world) as daemon:
        before = await daemon.attach("one", source)
        world.object().size = 2 * SIZE
        problem = await refused(daemon.engine.resize("one"), Code.DEVICE_TIMEOUT)
        assert str(2 * SIZE) in problem.detail
        assert daemon.engine.view("one")["device"] == before["device"]


@pytest.mark.parametrize("refusal", [False, True])
async def test_a_resize_that_comes_while_the_disk_goes(world: World, refusal: bool) -> None:
    """It is told that there is none any more; a second DELETE does not take its success for that of the detach."""
    source = world.add_object()
    async with running(world) as daemon:
        await daemon.attach("one", source)
        faults = Faults()
        faults.on(RemoveDevice, Hang(5))
        steps = Steps(world, faults)
        first = asyncio.create_task(daemon.detach("one"))
        await steps.seen(RemoveDevice)
        if refusal:  # somebody opens it at the last moment
            world.kernel.open_device("3:0:0:1")
        resizing = asyncio.create_task(daemon.engine.resize("one"))
        second = asyncio.create_task(daemon.detach("one"))
        if refusal:
            await refused(first, Code.IN_USE)
            assert (await resizing)["phase"] == "attached"
            with pytest.raises(Problem):
                await second
        else:
            await first
            await second
            await refused(resizing, Code.NOT_FOUND)
