"""What every host says of a path to a disk: whether it carries I/O, and that it has gone."""

from collections.abc import Callable

from attachers.sights import ScsiPath
from attachers.steps import DeleteRecord
from tests.host.test_contract import LIMIT_S, act, attach, give_back, look
from tests.host.world import World


async def until(world: World, wwid: str, wanted: Callable[[ScsiPath], bool]) -> ScsiPath:
    """The path, once it is so: a device handler learns of the state a moment later."""
    deadline = world.host.now() + LIMIT_S
    while not wanted(path := (await look(world, wwid=wwid, read=True)).paths[0]):
        assert world.host.now() < deadline, path
        await world.host.changed(world.host.changes, timeout_s=1)
    return path


async def test_a_path_in_standby_answers_and_says_that_nothing_can_be_read_of_it(world: World) -> None:
    """Case 82: an INQUIRY alone is no proof that a path carries I/O. Only who asks for it has a block read."""
    path, wwid = await attach(world)
    assert [one.unread for one in (await look(world, wwid=wwid, read=True)).paths] == [""]
    await world.set_access(1, "standby")
    standby = await until(world, wwid, lambda path: path.access == "standby")
    assert wwid in standby.designators and standby.unread
    assert not (await look(world, wwid=wwid)).paths[0].unread
    await world.set_access(1, "active/optimized")
    await until(world, wwid, lambda path: not path.unread)
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
