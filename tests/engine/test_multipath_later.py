"""A map beside what others do: disks of this host by the same name, growth that nobody asked for, other work on it."""

from pathlib import Path

import pytest

from agent.host.simulated_faults import Faults, Hang
from agent.host.simulated_san import Lun
from attachers.problems import Code, Problem
from attachers.steps import RemoveMap
from tests.engine.cdmi_model import INITIATOR
from tests.engine.test_multipath import ONE, SOURCE, TARGET, TWO, WWID, path_states, until
from tests.engine.world import World, running

THEIRS = "iqn.2026-01.org.example:theirs"


@pytest.fixture
def world(fast_disk: Path) -> World:
    """A LUN behind two portals, and a host on which multipathd runs."""
    world = World(fast_disk)
    world.kernel.kernel.multipathd.runs = True
    world.add_object(portals=(ONE, TWO))
    return world


async def test_no_server_gets_its_lun_into_a_map_of_this_hosts_own_disk(world: World) -> None:
    """A hostile target answers the name of an administrator's disk: what he writes would go to it, and be lost."""
    host = world.kernel.foreign_session(THEIRS, ONE)
    world.san.add(Lun(THEIRS, (ONE,), 5, WWID, world.object().size, (INITIATOR,)))
    world.kernel.kernel.multipathd.listed.add(WWID)
    world.kernel.foreign_device(THEIRS, ONE, 5)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        with pytest.raises(Problem, match=f"{host}:0:0:5") as caught:
            await daemon.attach("vm", SOURCE)
        assert caught.value.code is Code.WRONG_DEVICE
        assert world.kernel.inventory() == before


async def test_a_disk_that_has_grown_is_no_reason_to_refuse_it(world: World) -> None:
    """Somebody else had the kernel read the size of its paths again; the map is resized when that is asked for."""
    async with running(world) as daemon:
        view = await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        await daemon.engine.settled()
        world.change(size=2 * view["device"]["size"])
        for path in daemon.engine.view("vm")["device"]["paths"]:
            world.kernel.rescan_device(path["hctl"])
        assert (await daemon.attach("vm", SOURCE))["phase"] == "attached"
        await daemon.engine.settled()
        view = await daemon.engine.resize("vm")
        assert view["phase"] == "attached" and view["device"]["size"] == world.object().size


@pytest.mark.parametrize("work", ["a resize", "a refused detach"])
async def test_paths_are_watched_after_other_work(world: World, work: str) -> None:
    """Case 54: what kept the only map here busy for long must not be the end of looking after it."""
    async with running(world) as daemon:
        await daemon.attach("vm", SOURCE)
        await until(daemon, "attached")
        await daemon.engine.settled()
        if work == "a resize":
            world.object().size *= 2  # which the disk does not have: waited for in vain
            with pytest.raises(Problem):
                await daemon.engine.resize("vm")
        else:
            world.kernel.open_map(WWID)
            slow = Faults()
            slow.on(RemoveMap, Hang(35))
            world.kernel.hook = slow
            with pytest.raises(Problem):
                await daemon.detach("vm")
        world.san.dead.add(TWO)
        world.kernel.set_session_state(TARGET, TWO, "FAILED")
        view = await until(daemon, "degraded")
        assert path_states(view) == {ONE: "running", TWO: "failed"}
