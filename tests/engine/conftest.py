"""Every engine test gets a world of its own, and leaves no task behind."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from tests.engine.world import Crash, World


@pytest_asyncio.fixture
async def world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[World]:
    """A host, a storage network and a CDMI server, all empty."""
    yield World(tmp_path)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks were left running: {left}"
    errors = [log.exc_info for log in caplog.get_records("call") if log.getMessage() == "internal error"]
    assert [error for error in errors if error and not isinstance(error[1], Crash)] == []


@pytest.fixture
def fast_disk() -> Iterator[Path]:
    """A folder in memory where there is one: a suite of crashes commits some hundred thousand times."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
