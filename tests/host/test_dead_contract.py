"""What is told of disks that carry no I/O any more: the same by the model and by the kernel."""

from attachers.sights import Dead, RecordQuery, RecordSight
from tests.host.test_contract import attach, give_back
from tests.host.world import World


async def test_a_disk_that_carries_no_io_any_more_is_told(world: World) -> None:
    path, _ = await attach(world)

    async def dead() -> list[Dead]:
        sight = await world.host.observe(RecordQuery())
        assert isinstance(sight, RecordSight)
        return [one for one in sight.dead if one.hctl == path.hctl]

    assert await dead() == []
    await world.take_offline(path.hctl)
    assert [(one.kind, one.node, one.used) for one in await dead()] == [("disk", path.node, False)]
    await give_back(world, path.hctl)
    assert await dead() == []
