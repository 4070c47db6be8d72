"""What every host keeps to behind Fibre Channel: whose a LUN is that the kernel itself finds, loses and brings back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from attachers.checks import with_colons
from attachers.problems import Code, Problem
from attachers.sights import LOGGED_IN, FcQuery, HostQuery, HostSight, ScsiPath, ScsiSight, Session
from attachers.steps import Disown, Own, Publish, RemoveDevice, Scan, Step, Unpublish
from tests.host.fc_world import FcWorld

LIMIT_S = 30.0
NAME = "contract-fc"
WORLDS: Mapping[str, str] = {
    "simulated": "tests.host.simulated_fc_world",
    "remote": "tests.host.simulated_fc_world",
    "linux": "tests.host.linux_fc_world",
}


@pytest.fixture
async def world(host_name: str, tmp_path: Path) -> AsyncIterator[FcWorld]:
    """A host with a port that sees an array's, and no LUN yet; at the end nothing of the world is left."""
    make: Callable[[Path], Awaitable[FcWorld]] = getattr(import_module(WORLDS[host_name]), f"{host_name}_fc_world")
    world = await make(tmp_path)
    try:
        yield world
    finally:
        await world.close()


async def act(world: FcWorld, *steps: Step, times: int = 1) -> None:
    for step in steps:
        for _ in range(times):
            await world.host.act(step, timeout_s=LIMIT_S)


async def refused(world: FcWorld, step: Step) -> Code:
    with pytest.raises(Problem) as caught:
        await world.host.act(step, timeout_s=LIMIT_S)
    assert caught.value.detail
    return caught.value.code


async def look(world: FcWorld, *, lun: int = 1) -> ScsiSight:
    sight = await world.host.observe(FcQuery(NAME, (world.target,), lun))
    assert isinstance(sight, ScsiSight)
    return sight


async def way(world: FcWorld) -> Session:
    (session,) = (await look(world)).sessions
    return session


async def see_path(world: FcWorld, *, lun: int = 1) -> ScsiPath:
    """The path to a LUN, once its block device is there and it has answered."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            since = world.host.changes
            paths = [path for path in (await look(world, lun=lun)).paths if path.node and path.designators]
            if paths:
                return paths[0]
            await world.host.changed(since, timeout_s=1)


async def scan_of(world: FcWorld, lun: int = 1) -> Scan:
    return Scan((await way(world)).at(lun), world.target, world.local)


def own(world: FcWorld, lun: int = 1) -> Own:
    return Own((world.target,), lun)


def disown(world: FcWorld, lun: int = 1) -> Disown:
    return Disown((world.target,), lun)


async def test_ports_are_seen_and_told(world: FcWorld) -> None:
    session = await way(world)
    assert (session.target, session.portal, session.state, session.ours) == (
        world.target,
        world.local,
        LOGGED_IN,
        False,
    )
    assert session.via == f"{with_colons(world.target)} from {with_colons(world.local)}"
    assert (await look(world)).ports == ()
    nothing = await world.host.observe(FcQuery(NAME, ("2000020000000fff",), 1))
    assert isinstance(nothing, ScsiSight) and not nothing.sessions
    port = next(port for port in nothing.ports if port.wwpn == world.local)
    assert port.host == session.host and any(with_colons(world.target) in remote for remote in port.remote)
    host = await world.host.observe(HostQuery())
    assert isinstance(host, HostSight) and world.local in host.wwpns and host.fc.available


async def test_every_step_may_be_taken_twice(world: FcWorld) -> None:
    wwid = await world.make_lun(1)
    before = await world.inventory()
    scan = await scan_of(world)
    await act(world, own(world), scan, times=2)
    path = await see_path(world)
    assert path.ours and path.designators >= {wwid} and path.sysfs_wwid == wwid and path.size == 16 << 20
    assert (await look(world)).owned == (world.target,)
    await act(world, Publish(NAME, scan.hctl, wwid, False, ""), times=2)
    sight = await look(world)
    assert sight.link == f"/dev/cdmi-attach/{wwid}"
    await act(world, Unpublish(NAME, wwid), RemoveDevice(scan.hctl), disown(world), times=2)
    assert (await look(world)).owned == ()
    assert await world.inventory() == before


async def test_one_lun_is_scanned_and_no_other(world: FcWorld) -> None:
    """Case 14."""
    for lun in (1, 2, 3):
        await world.make_lun(lun)
    scan = await scan_of(world, 2)
    assert await refused(world, scan) is Code.CONFLICT, "nobody has said that it is ours"
    await act(world, own(world, 2), scan)
    await see_path(world, lun=2)
    assert (await way(world)).devices == (scan.hctl,)
    await act(world, RemoveDevice(scan.hctl), disown(world, 2))


async def test_a_scan_that_finds_nothing_is_no_failure(world: FcWorld) -> None:
    before = await world.inventory()
    await act(world, own(world), await scan_of(world))
    assert await world.inventory() == before
    await act(world, disown(world))


async def test_what_was_there_before_is_borrowed(world: FcWorld) -> None:
    await world.make_lun(1)
    hctl = (await way(world)).at(1)
    await world.foreign_scan(hctl)
    await see_path(world)
    before = await world.inventory()
    await act(world, own(world), Scan(hctl, world.target, world.local))
    assert not (await see_path(world)).ours
    assert await refused(world, RemoveDevice(hctl)) is Code.CONFLICT
    await world.lose()
    await world.plug()
    assert not (await see_path(world)).ours, "also when it comes back"
    await act(world, disown(world))
    assert await world.inventory() == before


async def test_what_others_had_found_after_we_asked_for_it_is_ours(world: FcWorld) -> None:
    before = await world.inventory()
    await act(world, own(world))
    await world.make_lun(1)
    hctl = (await way(world)).at(1)
    await world.foreign_scan(hctl)
    assert (await see_path(world)).ours
    assert await refused(world, disown(world)) is Code.BUSY
    await act(world, RemoveDevice(hctl), disown(world))
    assert await world.inventory() == before


async def test_a_cable_is_pulled_for_a_moment(world: FcWorld) -> None:
    await world.make_lun(1)
    scan = await scan_of(world)
    await act(world, own(world), scan)
    path = await see_path(world)
    await world.pull()
    assert (await way(world)).state == "Blocked"
    silent = (await look(world)).paths[0]
    assert (silent.hctl, silent.designators, silent.ours) == (path.hctl, frozenset(), True) and silent.inquiry_error
    assert await refused(world, Scan((await way(world)).at(2), world.target, world.local)) is Code.CONFLICT
    await act(world, own(world, 2))
    assert await refused(world, Scan((await way(world)).at(2), world.target, world.local)) is Code.TARGET_TIMEOUT
    await world.plug()
    assert (await see_path(world)).node == path.node
    await act(world, RemoveDevice(scan.hctl), disown(world), disown(world, 2))


async def test_a_cable_is_pulled_for_long(world: FcWorld) -> None:
    """The kernel removes the disk, and brings one back by itself; claim and path come with it, and are ours.

    Its unit's link does not: what answers there now has to prove itself anew (case 96).
    """
    before = await world.inventory()
    wwid = await world.make_lun(1)
    scan = await scan_of(world)
    await act(world, own(world), scan)
    await see_path(world)
    await act(world, Publish(NAME, scan.hctl, wwid, False, ""))
    standing = await world.inventory()
    await world.lose()
    sight = await look(world)
    assert not sight.paths and sight.owned == (world.target,) and sight.sessions[0].state == "Not Present"
    await world.plug()
    path = await see_path(world)
    assert path.ours and path.designators >= {wwid}
    sight = await look(world)
    assert sight.device_link is None and sight.link is not None
    await act(world, Publish(NAME, path.hctl, wwid, False, ""))
    async with asyncio.timeout(LIMIT_S):
        while await world.inventory() != standing:  # udev makes the other links again
            await world.host.changed(world.host.changes, timeout_s=0.2)
    await act(world, Unpublish(NAME, wwid), RemoveDevice(path.hctl), disown(world))
    assert await world.inventory() == before


async def test_a_lun_that_comes_back_after_its_removal(world: FcWorld) -> None:
    """Cases 11 and 12."""
    before = await world.inventory()
    await world.make_lun(1)
    scan = await scan_of(world)
    await act(world, own(world), scan)
    await see_path(world)
    await act(world, RemoveDevice(scan.hctl))
    await world.lose()
    await world.plug()
    path = await see_path(world)
    assert path.ours
    await act(world, RemoveDevice(path.hctl), disown(world))
    await world.lose()
    await world.plug()
    assert not (await see_path(world)).ours, "given up: it is the kernel's own now"
    assert await refused(world, RemoveDevice(path.hctl)) is Code.CONFLICT
    assert before <= await world.inventory()


async def test_a_swap_is_told_by_the_disk_alone(world: FcWorld) -> None:
    """Case 2."""
    wwid = await world.make_lun(1)
    scan = await scan_of(world)
    await act(world, own(world), scan)
    await see_path(world)
    other = await world.swap_lun(1)
    path = await see_path(world)
    assert path.designators >= {other} and path.sysfs_wwid == wwid
    assert await refused(world, Publish(NAME, scan.hctl, wwid, False, "")) is Code.WRONG_DEVICE
    await act(world, RemoveDevice(scan.hctl), disown(world))
