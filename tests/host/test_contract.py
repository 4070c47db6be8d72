"""What every host keeps to: attachers/base.py and the docstrings of attachers/steps.py, as conversations."""

import asyncio
import os
from collections.abc import Sequence

import pytest

from agent.shown_memory import made
from attachers.base import Uncertain
from attachers.problems import Code, Problem
from attachers.sights import BlocksQuery, BlocksSight, HostQuery, HostSight, IscsiQuery, ScsiPath, ScsiSight
from attachers.steps import (
    DEVICES,
    CreateRecord,
    DeleteRecord,
    Login,
    Logout,
    Publish,
    RemoveDevice,
    Rescan,
    Scan,
    Step,
    Unpublish,
)
from tests.host.world import World

LIMIT_S = 30.0
NAME = "contract-vm"
OWNER = "nobody:nogroup"


async def act(world: World, *steps: Step, times: int = 1) -> None:
    for step in steps:
        for _ in range(times):
            await world.host.act(step, timeout_s=LIMIT_S)


async def refused(world: World, step: Step) -> Code:
    with pytest.raises(Problem) as caught:
        await world.host.act(step, timeout_s=LIMIT_S)
    assert caught.value.detail
    return caught.value.code


async def look(
    world: World,
    *,
    lun: int = 1,
    wwid: str | None = None,
    holders: bool = False,
    read: bool = False,
    portals: Sequence[str] = (),
) -> ScsiSight:
    portals = tuple(portals or (world.portal,))
    sight = await world.host.observe(IscsiQuery(NAME, world.target, portals, lun, wwid, holders=holders, read=read))
    assert isinstance(sight, ScsiSight)
    return sight


async def see_path(world: World, *, lun: int = 1, wwid: str | None = None) -> ScsiPath:
    """The path to a LUN, once its block device is there and it has answered."""
    deadline = world.host.now() + LIMIT_S
    while world.host.now() < deadline:
        since = world.host.changes
        sight = await look(world, lun=lun, wwid=wwid)
        ready = [path for path in sight.paths if path.node and path.size and path.designators]
        if ready:
            return ready[0]
        await world.host.changed(since, timeout_s=1)
    raise AssertionError(f"LUN {lun} did not come: {sight}")


async def log_in(world: World) -> int:
    """A session of ours; returns its SCSI host number."""
    await act(world, CreateRecord(world.target, world.portal), Login(world.target, world.portal))
    return (await look(world)).sessions[0].host


async def attach(world: World, *, lun: int = 1) -> tuple[ScsiPath, str]:
    """A LUN of ours that is there, and its logical unit name."""
    wwid = await world.make_lun(lun)
    host = await log_in(world)
    await act(world, Scan(f"{host}:0:0:{lun}", world.target, world.portal))
    return await see_path(world, lun=lun, wwid=wwid), wwid


async def give_back(world: World, *hctls: str) -> None:
    """The whole way out."""
    await act(world, *(RemoveDevice(hctl) for hctl in hctls))
    await act(world, Logout(world.target, world.portal), DeleteRecord(world.target, world.portal))


async def test_it_says_what_it_is(world: World) -> None:
    sight = await world.host.observe(HostQuery())
    assert isinstance(sight, HostSight)
    assert sight.iscsi.available and sight.initiator_name.startswith("iqn.") and sight.boot_id


async def test_where_nothing_is_it_sees_nothing(world: World) -> None:
    assert await look(world, wwid="naa.6001405fffffffffffffffffffffffff", holders=True) == ScsiSight(users=())


async def test_attach_and_detach_leave_the_host_as_it_was(world: World) -> None:
    before = await world.inventory()
    path, wwid = await attach(world)
    await act(world, Publish(NAME, path.hctl, wwid, False, OWNER))
    assert await world.inventory() > before
    await act(world, Unpublish(NAME, wwid), RemoveDevice(path.hctl, wwid))
    await give_back(world)
    assert await world.inventory() == before


async def test_a_published_disk_is_read_for_whoever_may_not_open_it(world: World) -> None:
    """As far as it goes, as long as it is published, and never another one than was asked for."""
    path, wwid = await attach(world)

    async def read(name: str, first: int, count: int) -> int:
        with made(1 << 20) as memory:
            query = BlocksQuery(name, first, count, os.getpid(), memory.fd, memory.inode)
            sight = await world.host.observe(query)
        assert isinstance(sight, BlocksSight)
        return sight.count

    async def code_of(name: str) -> Code:
        with pytest.raises(Problem) as caught:
            await read(name, 0, 1 << 20)
        return caught.value.code

    await act(world, Publish(NAME, path.hctl, wwid, False, OWNER))
    assert await read(wwid, 0, 1 << 20) == 1 << 20
    assert await read(wwid, path.size - 4096, 1 << 20) == 4096
    assert await read(wwid, path.size, 4096) == 0
    assert await code_of("naa.6001405fffffffffffffffffffffffff") is Code.NOT_FOUND
    await world.swap_lun(1)
    assert await code_of(wwid) is Code.WRONG_DEVICE
    await act(world, Unpublish(NAME, wwid))
    assert await code_of(wwid) in (Code.NOT_FOUND, Code.WRONG_DEVICE)
    await give_back(world, path.hctl)


async def test_each_step_done_twice_is_as_done_once(world: World) -> None:
    wwid = await world.make_lun(1)
    await act(world, CreateRecord(world.target, world.portal), Login(world.target, world.portal), times=2)
    sight = await look(world)
    assert len(sight.records) == len(sight.sessions) == 1
    hctl = f"{sight.sessions[0].host}:0:0:1"
    await act(world, Scan(hctl, world.target, world.portal), times=2)
    await see_path(world)
    await act(world, Publish(NAME, hctl, wwid, False, ""), Unpublish(NAME, wwid), times=2)
    await act(world, RemoveDevice(hctl, wwid), Logout(world.target, world.portal), times=2)
    await act(world, DeleteRecord(world.target, world.portal), times=2)
    assert await look(world) == ScsiSight()


async def test_a_step_shows_what_came_of_it(world: World) -> None:
    await world.make_lun(1)
    query = IscsiQuery(NAME, world.target, (world.portal,), 1)
    for step in (
        CreateRecord(world.target, world.portal),
        Login(world.target, world.portal),
        Logout(world.target, world.portal),
        DeleteRecord(world.target, world.portal),
    ):
        shown = await world.host.act(step, timeout_s=LIMIT_S, then=query)
        assert shown == await world.host.observe(query)
        assert isinstance(shown, ScsiSight)
        assert all(record.ours for record in shown.records) and all(session.ours for session in shown.sessions)
    assert shown == ScsiSight()


async def test_records_and_sessions_are_seen_and_ours(world: World) -> None:
    await act(world, CreateRecord(world.target, world.portal))
    sight = await look(world)
    assert [(r.target, r.portal, r.ours) for r in sight.records] == [(world.target, world.portal, True)]
    assert not sight.sessions
    await world.make_lun(1)
    await act(world, Login(world.target, world.portal))
    (session,) = (await look(world)).sessions
    assert (session.target, session.portal, session.state) == (world.target, world.portal, "LOGGED_IN")
    assert session.ours and session.devices == ()
    await give_back(world)


async def test_only_the_wanted_lun_is_scanned(world: World) -> None:
    await world.make_lun(2)
    path, wwid = await attach(world, lun=1)
    assert path.ours and path.via == world.portal and path.size == 16 << 20 and not path.read_only
    assert wwid in path.designators and path.sysfs_wwid == wwid and path.holders is None
    assert (await look(world)).sessions[0].devices == (path.hctl,)
    assert not (await look(world, lun=2)).paths
    await give_back(world, path.hctl)


async def test_a_second_lun_on_the_same_session(world: World) -> None:
    await world.make_lun(2)
    path, _ = await attach(world, lun=1)
    other = path.hctl[:-1] + "2"
    await act(world, Scan(other, world.target, world.portal))
    assert (await see_path(world, lun=2)).hctl == other
    await act(world, RemoveDevice(path.hctl))
    sight = await look(world, lun=2)
    assert sight.sessions[0].devices == (other,) and sight.paths[0].ours
    await give_back(world, other)


async def test_publishing_links_the_disk(world: World) -> None:
    path, wwid = await attach(world)
    await act(world, Publish(NAME, path.hctl, wwid, False, OWNER))
    sight = await look(world, wwid=wwid)
    assert (sight.link, sight.device_link, sight.owner) == (f"{DEVICES}/{wwid}", path.node, OWNER)
    await act(world, Unpublish(NAME, None))
    sight = await look(world, wwid=wwid)
    assert (sight.link, sight.device_link) == (None, path.node)
    await act(world, Publish(NAME, path.hctl, wwid, False, OWNER), Unpublish(NAME, wwid))
    sight = await look(world, wwid=wwid)
    assert (sight.link, sight.device_link) == (None, None)
    await give_back(world, path.hctl)


async def test_a_read_only_disk_is_so(world: World) -> None:
    path, wwid = await attach(world)
    await act(world, Publish(NAME, path.hctl, wwid, True, ""))
    assert (await look(world, wwid=wwid)).paths[0].read_only
    await act(world, Unpublish(NAME, wwid))
    await give_back(world, path.hctl)


async def test_the_device_itself_is_asked_who_it_is(world: World) -> None:
    path, old = await attach(world)
    new = await world.swap_lun(1)
    path = (await look(world)).paths[0]
    assert new in path.designators and old not in path.designators
    assert path.sysfs_wwid == old
    assert await refused(world, Publish(NAME, path.hctl, old, False, "")) is Code.WRONG_DEVICE
    assert await refused(world, RemoveDevice(path.hctl, old)) is Code.WRONG_DEVICE
    assert (await look(world)).link is None
    await act(world, RemoveDevice(path.hctl), Scan(path.hctl, world.target, world.portal))
    path = await see_path(world)
    assert new in path.designators and path.sysfs_wwid == new
    await give_back(world, path.hctl)


async def test_a_device_in_use_stays(world: World) -> None:
    path, _ = await attach(world)
    async with world.holding(path.hctl):
        assert len((await look(world, holders=True)).paths[0].holders or ()) == 1
        assert (await look(world)).paths[0].holders is None
        assert await refused(world, RemoveDevice(path.hctl)) is Code.IN_USE
        assert (await look(world)).paths[0].ours
    assert (await look(world, holders=True)).paths[0].holders == ()
    await give_back(world, path.hctl)


async def test_no_logout_under_a_device_and_no_forgetting_under_a_session(world: World) -> None:
    path, _ = await attach(world)
    assert await refused(world, Logout(world.target, world.portal)) is Code.IN_USE
    assert await refused(world, DeleteRecord(world.target, world.portal)) is Code.IN_USE
    await act(world, RemoveDevice(path.hctl))
    assert await refused(world, DeleteRecord(world.target, world.portal)) is Code.IN_USE
    await give_back(world)


async def test_a_lun_that_is_not_there(world: World) -> None:
    await world.make_lun(1)
    before = await world.inventory()
    host = await log_in(world)
    await act(world, Scan(f"{host}:0:0:7", world.target, world.portal), times=2)
    assert (await look(world, lun=7)).sessions[0].devices == ()
    await world.make_lun(7)
    await act(world, Scan(f"{host}:0:0:7", world.target, world.portal))
    path = await see_path(world, lun=7)
    assert path.ours
    await act(world, RemoveDevice(path.hctl))
    await give_back(world)
    assert await world.inventory() == before


async def test_a_target_that_refuses(world: World) -> None:
    await act(world, CreateRecord(world.closed_target, world.portal))
    assert await refused(world, Login(world.closed_target, world.portal)) is Code.TARGET_REFUSED
    await act(world, DeleteRecord(world.closed_target, world.portal))


async def test_a_step_that_takes_too_long_is_uncertain_and_shown(world: World) -> None:
    if world.dead_portal is None:
        pytest.skip("no dead portal to be had here")
    await act(world, CreateRecord(world.target, world.dead_portal))
    step = Login(world.target, world.dead_portal)
    with pytest.raises(Uncertain) as caught:
        await world.host.act(step, timeout_s=0.1)
    assert caught.value.step == step.describe()
    assert (await look(world, portals=[world.dead_portal])).busy == (step.describe(),)
    assert (await look(world)).busy == ()


async def test_what_others_made_is_borrowed(world: World) -> None:
    await world.make_lun(1)
    host = await world.foreign_login()
    hctl = f"{host}:0:0:1"
    await world.foreign_scan(hctl)
    await see_path(world)
    before = await world.inventory()
    await act(world, CreateRecord(world.target, world.portal), Login(world.target, world.portal))
    await act(world, Scan(hctl, world.target, world.portal))
    sight = await look(world)
    assert not (sight.records[0].ours or sight.sessions[0].ours or sight.paths[0].ours)
    for step in (RemoveDevice(hctl), Logout(world.target, world.portal), DeleteRecord(world.target, world.portal)):
        assert await refused(world, step) is Code.CONFLICT
    assert await world.inventory() == before


async def test_our_device_on_a_session_of_others(world: World) -> None:
    wwid = await world.make_lun(1)
    host = await world.foreign_login()
    before = await world.inventory()
    hctl = f"{host}:0:0:1"
    await act(world, Scan(hctl, world.target, world.portal))
    path = await see_path(world)
    assert path.ours and not (await look(world)).sessions[0].ours
    await act(world, Publish(NAME, hctl, wwid, False, ""), Unpublish(NAME, wwid), RemoveDevice(hctl))
    assert await refused(world, Logout(world.target, world.portal)) is Code.CONFLICT
    assert await world.inventory() == before


async def test_a_link_of_others_stays(world: World) -> None:
    path, wwid = await attach(world)
    await world.foreign_link(NAME)
    assert (await look(world)).link == "/dev/null"
    assert await refused(world, Unpublish(NAME, wwid)) is Code.CONFLICT
    assert await refused(world, Publish(NAME, path.hctl, wwid, False, "")) is Code.CONFLICT
    assert (await look(world)).link == "/dev/null"
    await give_back(world, path.hctl)


async def test_only_what_was_looked_at_is_handed_out(world: World) -> None:
    wwid = await world.make_lun(1)
    assert await refused(world, Publish(NAME, "0:0:0:0", wwid, False, OWNER)) is Code.UNAVAILABLE


async def test_changes_are_told(world: World) -> None:
    await world.make_lun(1)
    await look(world)
    since = world.host.changes
    waiting = asyncio.create_task(world.host.changed(since, timeout_s=LIMIT_S))
    began = world.host.now()
    await log_in(world)
    await waiting
    assert world.host.changes > since
    assert world.host.now() - began < LIMIT_S
    await give_back(world)


async def test_waiting_for_a_change_ends_in_time(world: World) -> None:
    await look(world)
    deadline = world.host.now() + 5
    since = world.host.changes
    await world.host.changed(since, timeout_s=0.05)
    assert world.host.now() < deadline


async def test_a_disk_that_has_grown_shows_it_after_a_rescan_and_not_before(world: World) -> None:
    """Case 51. Nobody is told by itself; one that shrank is left as it is."""
    path, wwid = await attach(world)
    rescan = Rescan(path.hctl, wwid)
    await act(world, rescan)
    await world.resize_lun(1, size=24 << 20)
    assert (await see_path(world)).size == path.size == 16 << 20
    await act(world, rescan, times=2)
    assert (await see_path(world)).size == 24 << 20
    await world.resize_lun(1, size=16 << 20)
    assert await refused(world, rescan) is Code.CONFLICT
    assert (await see_path(world)).size == 24 << 20
    assert await refused(world, Rescan(path.hctl, "naa.6001405fffffffffffffffffffffffff")) is Code.WRONG_DEVICE
    await give_back(world, path.hctl)


async def test_of_another_logical_unit_no_size_is_read(world: World) -> None:
    path, wwid = await attach(world)
    await world.swap_lun(1)
    assert await refused(world, Rescan(path.hctl, wwid)) is Code.WRONG_DEVICE
    await give_back(world, path.hctl)
