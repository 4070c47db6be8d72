"""Users of a disk that no process shows: what they do, and undo, on a real kernel. For a lab guest only."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

CORE = Path("/sys/kernel/config/target/core/fileio_777")
MEMORY = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 4096)
os.closerange(3, 256)  # it has a descriptor of its own as well
print(flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def mapping(node: str, _: str) -> AsyncIterator[str]:
    """A mapping of device-mapper, whose own device nobody has open."""
    await _run("dmsetup", "create", "contract-hidden", "--table", f"0 2048 linear /dev/{node} 0")
    try:
        yield "device dm-"
    finally:
        await _run("dmsetup", "remove", "--retry", "contract-hidden")


@asynccontextmanager
async def memory(node: str, _: str) -> AsyncIterator[str]:
    """A process that has mapped it, and closed its descriptor."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", MEMORY, f"/dev/{node}")
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout
    assert await process.stdout.readline()
    try:
        yield f"(pid {process.pid})"
    finally:
        await process.communicate(b"")


@asynccontextmanager
async def backstore(_: str, link: str) -> AsyncIterator[str]:
    """A backstore that LIO has made of an attachment's link."""
    _make(CORE / "contract-hidden", link)
    try:
        yield "LIO backstore contract-hidden"
    finally:
        _drop(CORE / "contract-hidden")


def _make(place: Path, link: str) -> None:
    place.mkdir(parents=True)
    (place / "control").write_text(f"fd_dev_name={link},fd_dev_size=1048576")
    (place / "enable").write_text("1")


def _drop(place: Path) -> None:
    place.rmdir()
    place.parent.rmdir()


USERS: dict[str, Callable[[str, str], AbstractAsyncContextManager[str]]] = {
    "mapping": mapping,
    "memory": memory,
    "backstore": backstore,
}


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, " ".join(command)
