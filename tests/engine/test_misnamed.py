"""multipathd makes a map of a disk that is not proved yet, under the name that our rule gives such a disk."""

import pytest

from agent.host.simulated_kernel import UNPROVED
from attachers.problems import Problem
from tests.engine.cdmi_model import PORTAL
from tests.engine.test_crashes import OTHER_PORTAL
from tests.engine.world import World, running


def hasty(world: World, *, told: bool) -> None:
    """find_multipaths no, and the rules of sg3-utils; `told`: our drop-in is there."""
    daemon = world.kernel.kernel.multipathd
    daemon.runs = daemon.greedy = daemon.early = True
    if told:
        daemon.blacklisted.add(UNPROVED)


def misnamed(world: World) -> list[str]:
    return [name for name in world.kernel.kernel.maps if name.startswith(UNPROVED)]


@pytest.mark.parametrize("portals", [(PORTAL,), (PORTAL, OTHER_PORTAL)])
async def test_multipathd_is_told_to_leave_them_alone(world: World, portals: tuple[str, ...]) -> None:
    hasty(world, told=True)
    source = world.add_object(portals=portals)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        await daemon.attach("vm", source)
        await daemon.engine.settled()
        assert not misnamed(world)
        await daemon.detach("vm")
    assert world.kernel.inventory() == before


@pytest.mark.parametrize("portals", [(PORTAL,), (PORTAL, OTHER_PORTAL)])
async def test_a_map_of_such_a_name_goes_with_its_disk(world: World, portals: tuple[str, ...]) -> None:
    """Without the drop-in: whatever becomes of the attach, the way out comes to an end, and nothing is left."""
    hasty(world, told=False)
    source = world.add_object(portals=portals)
    before = world.kernel.inventory()
    async with running(world) as daemon:
        try:
            await daemon.attach("vm", source)
            await daemon.engine.settled()
            assert misnamed(world) or len(portals) > 1
        except Problem:
            assert len(portals) > 1, "a map of the unit itself is not to be had then"
        began = world.clock.now()
        await daemon.detach("vm")
        assert world.clock.now() - began < 30
        assert not daemon.ledger.rows and not daemon.helper.guarded.created
    assert world.kernel.inventory() == before
