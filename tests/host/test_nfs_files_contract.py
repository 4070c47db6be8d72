"""What every host tells of files on NFS servers: which they are, what root may do with them, and the way there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from attachers.nfs_share import FileId
from attachers.problems import Code, Problem
from attachers.sights import NfsQuery, NfsSight, Opening, RouteQuery, RouteSight
from attachers.steps import (
    MakeDisk,
    Mount,
    PublishFile,
    Unmount,
    Unpublish,
)
from tests.host.nfs_acts import (
    NAME,
    PATH,
    SIZE,
    WWID,
    act,
    give_back,
    look,
    make_disk,
    mount,
    refused,
    see_disk,
    world_of,
)
from tests.host.nfs_world import NfsWorld


@pytest.fixture
async def world(host_name: str, tmp_path: Path) -> AsyncIterator[NfsWorld]:
    """A host and its world; at the end nothing of the world is left."""
    async with world_of(host_name, tmp_path) as found:
        yield found


async def pin_of(world: NfsWorld, path: str = PATH) -> FileId:
    seen = (await look(world, path=path)).file
    assert seen and not seen.trouble
    return seen.id


async def test_a_file_is_known_by_its_number_and_its_file_systems(world: NfsWorld) -> None:
    """Case 93: by the same everywhere and over a remount, and another one at its path by another at once."""
    await mount(world)
    pin = await pin_of(world)
    assert pin.fsid and pin.number
    await act(world, Unmount(world.share), Mount(world.share, "hard"))
    assert await pin_of(world) == pin
    await world.grow_file(PATH, 2 * SIZE)
    assert await pin_of(world) == pin
    await world.swap_file(PATH)
    other = await pin_of(world)
    assert other.number != pin.number and other.fsid == pin.fsid
    for step in (
        MakeDisk(world.share, PATH, WWID, 2 * SIZE, pin=pin),
        PublishFile(NAME, world.share, PATH, pin),
        PublishFile(NAME, world.share, PATH, FileId("0:1", other.number)),
    ):
        assert await refused(world, step) is Code.WRONG_DEVICE
    sight = await look(world)
    assert sight.disk is None and sight.scsi.link is None
    await act(world, PublishFile(NAME, world.share, PATH, other), Unpublish(NAME, None))
    await act(world, MakeDisk(world.share, PATH, WWID, 2 * SIZE, pin=other))
    await see_disk(world)
    await give_back(world)


async def test_a_file_system_that_is_exported_as_another_is_another(world: NfsWorld) -> None:
    await mount(world)
    pin = await pin_of(world)
    await act(world, Unmount(world.share))
    await world.export_as("fsid=77")
    await mount(world)
    other = await pin_of(world)
    assert other.number == pin.number and other.fsid != pin.fsid
    assert await refused(world, PublishFile(NAME, world.share, PATH, pin)) is Code.WRONG_DEVICE
    await act(world, Unmount(world.share))


async def test_the_address_that_a_server_sees_is_the_one_that_it_has_to_let_in(world: NfsWorld) -> None:
    """By the kernel's routing; a server that names other hosts lets this one not mount."""
    route = await world.host.observe(RouteQuery(world.share.server))
    assert isinstance(route, RouteSight) and route.address == world.address and route.interface
    await world.export_as("", to="192.0.2.7")
    assert await refused(world, Mount(world.share, "hard")) is Code.TARGET_REFUSED
    await world.export_as("", to=route.address)
    await make_disk(world)
    await give_back(world)
    with pytest.raises(Problem) as caught:
        await world.host.observe(RouteQuery(world.unreached))
    assert caught.value.code is Code.TARGET_TIMEOUT and world.unreached in caught.value.hint


async def opening_of(world: NfsWorld, open_for: str) -> Opening:
    sight = await world.host.observe(NfsQuery(NAME, world.share, PATH, open_for=open_for))
    assert isinstance(sight, NfsSight) and sight.file and not sight.file.trouble and sight.file.size == SIZE
    return sight.file.opening


@pytest.mark.parametrize(
    ("options", "for_writing", "for_reading"),
    [
        ("", Opening.DONE, Opening.DONE),
        ("ro", Opening.READ_ONLY, Opening.DONE),
        ("root_squash", Opening.DENIED, Opening.DENIED),
    ],
)
async def test_a_file_is_opened_to_see_whether_it_can_be(
    world: NfsWorld, options: str, for_writing: Opening, for_reading: Opening
) -> None:
    """And nothing is written to it, nor is it opened where nobody asks."""
    await world.export_as(options)
    before = await world.content(PATH)
    await mount(world)
    found = (await look(world)).file
    assert found and found.opening is Opening.UNTRIED
    assert await opening_of(world, "rw") is for_writing
    assert await opening_of(world, "ro") is for_reading
    if for_writing is not Opening.DONE:
        assert await refused(world, MakeDisk(world.share, PATH, WWID, SIZE)) is Code.TARGET_REFUSED
    assert await world.content(PATH) == before
    await give_back(world)
