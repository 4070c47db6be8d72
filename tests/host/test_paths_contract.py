"""What every host says of a path to a disk: whether it carries I/O, and that it has gone."""

from attachers.steps import DeleteRecord
from tests.host.test_contract import LIMIT_S, act, attach, give_back, look
from tests.host.world import World


async def test_a_path_in_standby_answers_and_says_that_nothing_can_be_read_of_it(world: World) -> None:
    """Case 82: an INQUIRY alone is no proof that a path carries I/O. Only who asks for it has a block read."""
    path, wwid = await attach(world)
    assert [(one.unread, one.access) for one in (await look(world, wwid=wwid, read=True)).paths] == [("", path.access)]
    await world.set_access(1, "standby")
    (standby,) = (await look(world, wwid=wwid, read=True)).paths
    assert wwid in standby.designators and standby.unread and standby.access == "standby"
    assert not (await look(world, wwid=wwid)).paths[0].unread
    await world.set_access(1, "active/optimized")
    deadline = world.host.now() + LIMIT_S
    while (await look(world, wwid=wwid, read=True)).paths[0].unread:  # a device handler asks for the state now and then
        assert world.host.now() < deadline
        await world.host.changed(world.host.changes, timeout_s=1)
    await give_back(world, path.hctl)


async def test_what_others_take_away_is_a_reason_to_look_at_once(world: World) -> None:
    """Case 80: a disk and its session go under our hands; what comes to be is none."""
    await attach(world)
    since, quiet = world.host.changes, world.host.alarms
    await world.foreign_logout()
    deadline = world.host.now() + LIMIT_S
    while world.host.alarms == quiet:
        assert world.host.now() < deadline
        await world.host.changed(since, timeout_s=1)
        since = world.host.changes
    sight = await look(world)
    assert (sight.sessions, sight.paths) == ((), ())
    await act(world, DeleteRecord(world.target, world.portal))
