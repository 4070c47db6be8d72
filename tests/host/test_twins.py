"""Case 96: two disks that say the same name. The second one has not proved itself: it gets no link, no name, no map."""

from attachers.problems import Code
from attachers.steps import AnnounceMap, ForgetMap, JoinMap, Publish, RemoveDevice, RemoveMap, Scan, Unpublish
from tests.host.test_contract import NAME, act, attach, give_back, log_in, look, refused, see_path
from tests.host.world import World

OTHER = "naa.60014050000000000000000000000e0f"


async def find_twin(world: World, host: int, wwid: str) -> str:
    """A second disk that says that name, at an address that was claimed for another unit; its address."""
    await world.make_twin(2, wwid)
    twin = f"{host}:0:0:2"
    await act(world, Scan(twin, world.target, world.portal, OTHER))
    assert (await see_path(world, lun=2)).designators >= {wwid}, "it says so, to the kernel as to us"
    return twin


def lines(inventory: frozenset[str], twin: str) -> set[str]:
    """What is there besides what every disk of ours has: itself, its claim, its own link."""
    return {line for line in inventory if twin not in line.partition(" -> ")[0]}


async def test_the_newcomer_takes_no_link(world: World) -> None:
    before = await world.inventory()
    path, wwid = await attach(world)
    await act(world, Publish(NAME, path.hctl, wwid, False, ""))
    standing = await world.inventory()
    twin = await find_twin(world, int(path.hctl.partition(":")[0]), wwid)
    assert lines(await world.inventory(), twin) == standing
    assert (await look(world, wwid=wwid)).device_link == path.node
    assert await refused(world, Publish("contract-twin", twin, wwid, False, "")) is Code.WRONG_DEVICE
    assert lines(await world.inventory(), twin) == standing
    await act(world, RemoveDevice(path.hctl, wwid))
    assert (await look(world, lun=2, wwid=wwid)).device_link is None, "nor when the first one goes"
    await act(world, Unpublish(NAME, wwid))
    await give_back(world, twin)
    assert await world.inventory() == before


async def test_the_newcomer_joins_no_map(world: World) -> None:
    before = await world.inventory()
    await world.use_multipath()
    wwid = await world.make_lun(1)
    host = await log_in(world)
    first = f"{host}:0:0:1"
    await act(world, Scan(first, world.target, world.portal, wwid))
    await see_path(world, wwid=wwid)
    await act(world, AnnounceMap(wwid, ""), JoinMap(first, wwid))
    standing = await world.inventory()
    twin = await find_twin(world, host, wwid)
    assert lines(await world.inventory(), twin) == standing
    assert await refused(world, JoinMap(twin, wwid)) is Code.WRONG_DEVICE
    assert lines(await world.inventory(), twin) == standing
    sight = await look(world, wwid=wwid)
    assert sight.map and [member.hctl for member in sight.map.paths] == [first]
    await act(world, RemoveMap(wwid), RemoveDevice(first, wwid), RemoveDevice(twin), ForgetMap(wwid))
    await give_back(world)
    assert await world.inventory() == before
