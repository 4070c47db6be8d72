"""Cases 79 and 100: who uses a disk is found, however it hides, and nothing is handed out or taken from under him."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from attachers.problems import Code
from attachers.steps import (
    CreateRecord,
    DeleteRecord,
    Disown,
    Login,
    Logout,
    Own,
    Publish,
    RemoveDevice,
    Scan,
    Unpublish,
)
from tests.host.test_contract import NAME, OWNER, act, attach, give_back, look, refused, see_path
from tests.host.world import World

HIDDEN = ("mapping", "memory", "backstore")


@asynccontextmanager
async def borrowed(world: World) -> AsyncIterator[tuple[str, str]]:
    """A LUN that an administrator has logged in to and scanned: its address and its name."""
    wwid = await world.make_lun(1)
    hctl = f"{await world.foreign_login()}:0:0:1"
    await world.foreign_scan(hctl)
    await see_path(world, wwid=wwid)
    before = await world.inventory()
    yield hctl, wwid
    assert await world.inventory() == before


async def test_what_somebody_uses_is_not_handed_out_for_writing(world: World) -> None:
    async with borrowed(world) as (hctl, wwid):
        async with world.holding(hctl):
            assert await refused(world, Publish(NAME, hctl, wwid, False, "")) is Code.IN_USE
            users = (await look(world, wwid=wwid, holders=True)).users
            assert users and len(users) == 1
            await act(world, Publish(NAME, hctl, wwid, True, ""), Unpublish(NAME, wwid))
        await act(world, Publish(NAME, hctl, wwid, False, ""), Unpublish(NAME, wwid))


async def test_what_is_borrowed_keeps_owner_and_read_only_flag(world: World) -> None:
    async with borrowed(world) as (hctl, wwid):
        await act(world, Publish(NAME, hctl, wwid, True, OWNER))
        sight = await look(world, wwid=wwid)
        assert sight.owner not in ("", OWNER)
        assert not sight.paths[0].read_only
        await act(world, Unpublish(NAME, wwid))


async def test_the_wire_cannot_say_what_only_the_record_can(world: World) -> None:
    """That it is handed out again, or is ours."""
    async with borrowed(world) as (hctl, wwid):
        await act(world, Publish(NAME, hctl, wwid, True, OWNER, borrowed=False), Unpublish(NAME, wwid))
        async with world.holding(hctl):
            assert await refused(world, Publish(NAME, hctl, wwid, False, "", again=True)) is Code.IN_USE


async def test_what_was_handed_out_is_so_again_beside_its_user(world: World) -> None:
    """A detach that was refused gives the link back; once the disk was removed, a new one has no users of ours."""
    path, wwid = await attach(world)
    publish = Publish(NAME, path.hctl, wwid, False, "")
    await act(world, publish)
    async with world.holding(path.hctl):
        await act(world, Unpublish(NAME, wwid), publish)
        assert (await look(world)).link
        await act(world, Publish(f"{NAME}-2", path.hctl, wwid, False, ""), Unpublish(f"{NAME}-2", None))
    await act(world, Unpublish(NAME, wwid), RemoveDevice(path.hctl, wwid))
    host = path.hctl.partition(":")[0]
    await world.foreign_scan(f"{host}:0:0:1")
    again = await see_path(world, wwid=wwid)
    async with world.holding(again.hctl):
        assert await refused(world, publish) is Code.IN_USE
    await give_back(world, again.hctl)


@pytest.mark.parametrize("how", HIDDEN)
async def test_a_user_that_hides(world: World, how: str) -> None:
    """A mapping above our disk that nobody has open, memory whose descriptor is closed, a LUN served from our link."""
    before = await world.inventory()
    path, wwid = await attach(world)
    publish = Publish(NAME, path.hctl, wwid, False, "")
    await act(world, publish)
    async with world.hidden_user(path.hctl, how, NAME) as user:
        users = (await look(world, wwid=wwid, holders=True)).users or ()
        assert [name for name in users if user in name], users
        await act(world, Unpublish(NAME, wwid))
        assert await refused(world, RemoveDevice(path.hctl, wwid)) is Code.IN_USE
        await act(world, publish)
    await act(world, Unpublish(NAME, wwid), RemoveDevice(path.hctl, wwid))
    await give_back(world)
    assert await world.inventory() == before


async def test_a_user_of_another_path_to_the_unit_counts(world: World) -> None:
    """The administrator has it by one portal, and we by the other."""
    portal = world.other_portal
    async with borrowed(world) as (hctl, wwid):
        await act(world, CreateRecord(world.target, portal), Login(world.target, portal))
        session = next(s for s in (await look(world, portals=[portal])).sessions if s.portal == portal)
        mine = f"{session.host}:0:0:1"
        await act(world, Scan(mine, world.target, portal))
        while not any(path.hctl == mine and path.node for path in (await look(world, portals=[portal])).paths):
            await world.host.changed(world.host.changes, timeout_s=1)
        async with world.holding(hctl):
            assert await refused(world, Publish(NAME, mine, wwid, False, "")) is Code.IN_USE
        await act(world, Publish(NAME, mine, wwid, False, ""), Unpublish(NAME, wwid), RemoveDevice(mine, wwid))
        await act(world, Logout(world.target, portal), DeleteRecord(world.target, portal))


async def test_a_lun_that_somebody_scans_after_it_was_asked_for_is_ours(world: World) -> None:
    """Case 77: on a session that is not ours, too; what was there before stays an administrator's."""
    host = await world.foreign_login()
    before = await world.inventory()
    hctl = f"{host}:0:0:1"
    await act(world, Own((world.target,), 1))
    wwid = await world.make_lun(1)
    await world.foreign_scan(hctl)
    path = await see_path(world, wwid=wwid)
    assert path.ours and (await look(world)).owned == (world.target,)
    assert await refused(world, Disown((world.target,), 1)) is Code.BUSY
    await act(world, RemoveDevice(hctl, wwid), Disown((world.target,), 1))
    assert await world.inventory() == before
    await world.foreign_scan(hctl)
    await see_path(world, wwid=wwid)
    await act(world, Own((world.target,), 1))
    assert not (await look(world)).paths[0].ours
    assert await refused(world, RemoveDevice(hctl)) is Code.CONFLICT
    await act(world, Disown((world.target,), 1))
