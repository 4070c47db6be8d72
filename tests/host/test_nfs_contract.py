"""What every host keeps to with NFS: the docstrings of attachers/steps.py, as conversations."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from attachers.nfs_share import Share
from attachers.problems import Code
from attachers.sights import HostQuery, HostSight, NfsSight, ScsiSight, Trouble
from attachers.steps import (
    DEVICES,
    GrowDisk,
    MakeDisk,
    Mount,
    Publish,
    PublishFile,
    RemoveDevice,
    RemoveDisk,
    Rescan,
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


async def test_it_says_that_it_can(world: NfsWorld) -> None:
    sight = await world.host.observe(HostQuery())
    assert isinstance(sight, HostSight) and sight.nfs.available and not sight.nfs.reason


async def test_where_nothing_is_it_sees_nothing(world: NfsWorld) -> None:
    assert await look(world, holders=True) == NfsSight(scsi=ScsiSight(users=()))


async def test_a_mount_is_seen_as_it_is_and_ours(world: NfsWorld) -> None:
    """Case 63: what is in force is told, whatever was asked for."""
    await mount(world)
    sight = await look(world)
    (mounted,) = sight.mounts
    assert (mounted.source, mounted.kind, mounted.ours) == (world.share.source, "nfs4", True)
    assert {"nodev", "nosuid", "noexec", "nosymfollow", "vers=4.2", "hard"} <= set(mounted.options.split(","))
    assert sight.file is not None and (sight.file.size, sight.file.trouble) == (SIZE, Trouble.NONE)
    assert sight.file.inode and sight.file.holders is None
    await act(world, Unmount(world.share))


async def test_a_file_becomes_a_disk_and_nothing_again(world: NfsWorld) -> None:
    path = await make_disk(world)
    sight = await look(world)
    assert path.ours and path.designators == {WWID} and path.sysfs_wwid == WWID and path.size == SIZE
    assert sight.disk and sight.disk.whole and sight.disk.ours and sight.file
    assert (sight.disk.file, sight.disk.inode) == (world.share.file(PATH), sight.file.inode)
    await act(world, Publish(NAME, path.hctl, WWID, False, "nobody:nogroup"))
    scsi = (await look(world)).scsi
    assert (scsi.link, scsi.device_link, scsi.owner) == (f"{DEVICES}/{WWID}", path.node, "nobody:nogroup")
    await act(world, Unpublish(NAME, WWID))
    await give_back(world)
    assert await look(world) == NfsSight()


async def test_each_step_done_twice_is_as_done_once(world: NfsWorld) -> None:
    await act(world, Mount(world.share, "hard"), MakeDisk(world.share, PATH, WWID, SIZE), times=2)
    path = await see_disk(world)
    sight = await look(world)
    assert len(sight.mounts) == len(sight.scsi.paths) == 1
    await act(world, Publish(NAME, path.hctl, WWID, True, ""), Unpublish(NAME, WWID), times=2)
    await act(world, PublishFile(NAME, world.share, PATH), Unpublish(NAME, None), times=2)
    await act(world, RemoveDisk(world.share, WWID), Unmount(world.share), times=2)


async def test_a_read_only_disk_is_so(world: NfsWorld) -> None:
    path = await make_disk(world)
    await act(world, Publish(NAME, path.hctl, WWID, True, ""))
    assert (await see_disk(world)).read_only
    await act(world, Unpublish(NAME, WWID))
    await give_back(world)


async def test_a_disk_grows_with_its_file(world: NfsWorld) -> None:
    path = await make_disk(world)
    await world.grow_file(PATH, 2 * SIZE)
    assert await refused(world, GrowDisk(world.share, PATH, WWID, 3 * SIZE)) is Code.DEVICE_TIMEOUT, "nor has its file"
    await act(world, GrowDisk(world.share, PATH, WWID, 2 * SIZE), Rescan(path.hctl, WWID), times=2)
    sight = await look(world)
    assert sight.file and sight.disk and sight.disk.whole
    assert [sight.file.size, sight.disk.size, sight.scsi.paths[0].size] == [2 * SIZE] * 3
    assert await refused(world, GrowDisk(world.share, PATH, WWID, SIZE)) is Code.CONFLICT, "it never becomes smaller"
    await world.put_file("a/other.img", size=4 * SIZE)
    assert await refused(world, GrowDisk(world.share, "a/other.img", WWID, 4 * SIZE)) is Code.WRONG_DEVICE
    await give_back(world)
    assert await refused(world, GrowDisk(world.share, PATH, WWID, 4 * SIZE)) is Code.CONFLICT, "nothing of ours"


async def test_a_file_is_handed_out_itself(world: NfsWorld) -> None:
    await mount(world)
    await act(world, PublishFile(NAME, world.share, PATH))
    assert (await look(world)).scsi.link == world.share.file(PATH)
    async with world.holding(world.share.file(PATH)):
        seen = (await look(world, holders=True)).file
        assert seen and len(seen.holders or ()) == 1
        assert await refused(world, Unmount(world.share)) is Code.IN_USE
    seen = (await look(world, holders=True)).file
    assert seen and seen.holders == ()
    await act(world, Unpublish(NAME, None), Unmount(world.share))


async def test_only_a_plain_file_in_the_share_will_do(world: NfsWorld) -> None:
    await world.put_link("a/link", "disk.img")
    await world.put_link("a/out", "/etc/passwd")
    await mount(world)
    for path, trouble in (("a/link", Trouble.ODD), ("a/out", Trouble.ODD), ("a/none", Trouble.MISSING)):
        seen = (await look(world, path=path)).file
        assert seen and (seen.trouble, seen.inode, seen.size) == (trouble, 0, 0) and seen.words
        for step in (MakeDisk(world.share, path, WWID, SIZE), PublishFile(NAME, world.share, path)):
            assert await refused(world, step) is Code.WRONG_DEVICE
    await give_back(world)


@pytest.mark.parametrize("size", [SIZE // 2, 2 * SIZE])
async def test_a_file_of_another_size_becomes_no_disk_and_keeps_every_byte(world: NfsWorld, size: int) -> None:
    """Case 94: what was decided on is compared at the very file, and nothing is written to it to try what it can do."""
    before = await world.content(PATH)
    await mount(world)
    assert await refused(world, MakeDisk(world.share, PATH, WWID, size, discard=True)) is Code.WRONG_DEVICE
    assert await world.content(PATH) == before
    await act(world, MakeDisk(world.share, PATH, WWID, SIZE, discard=True))
    await see_disk(world)
    assert await world.content(PATH) == before
    await give_back(world)


async def test_a_disk_in_use_stays(world: NfsWorld) -> None:
    path = await make_disk(world)
    async with world.holding(path.node or ""):
        assert len((await look(world, holders=True)).scsi.paths[0].holders or ()) == 1
        assert await refused(world, RemoveDisk(world.share, WWID)) is Code.IN_USE
        assert await refused(world, Unmount(world.share)) is Code.IN_USE
        assert (await see_disk(world)).ours
    await give_back(world)


async def test_the_disk_goes_only_with_what_it_is_made_of(world: NfsWorld) -> None:
    path = await make_disk(world)
    assert await refused(world, RemoveDevice(path.hctl)) is Code.CONFLICT
    await give_back(world)


async def test_what_others_mounted_is_borrowed(world: NfsWorld) -> None:
    """Case 61."""
    await world.foreign_mount(world.share.point, world.share.source)
    before = await world.inventory()
    await mount(world)
    assert not (await look(world)).mounts[0].ours
    await act(world, MakeDisk(world.share, PATH, WWID, SIZE))
    await see_disk(world)
    await act(world, RemoveDisk(world.share, WWID))
    assert await refused(world, Unmount(world.share)) is Code.CONFLICT
    assert await world.inventory() == before
    await world.foreign_unmount(world.share.point)
    await act(world, Mount(world.share, "hard"), Unmount(world.share))


async def test_what_others_mounted_over_ours_stays(world: NfsWorld) -> None:
    """Case 64."""
    await mount(world)
    await world.foreign_mount(world.share.point, world.other.source)
    sight = await look(world)
    assert [(one.source, one.ours) for one in sight.mounts] == [
        (world.share.source, True),
        (world.other.source, False),
    ]
    assert sight.file is None
    assert await refused(world, Unmount(world.share)) is Code.CONFLICT
    assert len((await look(world)).mounts) == 2
    await world.foreign_unmount(world.share.point)
    await act(world, Unmount(world.share))


async def test_a_mount_of_the_same_export_elsewhere_is_nobodys_business(world: NfsWorld) -> None:
    elsewhere = "/run/cdmi-attach-contract"
    await world.foreign_mount(elsewhere, world.share.source)
    before = await world.inventory()
    await make_disk(world)
    await give_back(world)
    assert await world.inventory() == before
    await world.foreign_unmount(elsewhere)


async def test_no_lower_version_but_where_that_is_allowed(world: NfsWorld) -> None:
    """Case 61."""
    share = Share(world.other.server, world.other.export, "4.2")
    assert await refused(world, Mount(share, "hard")) is Code.TARGET_REFUSED
    assert (await look(world, share)).mounts == ()
    await act(world, Mount(share, "hard", downgrade=True))
    assert "vers=4.1" in (await look(world, share)).mounts[0].options.split(",")
    await act(world, Unmount(share))


async def test_an_export_that_is_not_there(world: NfsWorld) -> None:
    share = Share(world.share.server, "/nowhere", "4")
    assert await refused(world, Mount(share, "hard")) is Code.TARGET_REFUSED
    assert (await look(world, share)).mounts == ()


async def test_a_dead_server_is_not_waited_for(world: NfsWorld) -> None:
    """Cases 57, 58: what is broken off does not come later, and other servers are not held up."""
    async with world.dead():
        began = world.host.now()
        step = Mount(world.share, "hard")
        assert await refused(world, step, timeout_s=world.patience_s) is Code.TARGET_TIMEOUT
        assert world.host.now() - began < world.patience_s + 5
        await act(world, Mount(world.other, "hard"))
        assert (await look(world, world.other)).file
        await act(world, Unmount(world.other))
    assert (await look(world)) == NfsSight()
    await act(world, step, Unmount(world.share))


async def test_a_server_that_dies_is_silent_and_let_go_of(world: NfsWorld) -> None:
    """Cases 57, 59: a look is bounded, and what nobody uses can be given back while the server is dead."""
    await mount(world)
    async with world.dead():
        began = world.host.now()
        seen = (await look(world, path="a/other")).file
        assert seen and seen.trouble is Trouble.SILENT and seen.words
        assert (await look(world, path="")).mounts
        await act(world, Unmount(world.share))
        assert world.host.now() - began < 20
        assert (await look(world)).mounts == ()
    await mount(world)
    seen = (await look(world)).file
    assert seen and seen.trouble is Trouble.NONE
    await act(world, Unmount(world.share))


async def test_a_disk_of_a_dead_server_can_be_given_back(world: NfsWorld) -> None:
    """Case 59: nothing is dirty, and nobody has it open."""
    await make_disk(world)
    async with world.dead():
        await give_back(world)
    await mount(world)
    await act(world, Unmount(world.share))
