"""What the contract tests for NFS do again and again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import pytest

from attachers.nfs_share import Share, wwid_of
from attachers.problems import Code, Problem
from attachers.sights import NfsQuery, NfsSight, ScsiPath
from attachers.steps import MakeDisk, Mount, RemoveDisk, Step, Unmount
from tests.host.nfs_world import NfsWorld

WORLDS = {
    "simulated": "tests.host.nfs_world",
    "remote": "tests.host.nfs_world",
    "linux": "tests.host.linux_nfs_world",
}
LIMIT_S = 30.0
NAME, PATH, SIZE = "contract-nfs", "a/disk.img", 1 << 20
WWID = wwid_of("an object")


@asynccontextmanager
async def world_of(host_name: str, tmp_path: Path) -> AsyncIterator[NfsWorld]:
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
