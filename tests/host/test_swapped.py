"""A disk behind which another unit answers: it goes without a write to that one, and what was written is in doubt."""

import pytest

from attachers.problems import Code
from attachers.steps import GiveUp, Publish, RemoveDevice, Scan, Unpublish
from tests.host.test_contract import NAME, act, attach, give_back, look, refused, see_path
from tests.host.world import World


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_unit_that_was_swapped_under_its_writers_is_dirty_until_it_is_given_up(
    world: World, read_only: bool
) -> None:
    path, old = await attach(world)
    await act(world, Publish(NAME, path.hctl, old, read_only, ""))
    assert not (await look(world, wwid=old)).dirty
    new = await world.swap_lun(1)
    assert (await look(world, wwid=old)).dirty is not read_only
    await act(world, Unpublish(NAME, old))
    assert (await look(world, wwid=old)).dirty is not read_only
    assert not (await look(world, wwid=new)).dirty
    assert await refused(world, RemoveDevice(path.hctl, old)) is (Code.WRONG_DEVICE if read_only else Code.DIRTY)
    await act(world, RemoveDevice(path.hctl, lost=True), GiveUp(old))
    assert not (await look(world, wwid=old)).dirty
    await give_back(world)


async def test_a_disk_that_went_offline_for_its_removal_is_back_with_the_next_scan(world: World) -> None:
    path, _ = await attach(world)
    new = await world.swap_lun(1)
    await act(world, RemoveDevice(path.hctl))
    assert not (await look(world)).paths
    await act(world, Scan(path.hctl, world.target, world.portal, new))
    found = await see_path(world, wwid=new)
    assert found.state == "running" and new in found.designators and found.size == path.size
    await give_back(world, path.hctl)
