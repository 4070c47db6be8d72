"""What every host keeps to with a LUN of several paths: the steps of attachers/steps.py that are about maps."""

from collections.abc import Container

from attachers.problems import Code
from attachers.sights import IscsiQuery, ScsiMap, ScsiSight
from attachers.steps import (
    DEVICES,
    AnnounceMap,
    CreateRecord,
    DeleteRecord,
    ForgetMap,
    JoinMap,
    LeaveMap,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    RemoveMap,
    Rescan,
    ResizeMap,
    Scan,
    Unpublish,
)
from tests.host.test_contract import LIMIT_S, NAME, OWNER, act, refused
from tests.host.world import World


async def look(world: World, wwid: str, *, holders: bool = False) -> ScsiSight:
    portals = (world.portal, world.other_portal)
    sight = await world.host.observe(IscsiQuery(NAME, world.target, portals, 1, wwid, holders=holders))
    assert isinstance(sight, ScsiSight)
    return sight


async def paths_of(world: World, wwid: str, *, count: int = 2) -> ScsiSight:
    """The sight with that many paths that have a node and have answered."""
    deadline = world.host.now() + LIMIT_S
    while world.host.now() < deadline:
        since = world.host.changes
        sight = await look(world, wwid)
        if len([path for path in sight.paths if path.node and path.size and path.designators]) == count:
            return sight
        await world.host.changed(since, timeout_s=1)
    raise AssertionError(f"{count} paths did not come: {sight}")


async def map_of(world: World, wwid: str, *, paths: Container[int] = (2,)) -> ScsiMap:
    """The map, once it is at rest with a number of usable paths that will do; a late path is asked for again."""
    deadline = world.host.now() + LIMIT_S
    while world.host.now() < deadline:
        since = world.host.changes
        sight = await look(world, wwid)
        usable = [path for path in sight.map.paths if path.usable] if sight.map else []
        if sight.map and not sight.map.suspended and len(usable) == len(sight.map.paths) in paths:
            return sight.map
        await world.host.changed(since, timeout_s=1)
    raise AssertionError(f"a map with {paths} paths did not come: {sight}")


async def bring_paths(world: World) -> tuple[str, list[str]]:
    """A LUN that is announced, with a path to it from each portal; returns its name and their addresses."""
    await world.use_multipath()
    wwid = await world.make_lun(1)
    for portal in (world.portal, world.other_portal):
        await act(world, CreateRecord(world.target, portal), Login(world.target, portal))
    sessions = (await look(world, wwid)).sessions
    await act(world, AnnounceMap(wwid, OWNER))
    for session in sessions:
        await act(world, Scan(f"{session.host}:0:0:1", world.target, session.portal))
    sight = await paths_of(world, wwid)
    return wwid, [path.hctl for path in sight.paths]


async def make_map(world: World) -> tuple[str, list[str]]:
    """The map of such a LUN."""
    wwid, hctls = await bring_paths(world)
    await act(world, *(JoinMap(hctl, wwid) for hctl in hctls))
    await map_of(world, wwid)
    return wwid, hctls


async def give_back(world: World, wwid: str, *hctls: str) -> None:
    """The whole way out of a map that was published."""
    await act(world, Unpublish(NAME, wwid), RemoveMap(wwid))
    await act(world, *(RemoveDevice(hctl, wwid) for hctl in hctls), ForgetMap(wwid))
    for portal in (world.portal, world.other_portal):
        await act(world, Logout(world.target, portal), DeleteRecord(world.target, portal))


async def test_a_map_of_two_paths_and_back_to_nothing(world: World) -> None:
    """Cases 6, 13 and 43: what is handed out is the map, and nothing of it stays anywhere."""
    await world.use_multipath()
    before = await world.inventory()
    wwid, hctls = await make_map(world)
    await act(world, Publish(NAME, "", wwid, False, OWNER))
    sight = await look(world, wwid)
    assert sight.map and sight.map.ours and sight.map.size == 16 << 20 and not sight.map.read_only
    assert {path.hctl for path in sight.map.paths} == set(hctls)
    assert all(wwid in path.designators for path in sight.map.paths)
    assert (sight.link, sight.device_link, sight.owner) == (f"{DEVICES}/{wwid}", sight.map.node, OWNER)
    assert sight.notes and sight.notes.announced and sight.notes.ours
    await give_back(world, wwid, *hctls)
    assert await world.inventory() == before


async def test_each_step_done_twice_is_as_done_once(world: World) -> None:
    wwid, hctls = await bring_paths(world)
    await act(world, AnnounceMap(wwid, OWNER), *(JoinMap(hctl, wwid) for hctl in hctls), times=2)
    await map_of(world, wwid)
    await act(world, Publish(NAME, "", wwid, False, OWNER), Unpublish(NAME, wwid), times=2)
    await act(world, LeaveMap(hctls[1], wwid), times=2)
    await act(world, RemoveMap(wwid), times=2)
    await act(world, *(RemoveDevice(hctl, wwid) for hctl in hctls), ForgetMap(wwid), times=2)
    for portal in (world.portal, world.other_portal):
        await act(world, Logout(world.target, portal), DeleteRecord(world.target, portal))
    assert await look(world, wwid) == ScsiSight()


async def test_a_map_in_use_stays_and_so_do_its_paths(world: World) -> None:
    """Case 44: who has it open is named."""
    wwid, hctls = await make_map(world)
    await act(world, Publish(NAME, "", wwid, False, ""))
    async with world.holding_map(wwid):
        sight = await look(world, wwid, holders=True)
        assert sight.map and len(sight.map.holders or ()) == 1
        assert all(path.holders == () for path in sight.paths), "the map itself is nobody"
        assert await refused(world, RemoveMap(wwid)) is Code.IN_USE
        assert (await map_of(world, wwid)).ours
    assert await refused(world, RemoveDevice(hctls[0], wwid)) is Code.IN_USE
    assert await refused(world, ForgetMap(wwid)) is Code.IN_USE
    sight = await look(world, wwid, holders=True)
    assert sight.map and sight.map.holders == ()
    await give_back(world, wwid, *hctls)


async def test_a_path_leaves_and_joins_again(world: World) -> None:
    wwid, hctls = await make_map(world)
    await act(world, LeaveMap(hctls[1], wwid))
    assert [path.hctl for path in (await map_of(world, wwid, paths=(1,))).paths] == hctls[:1]
    await act(world, JoinMap(hctls[1], wwid))
    await map_of(world, wwid)
    await give_back(world, wwid, *hctls)


async def test_a_late_path_joins_under_the_feet_of_whoever_uses_the_map(world: World) -> None:
    """Case 53."""
    wwid, hctls = await bring_paths(world)
    await act(world, JoinMap(hctls[0], wwid), Publish(NAME, "", wwid, False, ""))
    async with world.holding_map(wwid):
        await act(world, JoinMap(hctls[1], wwid))
        await map_of(world, wwid)
    await give_back(world, wwid, *hctls)


async def test_a_read_only_map_is_so_after_a_path_has_joined(world: World) -> None:
    wwid, hctls = await bring_paths(world)
    await act(world, JoinMap(hctls[0], wwid), Publish(NAME, "", wwid, True, ""))
    assert (await map_of(world, wwid, paths=(1, 2))).read_only, "multipathd may have taken the other one in by itself"
    await act(world, JoinMap(hctls[1], wwid))
    assert (await map_of(world, wwid)).read_only
    await give_back(world, wwid, *hctls)


async def test_a_map_grows_once_all_of_its_paths_have(world: World) -> None:
    """Case 51."""
    wwid, hctls = await make_map(world)
    await act(world, Publish(NAME, "", wwid, False, ""))
    await world.resize_lun(1, size=24 << 20)
    await act(world, Rescan(hctls[0], wwid))
    assert await refused(world, ResizeMap(wwid, 24 << 20)) is Code.CONFLICT
    assert (await map_of(world, wwid)).size == 16 << 20
    async with world.holding_map(wwid):
        await act(world, Rescan(hctls[1], wwid))
        await act(world, ResizeMap(wwid, 24 << 20), times=2)
        assert (await map_of(world, wwid)).size == 24 << 20
    await give_back(world, wwid, *hctls)


async def test_nothing_joins_that_was_not_announced_and_no_map_is_handed_out_that_is_not_there(world: World) -> None:
    await world.use_multipath()
    wwid = await world.make_lun(1)
    await act(world, CreateRecord(world.target, world.portal), Login(world.target, world.portal))
    (session,) = (await look(world, wwid)).sessions
    hctl = f"{session.host}:0:0:1"
    await act(world, Scan(hctl, world.target, world.portal))
    await paths_of(world, wwid, count=1)
    assert await refused(world, JoinMap(hctl, wwid)) is Code.CONFLICT
    assert await refused(world, Publish(NAME, "", wwid, False, "")) in (Code.DEVICE_TIMEOUT, Code.UNAVAILABLE)
    await act(world, RemoveDevice(hctl, wwid), Logout(world.target, world.portal))
    await act(world, DeleteRecord(world.target, world.portal))


async def test_another_logical_unit_does_not_join(world: World) -> None:
    """Case 3: the disk itself is asked who it is, right before."""
    wwid, hctls = await bring_paths(world)
    other = await world.swap_lun(1)
    assert await refused(world, JoinMap(hctls[0], wwid)) is Code.WRONG_DEVICE
    assert (await look(world, wwid)).map is None
    await act(world, *(RemoveDevice(hctl) for hctl in hctls), ForgetMap(wwid))
    for portal in (world.portal, world.other_portal):
        await act(world, Logout(world.target, portal), DeleteRecord(world.target, portal))
    assert other != wwid


async def test_a_map_of_somebody_else_stays(world: World) -> None:
    await world.use_multipath()
    wwid = await world.make_lun(1)
    host = await world.foreign_login()
    foreign = f"{host}:0:0:1"
    await world.foreign_scan(foreign)
    await paths_of(world, wwid, count=1)
    await world.foreign_map(wwid, foreign)
    await map_of(world, wwid, paths=(1,))
    before = await world.inventory()
    portal = world.other_portal
    await act(world, CreateRecord(world.target, portal), Login(world.target, portal), AnnounceMap(wwid, ""))
    session = next(s for s in (await look(world, wwid)).sessions if s.portal == portal)
    mine = f"{session.host}:0:0:1"
    await act(world, Scan(mine, world.target, portal))
    await paths_of(world, wwid)
    await act(world, JoinMap(mine, wwid))
    borrowed = await map_of(world, wwid)
    assert not borrowed.ours
    told = [line for line in await world.inventory() if "announced map" in line or "/map/mpath-" in line]
    assert not told, "udev leaves it as its owner has it"
    await act(world, Publish(NAME, "", wwid, False, OWNER))
    sight = await look(world, wwid)
    assert (sight.link, sight.device_link) == (f"{DEVICES}/{wwid}", borrowed.node)
    assert sight.owner != OWNER, "it keeps its own"
    await act(world, Unpublish(NAME, wwid))
    assert await refused(world, RemoveMap(wwid)) is Code.CONFLICT
    assert await refused(world, LeaveMap(foreign, wwid)) is Code.CONFLICT
    await act(world, LeaveMap(mine, wwid), RemoveDevice(mine, wwid), ForgetMap(wwid))
    await act(world, Logout(world.target, portal), DeleteRecord(world.target, portal))
    assert await world.inventory() == before
