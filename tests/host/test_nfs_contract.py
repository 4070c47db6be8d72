"""What every host keeps to with NFS: the docstrings of attachers/steps.py, as conversations."""

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from pathlib import Path

import pytest

from attachers.nfs_share import FileId, Share, wwid_of
from attachers.problems import Code, Problem
from attachers.sights import HostQuery, HostSight, NfsQuery, NfsSight, Opening, ScsiPath, ScsiSight, Trouble
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
    Step,
    Unmount,
    Unpublish,
)
from tests.host.nfs_world import NfsWorld

WORLDS = {
    "simulated": "tests.host.nfs_world",
    "remote": "tests.host.nfs_world",
    "linux": "tests.host.linux_nfs_world",
}
LIMIT_S = 30.0
NAME, PATH, SIZE = "contract-nfs", "a/disk.img", 1 << 20
WWID = wwid_of("an object")


@pytest.fixture
async def world(host_name: str, tmp_path: Path) -> AsyncIterator[NfsWorld]:
    """A host and its world; at the end nothing of the world is left."""
    make: Callable[[Path], Awaitable[NfsWorld]] = getattr(import_module(WORLDS[host_name]), f"{host_name}_nfs_world")
    world = await make(tmp_path)
    await world.put_file(PATH, size=SIZE)
    before = await world.inventory()
    try:
        yield world
        assert await world.inventory() == before
    finally:
        await world.close()


async def act(world: NfsWorld, *steps: Step, times: int = 1) -> None:
    for step in steps:
        for _ in range(times):
            await world.host.act(step, timeout_s=LIMIT_S)


async def refused(world: NfsWorld, step: Step, *, timeout_s: float = LIMIT_S) -> Code:
    with pytest.raises(Problem) as caught:
        await world.host.act(step, timeout_s=timeout_s)
    assert caught.value.detail
    return caught.value.code


async def look(
    world: NfsWorld, share: Share | None = None, *, path: str = PATH, wwid: str | None = WWID, holders: bool = False
) -> NfsSight:
    sight = await world.host.observe(NfsQuery(NAME, share or world.share, path, wwid, holders=holders))
    assert isinstance(sight, NfsSight)
    return sight


async def see_disk(world: NfsWorld) -> ScsiPath:
    """The path to the disk, once its block device is there and has answered."""
    deadline = world.host.now() + LIMIT_S
    while world.host.now() < deadline:
        since = world.host.changes
        sight = await look(world)
        if sight.scsi.paths and sight.scsi.paths[0].node and sight.scsi.paths[0].size:
            return sight.scsi.paths[0]
        await world.host.changed(since, timeout_s=1)
    raise AssertionError(f"the disk did not come: {sight}")


async def mount(world: NfsWorld) -> None:
    await act(world, Mount(world.share, "hard"))


async def make_disk(world: NfsWorld) -> ScsiPath:
    await mount(world)
    await act(world, MakeDisk(world.share, PATH, WWID, SIZE))
    return await see_disk(world)


async def give_back(world: NfsWorld) -> None:
    await act(world, RemoveDisk(world.share, WWID), Unmount(world.share))


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
