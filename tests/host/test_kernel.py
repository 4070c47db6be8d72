"""What only a real kernel can show: in the lab, on LUNs of its own."""

import asyncio
import os
from pathlib import Path

import pytest

from attachers.problems import Code
from attachers.steps import RemoveDevice
from tests.host.test_contract import attach, give_back, look, refused
from tests.host.world import World


@pytest.fixture(autouse=True)
def _only_there(host_name: str) -> None:
    if host_name != "linux":
        pytest.skip("needs a kernel that may be broken: --host linux")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command


@pytest.mark.parametrize("options", [[], ["-O", "^has_journal"]])
async def test_a_file_system_that_was_unmounted_lazily_keeps_its_disk(
    world: World, tmp_path: Path, options: list[str]
) -> None:
    path, _ = await attach(world)
    assert path.node
    mount = tmp_path / "mnt"
    mount.mkdir()
    await _run("mkfs.ext4", "-q", *options, path.node)
    await _run("mount", path.node, str(mount))
    user = await asyncio.create_subprocess_exec("sleep", "600", cwd=mount)
    try:
        await _run("umount", "-l", str(mount))
        (seen,) = (await look(world, holders=True)).paths
        assert seen.holders is not None
        assert [name.rpartition("/")[0] for name in seen.holders] == [""] and "file system ext4" in seen.holders[0]
        assert await refused(world, RemoveDevice(path.hctl)) is Code.IN_USE
    finally:
        user.kill()
        await user.wait()
    await give_back(world, path.hctl)


async def test_what_the_kernel_itself_uses_is_not_removed(world: World) -> None:
    """Whoever claims a disk with O_EXCL, as a mount does, counts: here a thread of a process that is ours to ignore."""
    path, _ = await attach(world)
    assert path.node
    claim = os.open(path.node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        assert await refused(world, RemoveDevice(path.hctl)) is Code.IN_USE
    finally:
        os.close(claim)
    await give_back(world, path.hctl)
